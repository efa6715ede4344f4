/** SamClip: one backbone pass, then classification, masks of prompts, and masks of texts. */

import {
  BundleError, EmbeddingMismatchError, GraphError, OptionError, PromptError, reason, TextError,
} from "./errors.js";
import { BundleFiles, sha256, type FileCache, type OnProgress, type Source } from "./files.js";
import { artifactOf, parseManifest, precisionsOf, type Manifest, type Precision } from "./manifest.js";
import { exclusive, exclusiveObjects } from "./exclusive.js";
import { emptyMask, toMask, type Frame, type Mask } from "./masks.js";
import {
  chosenMask, distinctObjects, findCandidates, unscaled, type Drawn, type FoundObject,
} from "./objects.js";
import {
  toOrt, type ExecutionProvider, type Ort, type OrtSession, type Tensor, type TensorData,
} from "./ort.js";
import { toRgb, type RgbImage } from "./image.js";
import { withoutSpecks } from "./pieces.js";
import { coveredPixels, upperLeft, wholeMask, wholePatches } from "./rectangles.js";
import { keepInBox, promptTensors, readPrompts, type Prompt, type Prompts } from "./prompts.js";
import { readPack } from "./labels.js";
import { checkLabels, checkTexts, cleanText, normalize, openTokenizer, type Tokenize } from "./text.js";
import { dot, KnownWords, readTable, type NearWord, type Reading } from "./words.js";

export interface LoadOptions {
  /** onnxruntime-web or onnxruntime-node. */
  readonly ort: Ort;
  /** The bundle's preferred one if not given. */
  readonly precision?: Precision;
  /** Such as `["webgpu"]`; the runtime's own choice if not given. */
  readonly executionProviders?: readonly ExecutionProvider[];
  /** Whether files are kept in the browser's cache, which is the default; or a cache. */
  readonly cache?: boolean | FileCache;
  readonly onProgress?: OnProgress;
}

/**
 * An image after the backbone. It is plain data: it may be posted, stored and used again.
 *
 * Its maps are the upper left of the square, without the padding, if the model needs none.
 */
export interface ImageEmbedding extends Frame {
  readonly bundleId: string;
  readonly imageTokens: Tensor;
  readonly imageEmbeddings: Tensor;
}

export interface SegmentOptions extends Prompts {
  /** Three masks a prompt, for an ambiguous one, instead of one; the default. */
  readonly multimaskOutput?: boolean;
  /** The logit that a pixel must exceed; the bundle's if not given. */
  readonly maskThreshold?: number;
}

export interface PromptMask {
  readonly mask: Mask;
  /** The predicted IoU. */
  readonly score: number;
  readonly promptIndex: number;
  /** Logits of the model's frame; fit to be a `maskInput`. */
  readonly lowResMask: Float32Array;
}

/** What is told of a label that other words answer for, or that the model does not know; nothing of any other. */
export interface Told {
  readonly readAs?: Reading;
}

export interface SegmentTextOptions {
  /** The presence from which on a label is in the image; the label's own or the bundle's if not given. */
  readonly threshold?: number;
  /**
   * Whether a label that the model does not know (see `readLabels`) may be found, by what the text encoder makes of
   * it. Without it, or a `threshold`, such a label is absent.
   */
  readonly allowUnknown?: boolean;
  readonly maskThreshold?: number;
  /** No pixel has two labels: the likelier one keeps it. */
  readonly exclusive?: boolean;
}

export interface TextMask extends Told {
  readonly label: string;
  /** 0 to 1: how likely the label is in the image. */
  readonly presence: number;
  readonly present: boolean;
  /** The predicted IoU; 0 for an absent label. */
  readonly score: number;
  /** Empty for an absent label. */
  readonly mask: Mask;
}

export interface SegmentInstancesOptions extends SegmentTextOptions {
  /** 0 to 1: an object with a lower score is left out; the bundle's if not given. */
  readonly minScore?: number;
  /** The most objects in the answer, 50 if not given; the best ones stay. */
  readonly maxInstances?: number;
}

