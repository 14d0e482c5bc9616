/** Clients send bitmaps of 32×32 points, 0 (paper) or 1 (ink); each pixel of the model counts the ink of 4×4. Computes, so in a thread. */
import { elementsOf, type HookOptions, type Preprocess, type TensorSpec } from "@millrace/hooks";

const POINTS = 32;
const BLOCK = 4;
const PIXELS = POINTS / BLOCK;

export const options: HookOptions = { thread: true };

export const inputs: readonly TensorSpec[] = [{ name: "bitmap", datatype: "BOOL", shape: [-1, POINTS, POINTS] }];

export const preprocess: Preprocess = (request) => {
  const points = elementsOf(request.inputs, "bitmap", "BOOL");
  const data = new Float32Array(request.rows * PIXELS * PIXELS);
  for (const [at, ink] of points.entries()) {
    const row = Math.floor(at / POINTS ** 2);
    const y = Math.floor((at % POINTS ** 2) / POINTS / BLOCK);
    const x = Math.floor((at % POINTS) / BLOCK);
    data[row * PIXELS ** 2 + y * PIXELS + x]! += ink;
  }
  return { image: { shape: [request.rows, PIXELS ** 2], data } };
};
