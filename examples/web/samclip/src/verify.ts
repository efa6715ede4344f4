/** Runs a bundle's goldens on this device: what must come out of the graphs, and what does. */

import type { Tensor } from "./ort.js";
import type { Box, Point } from "./prompts.js";
import { readSafetensors, type Safetensors, type Values } from "./safetensors.js";
import type { SamClip } from "./samclip.js";

export interface Check {
  /** The part of the goldens, and what of it. */
  readonly golden: string;
  readonly passed: boolean;
  /** What was measured, and what it must be. */
  readonly found: string;
}

interface Expected {
  readonly tensor: string;
  readonly step: number;
  readonly max_error?: number;
}

interface Index {
  graphs: { graph: string; inputs: Record<string, string>; outputs: Record<string, Expected> }[];
  segment: {
    image: string;
    points: Point[];
    labels: number[];
    box: Box | null;
    low_res_masks: Expected;
    iou_predictions: Expected;
  }[];
  class_embeddings: { labels: string[]; expected: Expected }[];
  text_to_mask: { image: string; pack: string; presence: number[]; scores: number[]; masks: string }[];
}

/** The parts of the goldens that say what graphs compute. */
export const PARTS = ["graphs", "segment", "class_embeddings", "text_to_mask"] as const;
export type Part = (typeof PARTS)[number];

const LOWEST_COSINE = 0.99;
const LOWEST_IOU = 0.98;
const PRESENCE_ERROR = 1e-3;

/** Runs the goldens, or some parts of them. */
export async function verify(model: SamClip, parts: readonly Part[] = PARTS): Promise<Check[]> {
  const index: Index = JSON.parse(new TextDecoder().decode(await model.read("golden/index.json")));
  const goldens = readSafetensors(await model.read("golden/tensors.safetensors"), "golden/tensors.safetensors");
  const run = new Run(model, goldens);
  for (const part of parts) {
    for (const golden of index[part] ?? []) await run[part](golden as never);
  }
  return run.checks;
}

class Run implements Record<Part, (golden: never) => Promise<void>> {
  readonly checks: Check[] = [];

  constructor(
    private readonly model: SamClip,
    private readonly goldens: Safetensors,
  ) {}

  async graphs({ graph, inputs, outputs }: Index["graphs"][0]): Promise<void> {
    const feed = Object.entries(inputs).map(([name, key]) => [name, this.goldens.tensors[key] as Tensor]);
    const found = await this.model.run(graph, Object.fromEntries(feed));
    for (const [name, expected] of Object.entries(outputs)) {
      this.compare(`${graph} ${name}`, found[name].data, expected);
    }
  }

  async segment(golden: Index["segment"][0]): Promise<void> {
    const prompts = {
      ...(golden.points.length ? { points: golden.points, pointLabels: golden.labels } : {}),
      ...(golden.box ? { boxes: golden.box } : {}),
    };
    const embedding = await this.model.encodeImage(this.rgbImage(golden.image), { padding: true });
    const one = await this.model.segment(embedding, { ...prompts, multimaskOutput: false });
    const three = await this.model.segment(embedding, prompts);
    const all = [...one, ...three];
    const masks = all.flatMap(({ lowResMask }) => [...lowResMask]);
    this.compare("segment low_res_masks", masks, golden.low_res_masks);
    this.compare("segment iou_predictions", all.map(({ score }) => score), golden.iou_predictions);
  }

  async class_embeddings({ labels, expected }: Index["class_embeddings"][0]): Promise<void> {
    const rows = await Promise.all(labels.map((label) => this.model.ownEmbedding(label)));
    this.compare("class_embeddings", rows.flatMap((row) => [...row]), expected);
  }

  async text_to_mask({ image, pack, presence, masks }: Index["text_to_mask"][0]): Promise<void> {
    const labels = await this.model.loadLabels(pack);
    const embedding = await this.model.encodeImage(this.rgbImage(image), { padding: true });
    const found = await this.model.segmentText(embedding, labels);
    found.forEach((each, k) => {
      const error = Math.abs(each.presence - presence[k]);
      const size = each.mask.data.length;
      const expected = bits(this.bytes(masks), k * size, size);
      if (this.model.precision === "fp32") {
        const said = `presence of ${each.label} is ${error.toExponential(1)} off, at most ${PRESENCE_ERROR}`;
        this.add("text_to_mask", error <= PRESENCE_ERROR, said);
        this.iou(`text_to_mask ${each.label}`, each.mask.data, expected, LOWEST_IOU);
      } else {
        // Rounding may choose another cell as a point: no mask is stated for these precisions.
        const same = each.present === expected.includes(1);
        this.add(`text_to_mask ${each.label}`, same, each.present ? "present" : "absent");
      }
    });
  }

  private add(golden: string, passed: boolean, found: string): void {
    this.checks.push({ golden, passed, found });
  }

  private compare(golden: string, data: ArrayLike<number>, { tensor, step, max_error }: Expected): void {
    const found = every(data, step);
    const expected = this.values(tensor);
    if (this.model.precision === "fp32") {
      const zeros = new Float32Array(expected.length);
      const error = largest(found, expected) / largest(expected, zeros);
      this.add(golden, error <= max_error!, `error ${error.toExponential(1)}, at most ${max_error}`);
    } else {
      const cosine = dot(found, expected) / Math.sqrt(dot(found, found) * dot(expected, expected));
      this.add(golden, cosine >= LOWEST_COSINE, `cosine ${cosine.toFixed(5)}, at least ${LOWEST_COSINE}`);
    }
  }

  private iou(golden: string, found: Uint8Array, expected: Uint8Array, lowest: number): void {
    let both = 0;
    let either = 0;
    for (let i = 0; i < expected.length; i++) {
      both += found[i] & expected[i];
      either += found[i] | expected[i];
    }
    const iou = either ? both / either : 1;
    this.add(golden, iou >= lowest, `IoU ${iou.toFixed(5)}, at least ${lowest}`);
  }

  private values(key: string): Values {
    return this.goldens.tensors[key].data;
  }

  private bytes(key: string): Uint8Array {
    return this.values(key) as Uint8Array;
  }

  private rgbImage(key: string) {
    const [height, width] = this.goldens.tensors[key].dims;
    return { data: this.bytes(key), width, height };
  }
}

function every(data: ArrayLike<number>, step: number): Float64Array {
  return Float64Array.from({ length: Math.ceil(data.length / step) }, (_, k) => data[k * step]);
}

/** The largest difference; infinite if the lengths differ. */
function largest(first: ArrayLike<number>, second: ArrayLike<number>): number {
  let most = first.length === second.length ? 0 : Infinity;
  for (let i = 0; i < second.length; i++) most = Math.max(most, Math.abs(first[i] - second[i]));
  return most;
}

function dot(first: ArrayLike<number>, second: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < second.length; i++) sum += first[i] * second[i];
  return sum;
}

/** Bits in numpy.packbits' order, from `start` on. */
function bits(packed: Uint8Array, start: number, count: number): Uint8Array {
  return Uint8Array.from({ length: count }, (_, i) => (packed[(start + i) >> 3] >> (7 - ((start + i) & 7))) & 1);
}
