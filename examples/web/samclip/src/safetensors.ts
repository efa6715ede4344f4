/** Reads safetensors files, which hold label packs and goldens. */

import { BundleError, reason } from "./errors.js";

export type Values = Float32Array | Int32Array | Uint8Array | Int8Array;

export interface Safetensors {
  readonly metadata: Readonly<Record<string, string>>;
  readonly tensors: Readonly<Record<string, { readonly data: Values; readonly dims: number[] }>>;
}

/** `name` is what messages call the file. F16 is widened to float32. */
export function readSafetensors(content: Uint8Array, name: string): Safetensors {
  try {
    const view = new DataView(content.buffer, content.byteOffset, content.byteLength);
    // Node's Buffer is a Uint8Array whose `slice` does not copy.
    const file = new Uint8Array(content.buffer, content.byteOffset, content.byteLength);
    const start = 8 + Number(view.getBigUint64(0, true));
    const header = JSON.parse(new TextDecoder().decode(file.subarray(8, start)));
    const { __metadata__: metadata = {}, ...entries } = header;
    const tensors: Record<string, { data: Values; dims: number[] }> = {};
    for (const [key, { dtype, shape, data_offsets: span }] of Object.entries<any>(entries)) {
      const bytes = file.slice(start + span[0], start + span[1]);
      const data = widen(bytes, dtype);
      if (data.length !== shape.reduce((all: number, side: number) => all * side, 1)) {
        throw new Error(`${key} does not have the length that its shape says`);
      }
      tensors[key] = { data, dims: shape };
    }
    return { metadata, tensors };
  } catch (error) {
    throw new BundleError(`${name} is not a whole safetensors file: ${reason(error)}`);
  }
}

function widen(bytes: Uint8Array, dtype: string): Values {
  switch (dtype) {
    case "U8":
      return bytes;
    case "I8":
      return new Int8Array(bytes.buffer);
    case "I32":
      return new Int32Array(bytes.buffer);
    case "F32":
      return new Float32Array(bytes.buffer);
    case "F16":
      return Float32Array.from(new Uint16Array(bytes.buffer), halfToFloat);
    default:
      throw new Error(`it holds ${dtype}, which this reader does not know`);
  }
}

function halfToFloat(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 31;
  const fraction = half & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? 2 ** (exponent - 25) * (1024 + fraction) : 2 ** -24 * fraction);
}
