/** The page of `samclip serve`: an image is sent once, and every question names it by its id. */

import { Page, save, say, timed } from "./page.js";
import { decode } from "./rle.js";

/** @typedef {import("./page.js").Answer} Answer */
/** @typedef {{ id: string }} Stored */

/** The most objects that are drawn, the best ones. */
const DRAWN = 50;

/** @param {string} id */
const input = (id) => /** @type {HTMLInputElement} */ (document.getElementById(id));

/**
 * Asks the server about one image, and returns the answer.
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

/**
 * The page with what a server finds besides labels: objects, and everything.
 *
 * @extends {Page<Stored>}
 */
class ServerPage extends Page {
  /** What was last asked. */
  asked = "text";

  listen() {
    super.listen();
    const again = () => void this.guard(() => this.askLabels());
    for (const choice of document.getElementsByName("asked")) choice.addEventListener("change", again);
    input("sample").addEventListener("click", () => void this.guard(() => this.showSample()));
    input("coco").addEventListener("click", () => void this.guard(() => this.saveCoco()));
  }

  async askLabels() {
    const asked = /** @type {HTMLInputElement} */ (document.querySelector("[name=asked]:checked")).value;
    input("coco").disabled = !this.encoded;
    if (asked !== this.asked || asked !== "text") this.forget();
    this.asked = asked;
    this.measure = asked === "text" ? "presence" : "score";
    await (asked === "text" ? super.askLabels() : this.askObjects());
  }

  async askObjects() {
    const turn = ++this.labelsTurn;
    this.listAnswers([]);
    if (!this.encoded) return;
    const image = await this.encoded;
    say("Looking for objects…");
    const { annotations, read_as: readAs } = await timed("Objects", () => ask(...this.question(image)));
    if (turn !== this.labelsTurn) return;
    /** @type {Map<string, number>} */
    const counts = new Map();
    const best = annotations.sort((/** @type {Annotation} */ a, /** @type {Annotation} */ b) => b.score - a.score);
    for (const { label, score, segmentation } of best.slice(0, DRAWN)) {
      const name = label || "thing";
      counts.set(name, (counts.get(name) ?? 0) + 1);
      const answer = { presence: score, mask: decode(segmentation), readAs: readAs[label] };
      this.answers.set(`${name} ${counts.get(name)}`, answer);
    }
    for (const [label, reading] of Object.entries(readAs)) {
      if (!counts.has(label)) this.answers.set(label, { presence: 0, mask: undefined, readAs: reading });
    }
    this.listAnswers([...this.answers.keys()]);
    const rest = best.length > DRAWN ? `, the best ${DRAWN} are drawn` : "";
    say(`${best.length} ${best.length === 1 ? "object" : "objects"} found${rest}`);
  }

  /**
   * The verb and the request of what is asked now.
   *
   * @param {Stored} image
   * @returns {[verb: string, body: object]}
   */
  question(image) {
    if (this.asked === "everything") return ["everything", { images: [image] }];
    return [this.asked, { images: [image], labels: this.typedLabels() }];
  }

  async showSample() {
    const response = await fetch("sample.jpg");
    await this.show(await response.blob(), "A cup on a saucer, with a spoon");
  }

  async saveCoco() {
    if (!this.encoded) return;
    const found = await ask(...this.question(await this.encoded));
    save(new Blob([JSON.stringify(found)], { type: "application/json" }), "masks.json");
  }

  /** Removes all masks but that of points and a box. */
  forget() {
    for (const name of this.stage.layers.keys()) if (name) this.stage.setLayer(name, undefined, "");
    this.answers = new Map();
  }
}

const page = new ServerPage({
  labelsAtOnce: Infinity,
  cleanText: (text) => text.trim().toLowerCase(),
  ready: async () => {},
  async encodeImage(blob) {
    const form = new FormData();
    form.append("image", blob);
    const { id } = await ask("images", form);
    return { id };
  },
  async segmentText(image, labels) {
    const { annotations, presence, read_as: readAs } = await ask("text", { images: [image], labels });
    const masks = new Map(
      annotations.map((/** @type {Annotation} */ each) => [each.label, decode(each.segmentation)]),
    );
    return labels.map((label, k) => ({ presence: presence[k], mask: masks.get(label), readAs: readAs[label] }));
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
