import { BundleError, EmbeddingMismatchError } from "./errors.js";
import type { Manifest } from "./manifest.js";
import { readSafetensors } from "./safetensors.js";
import { normalize } from "./text.js";

/** Labels with their embeddings, so that an app ships no text encoder. */
export interface LabelPack {
  readonly labels: string[];
  readonly rows: Float32Array[];
  /** For each label, 0 to 1, the presence from which on it is in the picture; null for the bundle's. */
  readonly thresholds: (number | null)[];
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
  return { labels, rows: labels.map(row), thresholds: readThresholds(metadata.thresholds, count, name) };
}

/** `stored` is missing if no label has its own. */
function readThresholds(stored: string | undefined, count: number, name: string): (number | null)[] {
  if (stored === undefined) return Array(count).fill(null);
  let found: unknown;
  try {
    found = JSON.parse(stored);
  } catch {
    // Told below.
  }
  const fits = (each: unknown) => each === null || (typeof each === "number" && each >= 0 && each <= 1);
  if (Array.isArray(found) && found.length === count && found.every(fits)) return found;
  throw new BundleError(
    `${name} has the thresholds ${stored.slice(0, 60)}; it must have a number from 0 to 1, or null, for ` +
      `each of ${count} labels`,
  );
}