/** An object of a label. */
export interface Instance extends Told {
  readonly label: string;
  /** 0 to 1: how likely the object is right. */
  readonly score: number;
  /** 0 to 1: how well the label fits what is inside the mask. */
  readonly labelScore: number;
  /** 0 to 1: the IoU that the mask decoder predicts. */
  readonly predictedIou: number;
  /** 0 to 1: how little the mask changes with its threshold. */
  readonly stabilityScore: number;
  readonly mask: Mask;
}

export interface ClassScore extends Told {
  readonly label: string;
  readonly prob: number;
  readonly logit: number;
}

export type Verb =
  | "encodeImage" | "segment" | "segmentText" | "segmentInstances" | "classify" | "embedText" | "readLabels";

/** The default of `maxInstances`. */
const MAX_INSTANCES = 50;

/** The threshold of a label that the model does not know: no presence reaches it. */
const NEVER = 2;

/** What a label was given by a pack. */
interface GivenLabel {
  readonly row: Float32Array;
  /** Null for the bundle's. */
  readonly threshold: number | null;
  /** What an answer must tell of it. */
  readonly readAs: Reading | null;
}

/** A label with the embeddings of the words that answer for it. */
interface AskedLabel {
  readonly label: string;
  readonly told: Told;
  readonly rows: readonly Float32Array[];
  /** Its own presence from which on it is in the image, or the bundle's. */
  readonly threshold: number;
}

/** What the image has of a word. */
interface DrawnWord {
  readonly presence: number;
  readonly score: number;
  readonly logits: Float32Array;
}

interface DrawnLabel {
  readonly asked: AskedLabel;
  readonly answer: Omit<TextMask, "mask">;
  /** The logits of its mask, at the size of the model's input; without a meaning for an absent label. */
  readonly logits: Float32Array;
}

/** The pack of the words that the model was taught. */
const NOUNS = "nouns.safetensors";
/** The table of what other texts mean among them. */
const WORDS = "words.json";

/** These compute in integers, or with a table that WebGPU cannot read. */
const NOT_ON_WEBGPU = /^(letterbox|text_encoder)/;

export class SamClip {
  private readonly sessions = new Map<string, Promise<OrtSession>>();
  private readonly given = new Map<string, GivenLabel>();
  private readonly embedded = new Map<string, Float32Array>();
  private tokenizer: Promise<Tokenize> | undefined;
  private known: Promise<KnownWords | undefined> | undefined;
  private turn: Promise<unknown> = Promise.resolve();

  private constructor(
    readonly manifest: Manifest,
    /** The first 16 hex digits of the manifest's sha256. */
    readonly id: string,
    readonly precision: string,
    private readonly files: BundleFiles,
    private readonly ort: Ort,
    private readonly providers: readonly ExecutionProvider[] | undefined,
  ) {}

  /** Reads a bundle's manifest. Its other files come when they are first needed; see `prepare`. */
  static async load(source: Source, options: LoadOptions): Promise<SamClip> {
    const { ort, executionProviders: providers } = options;
    const files = await BundleFiles.open(source, options);
    const content = await files.manifest();
    const manifest = parseManifest(content);
    const there = precisionsOf(manifest);
    const precision = options.precision ?? there[0];
    if (!there.includes(precision)) {
      throw new OptionError(`precision is ${precision}; this bundle has ${there.join(", ")}`);
    }
    if (precision === "int8" && providers?.some(isWebGpu)) {
      throw new OptionError("int8 on WebGPU draws other masks (IoU .91): take fp32, or leave out webgpu");
    }
    const id = (await sha256(content)).slice(0, 16);
    return new SamClip(manifest, id, precision, files, ort, providers);
  }

