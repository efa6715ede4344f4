/**
 * Points, boxes and masks of a caller -> the prompt encoder's inputs.
 *
 * The rule that most deployments get wrong: SAM adds exactly one padding token (label -1, which
 * takes part in attention) when points come without a box, and none otherwise. Filler (label -2)
 * evens out prompts of different lengths and takes no part.
 */

import { PromptError } from "./errors.js";
import type { Frame } from "./masks.js";
import type { Tensor, TensorData } from "./ort.js";

/** [x, y] in pixels of the upright image. */
export type Point = readonly [number, number];
/** [left, top, right, bottom] in pixels of the upright image. */
export type Box = readonly [number, number, number, number];

export interface Prompts {
  /** Of one prompt, or of several. */
  readonly points?: readonly Point[] | readonly (readonly Point[])[];
  /** 1 foreground (the default), 0 background, 2 and 3 a box's corners, -1 a slot without a point. */
  readonly pointLabels?: readonly number[] | readonly (readonly number[])[];
  /** One, or several; what is outside the image is cut off. */
  readonly boxes?: Box | readonly Box[];
  /** Logits of the model's frame, such as the `lowResMask` of an earlier answer; or several. */
  readonly maskInput?: Float32Array | readonly Float32Array[];
}

type Token = readonly [x: number, y: number, label: number];

export const FOREGROUND = 1;
export const TOP_LEFT = 2;
export const BOTTOM_RIGHT = 3;
const NOT_A_POINT: Token = [0, 0, -1];
const FILLER: Token = [0, 0, -2];
/** What the logits of a box's mask are at most, where they are outside the box. */
const OUTSIDE = -10;
/** The side of a value of the decoder's masks, in the model's pixels. */
const VALUE_PX = 4;

/** One prompt: its tokens in model pixels, and its mask. */
export interface Prompt {
  readonly tokens: readonly Token[];
  readonly mask: Float32Array | undefined;
}

/** Checks prompts and brings them to the model's frame; `side` is that of mask inputs. */
export function readPrompts(asked: Prompts, frame: Frame, side: number): Prompt[] {
  const points = many<readonly Point[]>(asked.points, (first) => Array.isArray(first) && !isNumber(first[0]));
  const labels = many<readonly number[]>(asked.pointLabels, Array.isArray);
  const boxes = many<Box>(asked.boxes, Array.isArray);
  const masks =
    asked.maskInput instanceof Float32Array ? [asked.maskInput] : (asked.maskInput as Float32Array[]);
  const counts = Object.entries({ points, boxes, maskInput: masks }).filter(([, given]) => given);
  if (labels && !points) throw new PromptError("pointLabels come without points");
  if (!counts.length) throw new PromptError("nothing to segment: give points, boxes or maskInput");
  const count = counts[0][1]!.length;
  if (!count || counts.some(([, given]) => given!.length !== count)) {
    const said = counts.map(([name, given]) => `${name} ${given!.length}`).join(", ");
    throw new PromptError(`the numbers of prompts must be the same, and not 0: ${said}`);
  }
  if (labels && (labels.length !== count || labels.some((row, k) => row.length !== points![k].length))) {
    throw new PromptError("pointLabels must be as many as points, one for each");
  }
  return Array.from({ length: count }, (_, k) => {
    const kinds = points && (labels?.[k] ?? points[k].map(() => FOREGROUND));
    const tokens = points?.[k].map((point, n) => pointToken(point, kinds![n], frame)) ?? [];
    checkCorners(tokens, boxes !== undefined);
    const used = tokens.filter(([, , label]) => label >= 0);
    if (!boxes && !masks && !used.length) {
      throw new PromptError("a prompt has no point: give at least one whose label is not -1");
    }
    const alone = !boxes && used.length > 0 && used.every(([, , label]) => label < TOP_LEFT);
    const extra = boxes ? boxTokens(boxes[k], frame) : [alone ? NOT_A_POINT : FILLER];
    return { tokens: [...tokens, ...extra], mask: masks && checkMask(masks[k], side) };
  });
}

/** The inputs of one call of the prompt encoder. */
export function promptTensors(
  prompts: readonly Prompt[],
  side: number,
): Record<string, Tensor<TensorData>> {
  const count = prompts.length;
  const longest = Math.max(...prompts.map(({ tokens }) => tokens.length));
  const coords = new Float32Array(count * longest * 2);
  const labels = new Int32Array(count * longest).fill(FILLER[2]);
  const masks = new Float32Array(count * side * side);
  prompts.forEach(({ tokens, mask }, k) => {
    tokens.forEach(([x, y, label], n) => {
      coords.set([x, y], 2 * (k * longest + n));
      labels[k * longest + n] = label;
    });
    if (mask) masks.set(mask, k * side * side);
  });
  return {
    point_coords: { data: coords, dims: [count, longest, 2] },
    point_labels: { data: labels, dims: [count, longest] },
    mask_input: { data: masks, dims: [count, 1, side, side] },
    has_mask_input: { data: Float32Array.from(prompts, ({ mask }) => Number(!!mask)), dims: [count] },
  };
}

