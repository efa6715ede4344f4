import { BundleError, EmbeddingMismatchError } from "./errors.js";
import type { Manifest } from "./manifest.js";
import { readSafetensors } from "./safetensors.js";
import { normalize } from "./text.js";
import type { Reading } from "./words.js";

/** Labels with their embeddings, so that an app ships no text encoder. */
export interface LabelPack {
  readonly labels: string[];
  readonly rows: Float32Array[];
  /** For each label, 0 to 1, the presence from which on it is in the image; null for the bundle's. */
  readonly thresholds: (number | null)[];
  /** For each label, what an answer must tell of it: what it is read as, or that it is not known; null for nothing. */
  readonly readAs: (Reading | null)[];
}

const SCHEMA_VERSION = "2";
/** Of vectors whose length is 1 but for rounding. */
const MOST_COSINE = 1.01;

/** Reads a label pack; `name` is what messages call it. */
export function readPack(content: Uint8Array, name: string, manifest: Manifest): LabelPack {
  const { metadata, tensors } = readSafetensors(content, name);
  if (metadata.format !== "samclip labels" || !tensors.embeddings) {
    throw new BundleError(`${name} is not a label pack`);
  }
  if (metadata.schema_version !== SCHEMA_VERSION) {
    throw new BundleError(
      `${name} is a label pack of schema_version ${metadata.schema_version}; this version of samclip reads ` +
        `${SCHEMA_VERSION}: save it again with this model`,
    );
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
  return {
    labels,
    rows: labels.map(row),
    thresholds: readEach(metadata.thresholds, count, isThreshold) ?? refuse("thresholds", "a number from 0 to 1"),
    readAs: readEach(metadata.read_as, count, isReading)?.map(toReading) ?? refuse("read_as", "what it is read as"),
  };

  function refuse(field: string, what: string): never {
    throw new BundleError(
      `${name} has the ${field} ${metadata[field].slice(0, 60)}; it must have ${what}, or null, for each of ` +
        `${count} labels`,
    );
  }
}

/** A value or null for each label; undefined if it is wrong. `stored` is missing if all are null. */
function readEach<Value>(
  stored: string | undefined,
  count: number,
  fits: (each: unknown) => each is Value,
): (Value | null)[] | undefined {
  if (stored === undefined) return Array(count).fill(null);
  let found: unknown;
  try {
    found = JSON.parse(stored);
  } catch {
    return undefined;
  }
  const right = (each: unknown) => each === null || fits(each);
  return Array.isArray(found) && found.length === count && found.every(right) ? found : undefined;
}

function isThreshold(each: unknown): each is number {
  return typeof each === "number" && each >= 0 && each <= 1;
}

/** Only what an answer tells is stored. */
type Stored = { readonly kind: "read_as" | "unknown"; readonly words: string[]; readonly cosine?: number | null };

function isReading(each: unknown): each is Stored {
  if (typeof each !== "object" || each === null) return false;
  const { kind, words, cosine, ...others } = each as Record<string, unknown>;
  if (Object.keys(others).length) return false;
  if (!Array.isArray(words) || !words.length || !words.every((word) => typeof word === "string")) return false;
  if (kind === "read_as") return cosine === undefined || cosine === null;
  return kind === "unknown" && typeof cosine === "number" && Math.abs(cosine) <= MOST_COSINE;
}

function toReading(stored: Stored | null): Reading | null {
  if (!stored) return null;
  const { kind, words, cosine } = stored;
  return cosine == null ? { kind, words } : { kind, words, cosine };
}
