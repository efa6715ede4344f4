/** Labels that compete: no pixel has two of them; the likelier label keeps it. */

import { emptyMask, maskOf, type Mask } from "./masks.js";

/** From this share on, a mask that likelier ones cover is dropped. */
const CONTAINED_SHARE = 0.8;
/** Above this IoU, two masks are one object. */
const SAME_IOU = 0.5;

interface Found {
  readonly presence: number;
  readonly present: boolean;
  readonly score: number;
  readonly mask: Mask;
}

/**
 * Lets the masks of one picture compete, the likeliest first; among equals, the first one is likelier.
 *
 * A label is absent if a likelier one has the same mask, or if likelier ones cover nearly all of its
 * mask. Any other label loses the pixels of likelier ones.
 */
export function exclusive<Each extends Found>(found: readonly Each[]): Each[] {
  const settled = [...found];
  const order = [...found.keys()].filter((k) => found[k].present);
  order.sort((first, second) => found[second].presence - found[first].presence);
  const kept: Mask[] = [];
  const owned = new Uint8Array(found[0]?.mask.data.length ?? 0);
  for (const k of order) {
    const { mask } = found[k];
    const own = mask.data.map((inside, i) => inside & ~owned[i]);
    const left = maskOf(own, mask.width, mask.height);
    const covered = mask.area - left.area >= CONTAINED_SHARE * Math.max(mask.area, 1);
    if (covered || kept.some((other) => isSame(mask, other))) {
      settled[k] = { ...found[k], present: false, score: 0, mask: emptyMask(mask) };
      continue;
    }
    kept.push(mask);
    own.forEach((inside, i) => (owned[i] |= inside));
    settled[k] = { ...found[k], mask: left };
  }
  return settled;
}

function isSame(first: Mask, second: Mask): boolean {
  const [left, top] = [0, 1].map((side) => Math.max(first.box[side], second.box[side]));
  const [right, bottom] = [2, 3].map((side) => Math.min(first.box[side], second.box[side]));
  let shared = 0;
  for (let y = top; y < bottom; y++) {
    for (let i = y * first.width + left; i < y * first.width + right; i++) shared += first.data[i] & second.data[i];
  }
  return shared > SAME_IOU * (first.area + second.area - shared);
}
