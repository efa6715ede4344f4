/** What this package needs of onnxruntime-web or onnxruntime-node; the caller brings either. */

export interface OrtTensor {
  readonly data: unknown;
  readonly dims: readonly number[];
}

export interface OrtSession {
  run(feed: any): Promise<Record<string, OrtTensor>>;
  release(): Promise<void>;
}

export interface Ort {
  Tensor: new (type: any, data: any, dims: readonly number[]) => OrtTensor;
  InferenceSession: { create(model: Uint8Array, options: any): Promise<OrtSession> };
}

export type ExecutionProvider = string | { readonly name: string };

export type TensorData = Float32Array | Int32Array | Uint8Array;

/** Numbers with a shape; it can be posted to a worker, unlike the runtime's own tensors. */
export interface Tensor<Data extends TensorData = Float32Array> {
  readonly data: Data;
  readonly dims: readonly number[];
}

export function toOrt(ort: Ort, { data, dims }: Tensor<TensorData>): OrtTensor {
  const type =
    data instanceof Float32Array ? "float32" : data instanceof Int32Array ? "int32" : "uint8";
  return new ort.Tensor(type, data, dims);
}
