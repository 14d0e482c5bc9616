/** Clients send the id of an image; its 64 pixels are features in Redis, one hash an image. */
import { elementsOf, InvalidRequest, type Preprocess, redisFeatures, type TensorSpec } from "@millrace/hooks";

const PIXELS = Array.from({ length: 64 }, (_, i) => `p${i}`);

const images = redisFeatures({
  url: process.env["REDIS_URL"] ?? "redis://127.0.0.1:6379",
  key: (id) => `image:${id}`,
  fields: PIXELS,
  cacheTtlMs: 1_000,
  timeoutMs: 200,
  fallback: "stale",
});

export const inputs: readonly TensorSpec[] = [{ name: "image_id", datatype: "BYTES", shape: [-1] }];

export const preprocess: Preprocess = async (request, context) => {
  const ids = elementsOf(request.inputs, "image_id", "BYTES").map(String);
  const rows = await images.get(ids, context);
  const data = rows.flatMap((row, i) => {
    if (row === undefined) throw new InvalidRequest(`there is no image ${JSON.stringify(ids[i])}`);
    // A pixel that the hash lacks is no 0: NaN is refused.
    return PIXELS.map((pixel) => Number(row[pixel] ?? Number.NaN));
  });
  return { image: { shape: [ids.length, 64], data } };
};
