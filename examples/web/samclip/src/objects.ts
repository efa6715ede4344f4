/**
 * The objects of labels: a candidate for each part of a label's mask, without duplicates.
 *
 * Maps and masks are [side,side] in the model's frame, as the mask decoder draws them.
 */

import { CONTAINED_SHARE, isSame } from "./exclusive.js";
import type { Calibration, ObjectScore } from "./manifest.js";
import { maskOf, upscale, type Frame, type Mask } from "./masks.js";
import { deepest, findPieces, withoutSpecks } from "./pieces.js";
import { BOTTOM_RIGHT, FOREGROUND, TOP_LEFT, type Prompt } from "./prompts.js";
import { normalize } from "./text.js";
import { dot } from "./words.js";

/** The most parts of a label's mask that are followed; the largest ones. */
const MAX_CANDIDATES = 64;
/** The least area of a part, in pixels: two patches hold 32. */
const LEAST_PX = 20;
/** The least area of a part, as a share of the largest part's; smaller ones are specks. */
const LEAST_PART = 0.02;
/** The bound of a mask prompt's logits; the padding holds its negative. */
const MASK_PROMPT_LIMIT = 10;
/** A mask that scores less than this share of its label's best object is only a fragment. */
const LEAST_SHARE = 0.05;
/** segment-anything's default, in logits. */
const STABILITY_OFFSET = 1;
/** The least score of a label that is told from 0; 1 minus it is the most. */
const LEAST_FIT = 1e-4;

/** A place where a label may have an object: the prompt for the part of its mask. */
export interface Candidate extends Prompt {
  /** The label's mask without its other parts. */
  readonly mask: Float32Array;
}

/** A mask of the mask decoder. */
export interface Drawn {
  readonly logits: Float32Array;
  readonly predictedIou: number;
}

export interface FoundObject extends Drawn {
  readonly score: number;
  readonly labelScore: number;
  readonly stabilityScore: number;
}

/** What the masks of a label are judged by. */
export interface Judge {
  readonly frame: Frame;
  /** The logit that a pixel must exceed. */
  readonly maskThreshold: number;
  /** The embeddings [h*h,E] of the image's patches, of unit length. */
  readonly patches: Float32Array;
  /** The embeddings [E] of the words that answer for the label, of unit length; the one that fits best counts. */
  readonly texts: readonly Float32Array[];
  readonly calibration: Calibration;
}

/** Undoes the bilinear scaling of logits [side,side] to the model's input [resolution,resolution]. */
export function unscaled(logits: Float32Array, resolution: number, side: number): Float32Array {
  const scale = resolution / side;
  // The two values after a pixel's centre lie on the line to the next pixel, which leads back to the centre.
  const after = (place: number): [number, number] => {
    const first = (place + 0.5) * scale;
    return [first, Math.min(first + 1, resolution - 1)];
  };
  const low = new Float32Array(side * side);
  for (let y = 0; y < side; y++) {
    const [upper, lower] = after(y).map((row) => row * resolution);
    for (let x = 0; x < side; x++) {
      const [left, right] = after(x);
      const above = 1.5 * logits[upper + left] - 0.5 * logits[upper + right];
      const below = 1.5 * logits[lower + left] - 0.5 * logits[lower + right];
      low[y * side + x] = 1.5 * above - 0.5 * below;
    }
  }
  return low;
}

/** The prompts for the parts of a label's mask that do not touch, the largest part first. */
export function findCandidates(
  logits: Float32Array,
  side: number,
  frame: Frame,
  threshold: number,
): Candidate[] {
  const inside = modelMask(logits, side, frame, threshold);
  const parts = findPieces(inside, side, 4).sort((first, second) => second.length - first.length);
  const least = Math.max(LEAST_PX, LEAST_PART * (parts[0]?.length ?? 0));
  const whole = maskPrompt(logits, side, frame, threshold);
  const large = parts.slice(0, MAX_CANDIDATES).filter(({ length }) => length >= least);
  return large.map((part) => {
    const mask = whole.map((logit, place) => (inside[place] ? -MASK_PROMPT_LIMIT : logit));
    for (const place of part) mask[place] = whole[place];
    return { tokens: partTokens(part, side, frame), mask };
  });
}

/** The best of the decoder's masks for a candidate: by the predicted IoU, and the soft IoU with its part. */
export function chosenMask(
  decoded: readonly Drawn[],
  candidate: Candidate,
  side: number,
  frame: Frame,
): Drawn {
  const worth = decoded.map(
    ({ logits, predictedIou }) => Math.max(predictedIou, 0) * softIou(logits, candidate.mask, side, frame),
  );
  return decoded[worth.indexOf(Math.max(...worth))];
}

/** Scores the masks of a label's candidates, and keeps one for each object, the best first. */
export function distinctObjects(drawn: readonly Drawn[], side: number, judge: Judge): FoundObject[] {
  const judged = drawn.map((each) => judgeMask(each, side, judge));
  const least = LEAST_SHARE * Math.max(0, ...judged.map(({ found }) => found.score));
  // A mask that lies only in the padding may leak a few pixels into the image.
  const ranked = judged
    .filter(({ found, small, inImage }) => inImage && small.area > 0 && found.score >= least)
    .sort((first, second) => second.found.score - first.found.score);
  const kept: Judged[] = [];
  const covered = new Uint8Array(side * side);
  for (const each of ranked) {
    const { data, area } = each.small;
    const contained = data.filter((inside, place) => inside & covered[place]).length >= CONTAINED_SHARE * area;
    if (contained || kept.some(({ small }) => isSame(each.small, small))) continue;
    kept.push(each);
    data.forEach((inside, place) => (covered[place] |= inside));
  }
  return kept.map(({ found }) => found);
}