  /** Fetches and opens what some verbs need, so that their first call does not wait for it. */
  async prepare(...verbs: Verb[]): Promise<void> {
    const { segmentation, classification } = this.manifest.tasks;
    const segment = ["prompt_encoder", "mask_decoder"];
    const segmentText = [`text_to_mask@${segmentation.resolution}`];
    const graphs: Record<Verb, string[]> = {
      encodeImage: encoderGraphs(segmentation.resolution),
      segment,
      segmentText,
      segmentInstances: [...segmentText, `clip_head@${segmentation.resolution}`, ...segment],
      classify: [...encoderGraphs(classification.resolution), `clip_head@${classification.resolution}`],
      embedText: ["text_encoder"],
      readLabels: [],
    };
    const texts = verbs.includes("embedText") ? this.openTokenizer() : undefined;
    const words = verbs.includes("readLabels") ? this.knownWords() : undefined;
    await Promise.all([texts, words, ...verbs.flatMap((verb) => graphs[verb]).map((name) => this.open(name))]);
  }

  /**
   * Runs the backbone once; every other verb takes its answer instead of the image.
   *
   * With `padding`, the padding to a square is computed too, as the goldens of the steps have it.
   */
  encodeImage(image: RgbImage, { padding = false } = {}): Promise<ImageEmbedding> {
    return this.encode(image, this.manifest.tasks.segmentation.resolution, padding);
  }

  /** Segments what points, boxes or masks point at, as SAM does. */
  async segment(image: RgbImage | ImageEmbedding, options: SegmentOptions): Promise<PromptMask[]> {
    const { multimaskOutput = true, maskThreshold = this.manifest.masks.mask_threshold } = options;
    checkFinite("maskThreshold", maskThreshold);
    const embedding = await this.admit(image, this.manifest.tasks.segmentation.resolution);
    const side = this.maskSide(embedding);
    const prompts = readPrompts(options, embedding, side);
    const { box_margin: margin } = this.manifest.calibration;
    const found: PromptMask[] = [];
    let promptIndex = 0;
    for await (const drawn of this.decode(embedding, prompts, side)) {
      for (const token of multimaskOutput ? [1, 2, 3] : [0]) {
        const lowResMask = drawn[token].logits.slice();
        if (margin != null) keepInBox(lowResMask, side, prompts[promptIndex], margin);
        const mask = toMask(lowResMask, side, embedding, maskThreshold);
        found.push({ mask, score: drawn[token].predictedIou, promptIndex, lowResMask });
      }
      promptIndex += 1;
    }
    return found;
  }

  /**
   * Finds labels in the image and draws their masks, in the order of the labels.
   *
   * A label that several words answer for is as present as the likeliest of them. Its mask holds those of all its
   * words that are in the image, and its score is that of the likeliest.
   */
  async segmentText(
    image: RgbImage | ImageEmbedding,
    labels: string | readonly string[],
    options: SegmentTextOptions = {},
  ): Promise<TextMask[]> {
    const { threshold, maskThreshold = this.manifest.masks.mask_threshold } = options;
    checkFinite("maskThreshold", maskThreshold);
    checkShare("threshold", threshold);
    const asked = await this.ask(labels, options);
    const embedding = await this.admit(image, this.manifest.tasks.segmentation.resolution);
    const found: TextMask[] = [];
    for await (const { answer, logits } of this.drawLabels(embedding, asked)) {
      const mask = answer.present
        ? toMask(logits, embedding.resolution, embedding, maskThreshold)
        : emptyMask(embedding);
      found.push({ ...answer, mask });
    }
    return options.exclusive ? exclusive(found) : found;
  }

