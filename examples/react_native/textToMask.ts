/** Text-to-mask on a bundle: letterbox@S, image_encoder@S once an image, text_to_mask@S once a question. */
import { type InferenceSession, Tensor } from 'onnxruntime-common';

/** The fields of a bundle's manifest.json that are read here. */
export interface Manifest {
  schema_version: number;
  name: string;
  revision: string;
  model: { image_encoder: { kind: string } };
  tasks: { segmentation: { resolution: number } };
  calibration: { presence_threshold: number };
  masks: { mask_threshold: number };
  graphs: Record<string, { artifacts: { runtime: string; precision: string; path: string }[] }>;
}

/** An upright RGB image: `pixels` holds height x width x 3 bytes. */
export interface RgbImage {
  width: number;
  height: number;
  pixels: Uint8Array;
}

/** What a label is read as: `words` answer for it, any of them; or it is not known, and they are the nearest. */
export type Reading = { kind: 'read_as'; words: string[] } | { kind: 'unknown'; words: string[]; cosine: number };

/**
 * Labels with their embeddings of unit length, row by row.
 *
 * A label is in an image from the presence of its threshold on, 0 to 1; null is for the bundle's. `readAs` has what an
 * app must tell of a label; null for nothing.
 */
export interface LabelPack {
  labels: string[];
  embeddings: Float32Array;
  thresholds: (number | null)[];
  readAs: (Reading | null)[];
}

/** `mask` has a 1 for each pixel of the label, in the image's size; it is empty if the label is not there. */
export interface TextMask {
  label: string;
  present: boolean;
  presence: number;
  score: number;
  mask: Uint8Array;
  readAs: Reading | null;
}

/** What is kept of an image between questions. */
export interface EncodedImage {
  width: number;
  height: number;
  feed: Record<'image_tokens' | 'image_embeddings' | 'extent', Tensor>;
}

type OpenGraph = (path: string) => Promise<InferenceSession>;

/** Reads the content of a label pack (safetensors) for a model. */
export function readLabelPack(content: ArrayBuffer, manifest: Manifest): LabelPack {
  const headerBytes = Number(new DataView(content).getBigUint64(0, true));
  const header = JSON.parse(utf8(new Uint8Array(content, 8, headerBytes)));
  const { format, model, revision, ...stored } = header.__metadata__ ?? {};
  if (format !== 'samclip labels') throw new Error('this file is no label pack: export the labels again');
  if (stored.schema_version !== '2') {
    throw new Error(`the labels have schema_version ${stored.schema_version}; this code knows 2: save them again`);
  }
  if (model !== manifest.name || revision !== manifest.revision) {
    throw new Error(`the labels are of ${model} ${revision}, not of ${manifest.name} ${manifest.revision}`);
  }
  const labels: string[] = JSON.parse(stored.labels);
  const thresholds: (number | null)[] = stored.thresholds ? JSON.parse(stored.thresholds) : labels.map(() => null);
  const fits = (each: unknown) => each === null || (typeof each === 'number' && each >= 0 && each <= 1);
  if (thresholds.length !== labels.length || !thresholds.every(fits)) {
    throw new Error(`the thresholds are ${stored.thresholds}; each label must have one from 0 to 1, or null`);
  }
  const readings: unknown[] = stored.read_as ? JSON.parse(stored.read_as) : labels.map(() => null);
  if (readings.length !== labels.length || !readings.every(isReading)) {
    throw new Error(`the pack has read_as ${stored.read_as}; each label must have what it is read as, or null`);
  }
  const { dtype, shape, data_offsets: offsets } = header.embeddings;
  const data = content.slice(8 + headerBytes + offsets[0], 8 + headerBytes + offsets[1]);
  if (dtype === 'F32') return { labels, embeddings: new Float32Array(data), thresholds, readAs: readings };
  const embeddings = Float32Array.from(new Int8Array(data));
  for (let start = 0; start < embeddings.length; start += shape[1]) {
    const row = embeddings.subarray(start, start + shape[1]);
    const length = Math.sqrt(row.reduce((sum, each) => sum + each * each, 0));
    row.forEach((each, place) => (row[place] = each / Math.max(length, 1e-6)));
  }
  return { labels, embeddings, thresholds, readAs: readings };
}

function isReading(each: unknown): each is Reading | null {
  if (each === null) return true;
  const { kind, words, cosine, ...others } = each as Record<string, unknown>;
  const right = Array.isArray(words) && words.length > 0 && words.every((word) => typeof word === 'string');
  if (!right || Object.keys(others).length) return false;
  if (kind === 'read_as') return cosine == null;
  return kind === 'unknown' && typeof cosine === 'number' && Math.abs(cosine) <= 1.01;
}

/** An open model. It does not check the sha256 of files: check them where you download the bundle. */
export class TextToMask {
  private constructor(
    private readonly manifest: Manifest,
    private readonly letterbox: InferenceSession,
    private readonly encoder: InferenceSession,
    private readonly decoder: InferenceSession,
  ) {}

