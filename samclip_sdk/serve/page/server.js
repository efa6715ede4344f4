/** The page of `samclip serve`: a picture is sent once, and every question names it by its id. */

import { Page } from "./page.js";
import { decode } from "./rle.js";

/** @param {string} id */
const input = (id) => /** @type {HTMLInputElement} */ (document.getElementById(id));

/**
 * Asks the server about one picture, and returns the answer.
 *
 * @param {string} verb
 * @param {object} body
 */
async function ask(verb, body) {
  const key = input("key").value.trim();
  /** @type {Record<string, string>} */
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  if (!(body instanceof FormData)) headers["Content-Type"] = "application/json";
  const response = await fetch(`v1/${verb}`, {
    method: "POST",
    headers,
    body: body instanceof FormData ? body : JSON.stringify(body),
  });
  const found = await response.json();
  if (response.status === 401) /** @type {HTMLElement} */ (document.getElementById("asks-for-key")).hidden = false;
  if (!response.ok) throw new Error(found.message);
  return found.answers[0];
}

/** @typedef {{ label: string, score: number, segmentation: { size: [number, number], counts: string } }} Annotation */

/** @type {Page<{ id: string }>} */
const page = new Page({
  labelsAtOnce: Infinity,
  cleanText: (text) => text.trim().toLowerCase(),
  ready: async () => {},
  async encodeImage(picture) {
    const form = new FormData();
    form.append("image", picture);
    const { id } = await ask("images", form);
    return { id };
  },
  async segmentText(image, labels) {
    const { annotations, presence } = await ask("text", { images: [image], labels });
    const masks = new Map(
      annotations.map((/** @type {Annotation} */ each) => [each.label, decode(each.segmentation)]),
    );
    return labels.map((label, k) => ({ presence: presence[k], mask: masks.get(label) }));
  },
  async segment(image, { points, pointLabels, box }, multimask) {
    const { annotations } = await ask("segment", {
      images: [image],
      multimask_output: multimask,
      ...(points.length ? { points: [points], point_labels: [pointLabels] } : {}),
      ...(box ? { boxes: [box] } : {}),
    });
    return annotations.map((/** @type {Annotation} */ { segmentation, score }) => ({ mask: decode(segmentation), score }));
  },
});

input("key").addEventListener("change", () => void page.guard(() => page.encode()));