  /**
   * Finds the objects of labels in the image, the best first.
   *
   * Each part of a label's mask is an object, so that objects that touch may be one. Only the cut at
   * `maxInstances` and `exclusive` depend on which other labels are asked. Of a label without an object nothing is
   * told: `readLabels` tells whether the model knows it.
   */
  async segmentInstances(
    image: RgbImage | ImageEmbedding,
    labels: string | readonly string[],
    options: SegmentInstancesOptions = {},
  ): Promise<Instance[]> {
    const { calibration, masks, tasks } = this.manifest;
    const { threshold, maskThreshold = masks.mask_threshold, maxInstances = MAX_INSTANCES } = options;
    const { minScore = calibration.objects?.min_score ?? 0 } = options;
    checkFinite("maskThreshold", maskThreshold);
    checkShare("threshold", threshold);
    checkShare("minScore", minScore);
    if (!(Number.isInteger(maxInstances) && maxInstances > 0)) {
      throw new PromptError(`maxInstances is ${maxInstances}; it must be a whole number from 1 on`);
    }
    const asked = await this.ask(labels, options);
    const embedding = await this.admit(image, tasks.segmentation.resolution);
    const side = this.maskSide(embedding);
    const { patches } = await this.clipHead(embedding);
    const judge = { frame: embedding, maskThreshold, patches, calibration };
    const found: (FoundObject & Told & { readonly label: string })[] = [];
    for await (const { asked: { label, told, rows }, answer, logits } of this.drawLabels(embedding, asked)) {
      if (!answer.present) continue;
      const mask = withoutSpecks(unscaled(logits, embedding.resolution, side), side, maskThreshold);
      const whole = { logits: mask, predictedIou: answer.score };
      const drawn = await this.drawParts(embedding, whole, side, maskThreshold);
      const objects = distinctObjects(drawn, side, { ...judge, texts: rows });
      found.push(...objects.map((each) => ({ ...each, label, ...told })));
    }
    found.sort((first, second) => second.score - first.score);
    const best = found.slice(0, maxInstances).filter(({ score }) => score >= minScore);
    const objects = best.map(({ logits, predictedIou, ...each }) => ({
      ...each,
      predictedIou: Math.min(predictedIou, 1),
      mask: toMask(logits, side, embedding, maskThreshold),
    }));
    return options.exclusive ? exclusiveObjects(objects) : objects;
  }

  /** Tells how well each label describes the image, in the order of the labels. */
  async classify(
    image: RgbImage | ImageEmbedding,
    labels: string | readonly string[],
  ): Promise<ClassScore[]> {
    const asked = await this.ask(labels);
    const { resolution, crop } = this.manifest.tasks.classification;
    if (crop !== "letterbox" && !isEmbedding(image)) {
      throw new BundleError(`this bundle classifies by ${crop}, which is not there: encode the image first`);
    }
    const embedding = await this.admit(image, resolution);
    const { seen } = await this.clipHead(embedding);
    const cosines = asked.map(({ rows }) => Math.max(...rows.map((row) => dot(row, seen))));
    const logits = cosines.map((cosine) => this.manifest.text.logit_scale * cosine);
    const highest = Math.max(...logits);
    const odds = logits.map((logit) => Math.exp(logit - highest));
    const all = odds.reduce((sum, each) => sum + each, 0);
    return asked.map(({ label, told }, k) => ({ label, prob: odds[k] / all, logit: logits[k], ...told }));
  }

  /** Embeds texts as they are (captions, queries), without templates; each of unit length. */
  async embedText(texts: string | readonly string[]): Promise<Float32Array[]> {
    return this.encodeTexts(checkTexts(texts));
  }

  /**
   * Embeds labels: the mean over the bundle's templates of the word that a label is read as, brought to unit length;
   * or what a pack gave a label. A general word that several words answer for is refused.
   */
  async embedLabels(labels: string | readonly string[]): Promise<Float32Array[]> {
    const asked = await this.ask(labels);
    return asked.map(({ label, told, rows }) => {
      if (rows.length === 1) return rows[0];
      throw new TextError(
        `"${label}" is any of ${told.readAs?.words.join(", ")}, and has no embedding of its own: give these labels`,
      );
    });
  }

  /** The embedding of a label by itself, whatever it is read as. */
  async ownEmbedding(label: string): Promise<Float32Array> {
    const name = cleanText(label);
    return this.given.get(name)?.row ?? this.embedded.get(name) ?? (await this.embedLabel(name));
  }

