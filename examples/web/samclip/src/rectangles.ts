/** An image in the model's square without the padding: a convolutional model need not compute that. */

import type { Tensor, TensorData } from "./ort.js";

/** The multiple of pixels that the sides of such an image have. */
const STEP = 32;

/** The rows and columns of the model's input that hold the image, in whole steps. */
export function coveredPixels(extent: readonly [number, number]): [number, number] {
  return [Math.ceil(extent[0] / STEP) * STEP, Math.ceil(extent[1] / STEP) * STEP];
}

/** The upper left of maps [...,side,side]. */
export function upperLeft<Data extends TensorData>(
  { data, dims }: Tensor<Data>,
  [rows, columns]: readonly [number, number],
): Tensor<Data> {
  const [height, width] = dims.slice(-2);
  if (rows === height && columns === width) return { data, dims };
  const maps = data.length / (height * width);
  const kept = new (data.constructor as new (length: number) => Data)(maps * rows * columns);
  for (let line = 0; line < maps * rows; line++) {
    const start = Math.floor(line / rows) * height * width + (line % rows) * width;
    kept.set(data.subarray(start, start + columns), line * columns);
  }
  return { data: kept, dims: [...dims.slice(0, -2), rows, columns] };
}

/** Rows of patches [h*w,E] in the square [grid*grid,E], with zeros in the padding. */
export function wholePatches(
  patches: Float32Array,
  [rows, columns]: readonly [number, number],
  grid: number,
): Float32Array {
  if (rows === grid && columns === grid) return patches;
  const size = patches.length / (rows * columns);
  const whole = new Float32Array(grid * grid * size);
  for (let row = 0; row < rows; row++) {
    const line = patches.subarray(row * columns * size, (row + 1) * columns * size);
    whole.set(line, row * grid * size);
  }
  return whole;
}

/** A mask [h,w] in the square [side,side], whose padding repeats its last row and column. */
export function wholeMask(
  mask: Float32Array,
  [rows, columns]: readonly [number, number],
  side: number,
): Float32Array {
  if (rows === side && columns === side) return mask;
  const whole = new Float32Array(side * side);
  for (let row = 0; row < side; row++) {
    const start = Math.min(row, rows - 1) * columns;
    whole.set(mask.subarray(start, start + columns), row * side);
    whole.fill(mask[start + columns - 1], row * side + columns, (row + 1) * side);
  }
  return whole;
}