interface Judged {
  readonly found: FoundObject;
  readonly small: Mask;
  readonly inImage: boolean;
}

function judgeMask({ logits, predictedIou }: Drawn, side: number, judge: Judge): Judged {
  const { frame, maskThreshold, patches, texts, calibration } = judge;
  const clean = withoutSpecks(logits, side, maskThreshold);
  const small = maskOf(modelMask(clean, side, frame, maskThreshold), side, side);
  const pooled = poolOverMask(patches, small, texts[0].length);
  const cosine = Math.max(...texts.map((text) => dot(pooled, text)));
  const labelScore = sigmoid(calibration.scale * (cosine - calibration.bias));
  const { area, stabilityScore } = measure(clean, side, frame, maskThreshold);
  const score = objectScore(labelScore, predictedIou, stabilityScore, calibration.objects);
  const found = { logits: clean, predictedIou, score, labelScore, stabilityScore };
  return { found, small, inImage: area > 0 };
}

/** The mean of the patches [h*h,width] under a mask, each weighted by the share that it covers; of unit length. */
function poolOverMask(patches: Float32Array, { data, width: side }: Mask, width: number): Float32Array {
  const cells = Math.sqrt(patches.length / width);
  const cell = side / cells;
  const pixels = new Uint32Array(cells * cells);
  data.forEach((inside, place) => {
    const [x, y] = [place % side, Math.floor(place / side)];
    pixels[Math.floor(y / cell) * cells + Math.floor(x / cell)] += inside;
  });
  const sum = new Float64Array(width);
  pixels.forEach((count, place) => {
    if (count) for (let k = 0; k < width; k++) sum[k] += count * patches[place * width + k];
  });
  return normalize(sum);
}

/**
 * A mask's area in the image, and its stability: the IoU of its masks at a logit above and below the
 * threshold, and 0 if both are empty.
 */
function measure(logits: Float32Array, side: number, frame: Frame, threshold: number) {
  let [above, area, below] = [0, 0, 0];
  upscale(logits, side, frame, (row) => {
    for (const logit of row) {
      if (logit > threshold - STABILITY_OFFSET) below += 1;
      if (logit > threshold) area += 1;
      if (logit > threshold + STABILITY_OFFSET) above += 1;
    }
  });
  return { area, stabilityScore: below ? above / below : 0 };
}

/** The probability that an object is right; the product of the three, if not calibrated. */
function objectScore(
  labelScore: number,
  predictedIou: number,
  stability: number,
  weights: ObjectScore | null | undefined,
): number {
  const predicted = Math.min(Math.max(predictedIou, 0), 1);
  if (!weights) return labelScore * predicted * stability;
  const fits = Math.min(Math.max(labelScore, LEAST_FIT), 1 - LEAST_FIT);
  return sigmoid(
    weights.label_score * Math.log(fits / (1 - fits)) +
      weights.predicted_iou * predicted +
      weights.stability_score * stability +
      weights.bias,
  );
}

/** The pixel that is deepest inside a part, and the box around it, in model pixels. */
function partTokens(part: readonly number[], side: number, { resolution, extent }: Frame): Prompt["tokens"] {
  const size = resolution / side;
  const data = new Uint8Array(side * side);
  for (const place of part) data[place] = 1;
  const [left, top, right, bottom] = maskOf(data, side, side).box;
  const place = deepest(part, side);
  const centre = (cell: number, length: number) => Math.min((cell + 0.5) * size - 0.5, length - 1);
  return [
    [centre(place % side, extent[1]), centre(Math.floor(place / side), extent[0]), FOREGROUND],
    [left * size, top * size, TOP_LEFT],
    [Math.min(right * size, extent[1]), Math.min(bottom * size, extent[0]), BOTTOM_RIGHT],
  ];
}

/** The mask prompt of a mask: its logits above the threshold, bounded. */
function maskPrompt(logits: Float32Array, side: number, frame: Frame, threshold: number): Float32Array {
  const shown = inImage(side, frame);
  return logits.map((logit, place) => {
    const clipped = Math.min(Math.max(logit - threshold, -MASK_PROMPT_LIMIT), MASK_PROMPT_LIMIT);
    return shown(place) ? clipped : -MASK_PROMPT_LIMIT;
  });
}

/** 1 where a logit exceeds the threshold; the padding is empty. */
function modelMask(logits: Float32Array, side: number, frame: Frame, threshold: number): Uint8Array {
  const shown = inImage(side, frame);
  return Uint8Array.from(logits, (logit, place) => Number(logit > threshold && shown(place)));
}

/** The IoU of the probabilities of two masks; the padding does not count. */
function softIou(first: Float32Array, second: Float32Array, side: number, frame: Frame): number {
  const shown = inImage(side, frame);
  let [shared, either] = [0, 0];
  first.forEach((logit, place) => {
    if (!shown(place)) return;
    shared += sigmoid(Math.min(logit, second[place]));
    either += sigmoid(Math.max(logit, second[place]));
  });
  return shared / either;
}

/** Tells of the places of a map whether they hold any pixel of the image. */
function inImage(side: number, { resolution, extent }: Frame): (place: number) => boolean {
  const [rows, columns] = extent.map((pixels) => Math.ceil((pixels * side) / resolution));
  return (place) => place < rows * side && place % side < columns;
}

function sigmoid(logit: number): number {
  return 1 / (1 + Math.exp(-logit));
}