  /**
   * What the model takes labels for, in their order; none, but for those of packs, if the bundle does not tell.
   *
   * A label is what a pack gave; a taught word; the same as one in another word, number or spelling; read as others:
   * its kind, the kinds of a general word, or its head noun; or not known. Every answer has the last two in `readAs`.
   */
  async readLabels(labels: string | readonly string[]): Promise<Map<string, Reading>> {
    const readings = new Map<string, Reading>();
    for (const label of checkLabels(labels)) {
      const reading = await this.reading(label);
      if (reading) readings.set(label, reading);
    }
    return readings;
  }

  /** The nouns that images taught the model, in the order of the alphabet; none if its bundle does not tell. */
  async words(): Promise<readonly string[]> {
    return (await this.knownWords())?.words ?? [];
  }

  /** The taught words nearest to a label's own embedding, the nearest first. */
  async nearestWords(label: string, { count = 3 } = {}): Promise<NearWord[]> {
    if (!(Number.isInteger(count) && count > 0)) {
      throw new OptionError(`count is ${count}; it must be a whole number from 1 on`);
    }
    const [name] = checkLabels(label);
    const row = await this.ownEmbedding(name);
    return (await this.knownWords())?.nearest(row, count) ?? [];
  }

  /**
   * Reads a label pack; its labels then need no text encoder, have the pack's thresholds, and are told to be read
   * as the pack says.
   *
   * @param pack the path of a pack in the bundle, such as "nouns.safetensors", or a pack's content.
   * @returns its labels.
   */
  async loadLabels(pack: string | Blob | Uint8Array): Promise<string[]> {
    const name = typeof pack === "string" ? pack : "the label pack";
    const content =
      typeof pack === "string"
        ? await this.read(pack)
        : pack instanceof Uint8Array ? pack : new Uint8Array(await pack.arrayBuffer());
    const { labels, rows, thresholds, readAs } = readPack(content, name, this.manifest);
    labels.map(cleanText).forEach((label, k) => {
      this.given.set(label, { row: rows[k], threshold: thresholds[k], readAs: readAs[k] });
    });
    return labels;
  }

  /** The content of a file that the bundle's manifest lists beside the graphs, checked. */
  async read(path: string): Promise<Uint8Array> {
    const file = this.manifest.files.find((each) => each.path === path);
    if (!file) throw new BundleError(`this bundle has no ${path}`);
    return this.files.get(file);
  }

  /** Runs a graph of the bundle by its name, on inputs by name. One graph runs at a time. */
  async run(
    graph: string,
    feed: Readonly<Record<string, Tensor<TensorData>>>,
  ): Promise<Record<string, Tensor<any>>> {
    const session = await this.open(graph);
    const inputs = Object.entries(feed).map(([name, value]) => [name, toOrt(this.ort, value)]);
    try {
      const outputs = await this.inTurn(() => session.run(Object.fromEntries(inputs)));
      const plain = Object.entries(outputs).map(([name, { data, dims }]) => [name, { data, dims }]);
      return Object.fromEntries(plain);
    } catch (error) {
      throw new GraphError(`${graph} cannot be run: ${reason(error)}`);
    }
  }

  /** The token ids of a text, padded with zeros. */
  async tokenize(text: string): Promise<Int32Array> {
    return (await this.openTokenizer())(text);
  }

  /** Frees the graphs; what is needed later is opened again. */
  async close(): Promise<void> {
    const open = [...this.sessions.values()];
    this.sessions.clear();
    for (const session of open) await (await session).release();
  }

  private async encode(image: RgbImage, resolution: number, padding = false): Promise<ImageEmbedding> {
    const { data, width, height } = await toRgb(image);
    const rgbImage = { data, dims: [height, width, 3] };
    const { image: square, extent } = await this.run(`letterbox@${resolution}`, { picture: rgbImage });
    const whole = padding || this.manifest.model.image_encoder.kind !== "pyramid";
    const seen = whole ? square : upperLeft(square, coveredPixels([extent.data[0], extent.data[1]]));
    const encoded = await this.run(`image_encoder@${resolution}`, { image: seen });
    return {
      width,
      height,
      resolution,
      extent: [extent.data[0], extent.data[1]],
      bundleId: this.id,
      imageTokens: encoded.image_tokens,
      imageEmbeddings: encoded.image_embeddings,
    };
  }