  /** Opens the bundle in a folder; `open` is `InferenceSession.create` of your onnxruntime. */
  static async load(folder: string, manifest: Manifest, open: OpenGraph): Promise<TextToMask> {
    if (manifest.schema_version !== 1) {
      throw new Error(`the bundle has schema_version ${manifest.schema_version}; this code knows 1`);
    }
    const graph = (name: string) => {
      const key = `${name}@${manifest.tasks.segmentation.resolution}`;
      const file = manifest.graphs[key]?.artifacts.find((each) => each.runtime === 'onnx' && each.precision === 'fp32');
      if (!file) throw new Error(`the bundle has no ONNX graph ${key} in fp32: export it again`);
      return open(`${folder}/${file.path}`);
    };
    const [letterbox, encoder] = [await graph('letterbox'), await graph('image_encoder')];
    return new TextToMask(manifest, letterbox, encoder, await graph('text_to_mask'));
  }

  /** Runs the image encoder, once for all questions about the image. */
  async encode({ width, height, pixels }: RgbImage): Promise<EncodedImage> {
    if (!width || !height || pixels.length !== 3 * width * height) {
      throw new Error(`an image of ${width} x ${height} pixels cannot have ${pixels.length} bytes of RGB`);
    }
    const { image, extent } = await this.letterbox.run({ picture: new Tensor('uint8', pixels, [height, width, 3]) });
    // A convolutional model need not compute the padding.
    const seen = this.manifest.model.image_encoder.kind === 'pyramid' ? withoutPadding(image, extent) : image;
    const { image_tokens, image_embeddings } = await this.encoder.run({ image: seen });
    return { width, height, feed: { image_tokens, image_embeddings, extent } };
  }

  /**
   * Finds labels; ask for a few at a time, since each one's logits take a megabyte.
   *
   * With `threshold`, all labels are there from that presence on. A label that the model does not know is there only
   * with `threshold` or `allowUnknown`.
   */
  async find(
    image: EncodedImage,
    { labels, embeddings, thresholds, readAs }: LabelPack,
    { threshold, allowUnknown = false }: { threshold?: number; allowUnknown?: boolean } = {},
  ): Promise<TextMask[]> {
    if (!labels.length) throw new Error('there is no label: give at least one');
    const shape = [labels.length, embeddings.length / labels.length];
    const found = await this.decoder.run({ ...image.feed, text_embeddings: new Tensor('float32', embeddings, shape) });
    const [logits, scores, presence, extent] = [found.mask_logits, found.scores, found.presence, image.feed.extent].map(
      (tensor) => tensor.data as Float32Array,
    );
    const side = this.manifest.tasks.segmentation.resolution;
    return labels.map((label, row) => {
      const own = thresholds[row] ?? this.manifest.calibration.presence_threshold;
      const never = readAs[row]?.kind === 'unknown' && !allowUnknown;
      const least = threshold ?? (never ? Infinity : own);
      const present = presence[row] >= Math.fround(least);
      const drawn = logits.subarray(row * side * side, (row + 1) * side * side);
      const mask = present ? this.toRgbImage(drawn, extent, image) : new Uint8Array(image.width * image.height);
      return { label, present, presence: presence[row], score: scores[row], mask, readAs: readAs[row] };
    });
  }

  async close(): Promise<void> {
    await Promise.all([this.letterbox, this.encoder, this.decoder].map((graph) => graph.release()));
  }

  /** The covered part of logits [S,S], scaled bilinearly with half-pixel centres, above the threshold. */
  private toRgbImage(logits: Float32Array, [rows, columns]: Float32Array, { width, height }: EncodedImage): Uint8Array {
    const side = this.manifest.tasks.segmentation.resolution;
    const threshold = this.manifest.masks.mask_threshold;
    const across = taps(columns, width);
    const down = taps(rows, height);
    const mask = new Uint8Array(width * height);
    for (let y = 0; y < height; y++) {
      const [top, bottom, share] = [down.first[y] * side, down.second[y] * side, down.share[y]];
      for (let x = 0; x < width; x++) {
        const [left, right, part] = [across.first[x], across.second[x], across.share[x]];
        const above = logits[top + left] + (logits[top + right] - logits[top + left]) * part;
        const below = logits[bottom + left] + (logits[bottom + right] - logits[bottom + left]) * part;
        mask[y * width + x] = above + (below - above) * share > threshold ? 1 : 0;
      }
    }
    return mask;
  }
}

/** The model's input [1,3,S,S] without its padding, in whole steps of 32 pixels. */
export function withoutPadding(image: Tensor, extent: Tensor): Tensor {
  const [rows, columns] = Array.from(extent.data as Float32Array, (covered) => 32 * Math.ceil(covered / 32));
  const [, planes, side] = image.dims;
  const kept = new Uint8Array(planes * rows * columns);
  for (let line = 0; line < planes * rows; line++) {
    const start = (Math.floor(line / rows) * side + (line % rows)) * side;
    kept.set((image.data as Uint8Array).subarray(start, start + columns), line * columns);
  }
  return new Tensor('uint8', kept, [1, planes, rows, columns]);
}

/** For each pixel of a target axis the two on the source axis, and the second one's share. */
function taps(source: number, target: number) {
  const places = Array.from({ length: target }, (_, x) => ((x + 0.5) * source) / target - 0.5).map((place) =>
    Math.min(Math.max(place, 0), source - 1),
  );
  return {
    first: places.map(Math.floor),
    second: places.map((place) => Math.min(Math.floor(place) + 1, source - 1)),
    share: places.map((place) => place - Math.floor(place)),
  };
}

/** Hermes has no TextDecoder on every version: bytes of UTF-8 to a text. */
function utf8(bytes: Uint8Array): string {
  let escaped = '';
  for (const byte of bytes) escaped += `%${byte.toString(16).padStart(2, '0')}`;
  return decodeURIComponent(escaped);
}