/** Lowers the logits [side,side] of a prompt's mask outside its box, if it has one, grown by a share of its sides. */
export function keepInBox(logits: Float32Array, side: number, { tokens }: Prompt, margin: number): void {
  const first = tokens.find(([, , label]) => label === TOP_LEFT);
  const second = tokens.find(([, , label]) => label === BOTTOM_RIGHT);
  if (!first || !second) return;
  const [left, top] = [0, 1].map((axis) => grown(first, second, axis, margin) / VALUE_PX).map(Math.floor);
  const [right, bottom] = [0, 1].map((axis) => grown(second, first, axis, margin) / VALUE_PX).map(Math.ceil);
  for (let at = 0; at < logits.length; at += 1) {
    const x = at % side;
    const y = (at - x) / side;
    if (x < left || x >= right || y < top || y >= bottom) logits[at] = Math.min(logits[at], OUTSIDE);
  }
}

/** An edge of a box, moved away from the other one. */
function grown(edge: Token, other: Token, axis: number, margin: number): number {
  return edge[axis] + margin * (edge[axis] - other[axis]);
}

/** One value, or several of which the first is nested deeper, as several. */
function many<Value>(given: unknown, isSeveral: (first: any) => boolean): Value[] | undefined {
  if (given === undefined) return undefined;
  if (!Array.isArray(given)) throw new PromptError("points, pointLabels and boxes are arrays of numbers");
  return isSeveral(given[0]) ? given : [given as Value];
}

function pointToken(point: Point, label: number, frame: Frame): Token {
  if (![-1, 0, 1, TOP_LEFT, BOTTOM_RIGHT].includes(label)) {
    throw new PromptError(
      `the point label ${label} means nothing: 1 is foreground, 0 background, 2 and 3 are a box's ` +
        "corners, -1 is no point",
    );
  }
  if (label === -1) return FILLER;
  checkNumbers("a point", point, 2);
  const [x, y] = point;
  if (x < 0 || y < 0 || x >= frame.width || y >= frame.height) {
    throw new PromptError(
      `point (${x}, ${y}) is outside the image of ${frame.width} x ${frame.height} pixels`,
    );
  }
  return [...toModel(x, y, frame), label];
}

function boxTokens(box: Box, frame: Frame): Token[] {
  checkNumbers("a box", box, 4);
  const { width, height } = frame;
  const [left, top, right, bottom] = box;
  if (!(left < right && top < bottom)) {
    throw new PromptError(
      `box [${box}] is empty or reversed; a box is [left, top, right, bottom], left < right, top < bottom`,
    );
  }
  if (left >= width || top >= height || right <= 0 || bottom <= 0) {
    throw new PromptError(`box [${box}] is outside the image of ${width} x ${height} pixels`);
  }
  return [
    [...toModel(Math.max(left, 0), Math.max(top, 0), frame), TOP_LEFT],
    [...toModel(Math.min(right, width), Math.min(bottom, height), frame), BOTTOM_RIGHT],
  ];
}

function toModel(x: number, y: number, { width, height, extent }: Frame): [number, number] {
  return [(x * extent[1]) / width, (y * extent[0]) / height];
}

/** Labels 2 and 3 must come as one pair, in order, and not beside boxes. */
function checkCorners(tokens: readonly Token[], boxesGiven: boolean): void {
  const first = tokens.filter(([, , label]) => label === TOP_LEFT);
  const second = tokens.filter(([, , label]) => label === BOTTOM_RIGHT);
  if (!first.length && !second.length) return;
  if (boxesGiven) {
    throw new PromptError("pointLabels 2 and 3 are a box's corners: give them or boxes, not both");
  }
  if (first.length !== 1 || second.length !== 1) {
    throw new PromptError("pointLabels 2 and 3 are the two corners of one box: give one of each");
  }
  if (!(first[0][0] < second[0][0] && first[0][1] < second[0][1])) {
    throw new PromptError("the corner labelled 2 must be left of and above the one labelled 3");
  }
}

function checkMask(mask: Float32Array, side: number): Float32Array {
  if (mask.length !== side * side) {
    throw new PromptError(
      `maskInput has ${mask.length} values a mask; this model takes ${side} x ${side}, such as the ` +
        "lowResMask of an earlier answer",
    );
  }
  if (!mask.every(Number.isFinite)) throw new PromptError("maskInput holds NaN or infinity");
  return mask;
}

function checkNumbers(name: string, values: readonly number[], count: number): void {
  if (values?.length !== count || !values.every(Number.isFinite)) {
    throw new PromptError(`${name} is [${values}]; it must be ${count} finite numbers`);
  }
}

const isNumber = (value: unknown): value is number => typeof value === "number";