  private async admit(image: RgbImage | ImageEmbedding, resolution: number): Promise<ImageEmbedding> {
    if (!isEmbedding(image)) return this.encode(image, resolution);
    if (image.bundleId !== this.id) {
      throw new EmbeddingMismatchError(
        `the image was encoded by bundle ${image.bundleId}, this is ${this.id}: encode it again`,
      );
    }
    return image;
  }

  /** The patches [grid*grid,E] of the whole square, and the image's embedding [E]. */
  private async clipHead(
    embedding: ImageEmbedding,
  ): Promise<{ readonly patches: Float32Array; readonly seen: Float32Array }> {
    const mask = this.tokenMask(embedding);
    const cells = sides(embedding.imageTokens);
    const feed = { image_tokens: embedding.imageTokens, token_mask: upperLeft(mask, cells) };
    const found = await this.run(`clip_head@${embedding.resolution}`, feed);
    const patches: Float32Array = found.patch_embeddings.data;
    const [, grid] = mask.dims;
    const whole = cells[0] === cells[1] ? patches : wholePatches(patches, cells, grid);
    return { patches: whole, seen: found.image_embedding.data };
  }

  /** Yields the decoder's four masks [side,side] of each prompt. */
  private async *decode(
    embedding: ImageEmbedding,
    prompts: readonly Prompt[],
    side: number,
  ): AsyncGenerator<Drawn[]> {
    for (const [, part] of this.batches(prompts)) {
      const encoded = await this.run("prompt_encoder", promptTensors(part, side));
      const { low_res_masks: masks, iou_predictions: scores } = await this.run("mask_decoder", {
        image_embeddings: embedding.imageEmbeddings,
        ...encoded,
        dense_embeddings: upperLeft(encoded.dense_embeddings, sides(embedding.imageEmbeddings)),
      });
      const size = sides(masks);
      const area = size[0] * size[1];
      for (const k of part.keys()) {
        yield [0, 1, 2, 3].map((token) => {
          const at = 4 * k + token;
          const logits = wholeMask(masks.data.subarray(at * area, (at + 1) * area), size, side);
          return { logits, predictedIou: scores.data[at] };
        });
      }
    }
  }

  /** Yields what the image has of each label. */
  private async *drawLabels(
    embedding: ImageEmbedding,
    asked: readonly AskedLabel[],
  ): AsyncGenerator<DrawnLabel> {
    const side = embedding.resolution;
    const words = asked.flatMap((each) =>
      each.rows.map((row, k) => ({ asked: each, row, isLast: k === each.rows.length - 1 })),
    );
    let drawn: DrawnWord | undefined;
    for (const [, part] of this.batches(words)) {
      const { mask_logits, scores, presence } = await this.run(`text_to_mask@${side}`, {
        image_tokens: embedding.imageTokens,
        image_embeddings: embedding.imageEmbeddings,
        extent: { data: Float32Array.from(embedding.extent), dims: [2] },
        text_embeddings: { data: joined(part.map(({ row }) => row)), dims: [part.length, part[0].row.length] },
      });
      for (const [k, { asked, isLast }] of part.entries()) {
        const least = Math.fround(asked.threshold);
        const logits = mask_logits.data.subarray(k * side * side, (k + 1) * side * side);
        const word = { presence: presence.data[k], score: scores.data[k], logits };
        drawn = drawn ? eitherWord(drawn, word, least) : word;
        if (!isLast) continue;
        const present = drawn.presence >= least;
        const score = present ? drawn.score : 0;
        yield {
          asked,
          answer: { label: asked.label, presence: drawn.presence, present, score, ...asked.told },
          logits: drawn.logits,
        };
        drawn = undefined;
      }
    }
  }

