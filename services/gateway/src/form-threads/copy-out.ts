import type { Tensor } from "@millrace/protocol";

/** Bytes that are copied in one turn of the event loop: a fraction of a millisecond, new memory included. */
const TURN_BYTES = 1024 * 1024;

/** Each tensor begins at a multiple of this, so that every element type can be viewed in place. */
const ALIGNMENT_BYTES = 8;

/**
 * Copies tensors into memory of their own, one behind the other, and calls back with the copies and that memory: at once where that is
 * little, else a turn of the event loop for each piece.
 */
export function copyOut(
  tensors: readonly Tensor[],
  onCopied: (copies: readonly Tensor[], memory: ArrayBuffer) => void,
): void {
  const starts: number[] = [];
  let bytes = 0;
  for (const { data } of tensors) {
    starts.push(bytes);
    bytes += Math.ceil(data.byteLength / ALIGNMENT_BYTES) * ALIGNMENT_BYTES;
  }
  const memory = new ArrayBuffer(bytes);
  const copies = tensors.map((tensor, i) => {
    return { ...tensor, data: new Uint8Array(memory, starts[i], tensor.data.byteLength) };
  });
  let [tensor, at] = [0, 0];
  const turn = (): void => {
    for (let left = TURN_BYTES; tensor < tensors.length && left > 0;) {
      const { data } = tensors[tensor]!;
      const piece = data.subarray(at, at + left);
      copies[tensor]!.data.set(piece, at);
      at += piece.byteLength;
      left -= piece.byteLength;
      if (at < data.byteLength) break;
      tensor++;
      at = 0;
    }
    if (tensor < tensors.length) setImmediate(turn);
    else onCopied(copies, memory);
  };
  turn();
}
