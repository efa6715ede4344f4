import { BundleError, EmbeddingMismatchError } from "./errors.js";
import type { Manifest } from "./manifest.js";
import { readSafetensors } from "./safetensors.js";
import { normalize } from "./text.js";

/** Labels with their embeddings, so that an app ships no text encoder. */
export interface LabelPack {
  readonly labels: string[];
  readonly rows: Float32Array[];
}

/** Reads a label pack; `name` is what messages call it. */
export function readLabels(content: Uint8Array, name: string, manifest: Manifest): LabelPack {
  const { metadata, tensors } = readSafetensors(content, name);
  if (metadata.format !== "samclip labels" || metadata.schema_version !== "1" || !tensors.embeddings) {
    throw new BundleError(`${name} is not a label pack of schema_version 1`);
  }
  const [count, width] = tensors.embeddings.dims;
  const made = [metadata.model, metadata.revision];
  if (made[0] !== manifest.name || made[1] !== manifest.revision || width !== manifest.model.embed_dim) {
    throw new EmbeddingMismatchError(
      `${name} was made by ${made.join(" ")}, this is ${manifest.name} ${manifest.revision}: save it ` +
        "again with this model",
    );
  }
  const labels: string[] = JSON.parse(metadata.labels);
  if (labels.length !== count) throw new BundleError(`${name} has ${labels.length} labels and ${count} rows`);
  const { data } = tensors.embeddings;
  const row = (_: string, k: number) => normalize(data.subarray(k * width, (k + 1) * width));
  return { labels, rows: labels.map(row) };
}