  /** Draws each part of a label's mask once more, by the box around it; a mask of one part stays. */
  private async drawParts(
    embedding: ImageEmbedding,
    mask: Drawn,
    side: number,
    maskThreshold: number,
  ): Promise<Drawn[]> {
    const candidates = findCandidates(mask.logits, side, embedding, maskThreshold);
    if (candidates.length < 2) return [mask];
    const drawn: Drawn[] = [];
    for await (const decoded of this.decode(embedding, candidates, side)) {
      drawn.push(chosenMask(decoded, candidates[drawn.length], side, embedding));
    }
    return drawn;
  }

  private async encodeTexts(texts: readonly string[]): Promise<Float32Array[]> {
    await this.open("text_encoder"); // First, so that a bundle without one is told as that.
    const { context_length: length } = this.manifest.text;
    const ids = new Int32Array(texts.length * length);
    for (const [k, text] of texts.entries()) ids.set(await this.tokenize(text), k * length);
    const feed = { input_ids: { data: ids, dims: [texts.length, length] } };
    const { text_embeddings: rows } = await this.run("text_encoder", feed);
    const size = rows.data.length / texts.length;
    return texts.map((_, k) => rows.data.slice(k * size, (k + 1) * size));
  }

  private async embedLabel(label: string): Promise<Float32Array> {
    const { templates } = this.manifest.text;
    const found = await this.encodeTexts(templates.map((each) => each.replaceAll("{}", label)));
    const row = normalize(found[0].map((_, i) => found.reduce((sum, each) => sum + each[i], 0) / found.length));
    this.embedded.set(label, row);
    return row;
  }

  /** Reads and embeds labels, with the thresholds that the options leave them. */
  private async ask(
    labels: string | readonly string[],
    { threshold, allowUnknown }: Pick<SegmentTextOptions, "threshold" | "allowUnknown"> = {},
  ): Promise<AskedLabel[]> {
    const asked: AskedLabel[] = [];
    for (const label of checkLabels(labels)) {
      const reading = await this.reading(label);
      const isUnknown = reading?.kind === "unknown";
      const alone = !reading || isUnknown || this.given.has(cleanText(label));
      const words = alone ? [label] : reading.words;
      const rows: Float32Array[] = [];
      for (const word of words) rows.push(await this.ownEmbedding(word));
      const own = isUnknown && !allowUnknown ? NEVER : await this.ownThreshold(words, reading !== undefined);
      const told = reading && (isUnknown || reading.kind === "read_as") ? { readAs: reading } : {};
      asked.push({ label, told, rows, threshold: threshold ?? own });
    }
    return asked;
  }

  /** What the model takes a label for, by what it was given, was taught, and its table. */
  private async reading(label: string): Promise<Reading | undefined> {
    const name = cleanText(label);
    const given = this.given.get(name);
    if (given) return given.readAs ?? { kind: "taught", words: [label] };
    const known = await this.knownWords();
    if (!known?.reads) return undefined;
    return known.read(name) ?? known.unknown(await this.ownEmbedding(name));
  }

  /** The highest threshold that the words were given or, if the model `reads`, were taught; or the bundle's. */
  private async ownThreshold(words: readonly string[], reads: boolean): Promise<number> {
    const own: number[] = [];
    for (const word of words.map(cleanText)) {
      const given = this.given.get(word);
      const threshold = given || !reads ? given?.threshold : (await this.knownWords())?.threshold(word);
      if (threshold != null) own.push(threshold);
    }
    return own.length ? Math.max(...own) : this.manifest.calibration.presence_threshold;
  }

  /** None if the bundle does not tell them. */
  private knownWords(): Promise<KnownWords | undefined> {
    this.known ??= this.readWords();
    this.known.catch(() => (this.known = undefined));
    return this.known;
  }

  private async readWords(): Promise<KnownWords | undefined> {
    const there = (path: string) => this.manifest.files.some((each) => each.path === path);
    if (!there(NOUNS)) return undefined;
    const [nouns, words] = await Promise.all([this.read(NOUNS), there(WORDS) ? this.read(WORDS) : undefined]);
    const { labels, rows, thresholds } = readPack(nouns, NOUNS, this.manifest);
    return new KnownWords(labels, rows, thresholds, words && readTable(words, WORDS));
  }

