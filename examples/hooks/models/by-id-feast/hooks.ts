/** The same with a Feast feature server; images that it cannot tell are blank, and so is everything while it is down. */
import { elementsOf, feastFeatures, type Preprocess, type TensorSpec } from "@millrace/hooks";

const PIXELS = Array.from({ length: 64 }, (_, i) => `p${i}`);

const images = feastFeatures({
  url: process.env["FEAST_URL"] ?? "http://127.0.0.1:6566",
  entity: "image_id",
  entityType: "integer",
  features: PIXELS.map((pixel) => `images:${pixel}`),
  timeoutMs: 200,
  fallback: { default: Object.fromEntries(PIXELS.map((pixel) => [pixel, 0])) },
});

export const inputs: readonly TensorSpec[] = [{ name: "image_id", datatype: "INT64", shape: [-1] }];

export const preprocess: Preprocess = async (request, context) => {
  const ids = Array.from(elementsOf(request.inputs, "image_id", "INT64"), String);
  const rows = await images.get(ids, context);
  const data = rows.flatMap((row) => PIXELS.map((pixel) => Number(row?.[pixel] ?? 0)));
  return { image: { shape: [ids.length, 64], data } };
};
