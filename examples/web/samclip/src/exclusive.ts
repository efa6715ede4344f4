/** Labels that compete: no pixel has two of them; the likelier label keeps it. */

import { emptyMask, maskOf, type Mask } from "./masks.js";

/** From this share on, a mask that likelier ones cover is dropped. */
export const CONTAINED_SHARE = 0.8;
/** Above this IoU, two masks are one object. */
const SAME_IOU = 0.5;

interface Found {
  readonly presence: number;
  readonly present: boolean;
  readonly score: number;
  readonly mask: Mask;
}

interface LabelledObject {
  readonly label: string;
  readonly score: number;
  readonly mask: Mask;
}

interface Claim {
  /** Masks of one label do not compete. */
  readonly label: unknown;
  readonly likelihood: number;
  readonly mask: Mask;
}

/** Masks of labels that share no pixel; a label that loses its mask is absent. */
export function exclusive<Each extends Found>(found: readonly Each[]): Each[] {
  const settled = [...found];
  const present = [...found.keys()].filter((k) => found[k].present);
  const left = settle(present.map((k) => ({ label: k, likelihood: found[k].presence, mask: found[k].mask })));
  present.forEach((k, n) => {
    const mask = left[n];
    settled[k] = mask
      ? { ...found[k], mask }
      : { ...found[k], present: false, score: 0, mask: emptyMask(found[k].mask) };
  });
  return settled;
}

/** Objects of which those of different labels share no pixel. */
export function exclusiveObjects<Each extends LabelledObject>(found: readonly Each[]): Each[] {
  const left = settle(found.map(({ label, score, mask }) => ({ label, likelihood: score, mask })));
  return found.flatMap((each, k) => {
    const mask = left[k];
    return mask ? [{ ...each, mask }] : [];
  });
}

/**
 * Lets the masks of one image compete, the likeliest first; among equals, the first one is likelier.
 *
 * A mask is dropped if a likelier one of another label is the same, or if likelier ones of other
 * labels cover nearly all of it. Any other mask loses the pixels of likelier ones.
 *
 * @returns what is left of each mask; undefined of one that is dropped.
 */
function settle(claims: readonly Claim[]): (Mask | undefined)[] {
  const order = [...claims.keys()];
  order.sort((first, second) => claims[second].likelihood - claims[first].likelihood);
  const numbers = new Map(claims.map(({ label }, k) => [label, k + 1]));
  const owners = new Int32Array(claims[0]?.mask.data.length ?? 0);
  const kept: Claim[] = [];
  const left: (Mask | undefined)[] = claims.map(() => undefined);
  for (const k of order) {
    const { label, mask } = claims[k];
    const number = numbers.get(label)!;
    const own = mask.data.map((inside, i) => inside & Number(owners[i] === 0 || owners[i] === number));
    const rest = maskOf(own, mask.width, mask.height);
    const covered = mask.area - rest.area >= CONTAINED_SHARE * Math.max(mask.area, 1);
    if (covered || kept.some((other) => other.label !== label && isSame(mask, other.mask))) continue;
    kept.push(claims[k]);
    own.forEach((inside, i) => inside && (owners[i] = number));
    left[k] = rest;
  }
  return left;
}

/** Whether two masks are one object. */
export function isSame(first: Mask, second: Mask): boolean {
  const [left, top] = [0, 1].map((side) => Math.max(first.box[side], second.box[side]));
  const [right, bottom] = [2, 3].map((side) => Math.min(first.box[side], second.box[side]));
  let shared = 0;
  for (let y = top; y < bottom; y++) {
    for (let i = y * first.width + left; i < y * first.width + right; i++) shared += first.data[i] & second.data[i];
  }
  return shared > SAME_IOU * (first.area + second.area - shared);
}