  private openTokenizer(): Promise<Tokenize> {
    this.tokenizer ??= this.read("tokenizer.json").then((content) =>
      openTokenizer(content, this.manifest.text.context_length),
    );
    this.tokenizer.catch(() => (this.tokenizer = undefined));
    return this.tokenizer;
  }

  private open(graph: string): Promise<OrtSession> {
    let session = this.sessions.get(graph);
    if (!session) {
      session = this.create(graph);
      this.sessions.set(graph, session);
      session.catch(() => this.sessions.delete(graph));
    }
    return session;
  }

  private async create(graph: string): Promise<OrtSession> {
    const artifact = artifactOf(this.manifest, graph, this.precision);
    const [model, ...weights] = await Promise.all(
      [artifact, ...artifact.weights].map((file) => this.files.get(file)),
    );
    const own = this.providers?.filter((each) => !(NOT_ON_WEBGPU.test(graph) && isWebGpu(each)));
    const options = {
      ...(own?.length ? { executionProviders: own } : {}),
      externalData: weights.map((data, k) => ({ path: artifact.weights[k].path.split("/").pop(), data })),
      logSeverityLevel: 3,
    };
    try {
      return await this.inTurn(() => this.ort.InferenceSession.create(model, options));
    } catch (error) {
      throw new GraphError(`${artifact.path} cannot be opened: ${reason(error)}`);
    }
  }

  /** The runtime may open or run one graph at a time. */
  private inTurn<Value>(work: () => Promise<Value>): Promise<Value> {
    const done = this.turn.then(work);
    this.turn = done.catch(() => undefined);
    return done;
  }

  /** The side of mask prompts and of the decoder's masks. */
  private maskSide({ resolution }: Frame): number {
    return (4 * resolution) / this.manifest.image.patch_size;
  }

  private tokenMask({ resolution, extent }: Frame): Tensor {
    const { patch_size: patch } = this.manifest.image;
    const grid = resolution / patch;
    const data = new Float32Array(grid * grid);
    const columns = Math.ceil(extent[1] / patch);
    for (let row = 0; row < extent[0] / patch; row++) data.fill(1, row * grid, row * grid + columns);
    return { data, dims: [1, grid, grid] };
  }

  /** At most `max_prompts` at a time, with the place of the first. */
  private *batches<Item>(items: readonly Item[]): Generator<[number, Item[]]> {
    const { max_prompts: size } = this.manifest.masks;
    for (let start = 0; start < items.length; start += size) yield [start, items.slice(start, start + size)];
  }
}

/** The last two dimensions. */
function sides({ dims }: Tensor): [number, number] {
  return [dims[dims.length - 2], dims[dims.length - 1]];
}

function encoderGraphs(resolution: number): string[] {
  return [`letterbox@${resolution}`, `image_encoder@${resolution}`];
}

function isEmbedding(image: RgbImage | ImageEmbedding): image is ImageEmbedding {
  return "imageTokens" in image;
}

function isWebGpu(provider: ExecutionProvider): boolean {
  return (typeof provider === "string" ? provider : provider.name) === "webgpu";
}

function checkFinite(name: string, value: number): void {
  if (!Number.isFinite(value)) throw new PromptError(`${name} is ${value}; it must be a finite number`);
}

function checkShare(name: string, value: number | undefined): void {
  if (value !== undefined && !(value >= 0 && value <= 1)) {
    throw new PromptError(`${name} is ${value}; it must be from 0 to 1`);
  }
}

/** Two words that answer for one label: the mask of the likelier, with the other's if that is in the image, too. */
function eitherWord(first: DrawnWord, second: DrawnWord, least: number): DrawnWord {
  const [likelier, other] = second.presence > first.presence ? [second, first] : [first, second];
  if (other.presence < least) return likelier;
  return { ...likelier, logits: likelier.logits.map((logit, i) => Math.max(logit, other.logits[i])) };
}

function joined(rows: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(rows.length * rows[0].length);
  rows.forEach((row, k) => all.set(row, k * row.length));
  return all;
}
