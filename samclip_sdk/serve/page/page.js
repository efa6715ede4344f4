/** The page without its model: it asks a backend for labels and prompts, and shows the masks. */

import { Stage } from "./stage.js";

/** @typedef {import("./stage.js").Asked} Asked */
/** @typedef {import("./stage.js").Mask} Mask */
/**
 * What a label was taken for: `words` answer for it, or it is not known, and they are the nearest.
 *
 * @typedef {{ readonly kind: string, readonly words: readonly string[], readonly cosine?: number }} Reading
 */
/**
 * The presence of a label, or the score of an object. No mask: the label is absent.
 *
 * @typedef {{ readonly presence: number, readonly mask: Mask | undefined, readonly readAs?: Reading | undefined }} Answer
 */
/** @typedef {{ readonly mask: Mask, readonly score: number }} PromptMask */
/**
 * The model behind the page.
 *
 * @template Image
 * @typedef {object} Backend
 * @property {number} labelsAtOnce How many labels one question may hold.
 * @property {(text: string) => string} cleanText The form in which the model reads a label.
 * @property {() => Promise<unknown>} ready Resolves once images can be encoded.
 * @property {(blob: Blob) => Promise<Image>} encodeImage
 * @property {(image: Image, labels: string[]) => Promise<Answer[]>} segmentText
 * @property {(image: Image, prompt: Asked, multimask: boolean) => Promise<PromptMask[]>} segment
 */

const COLOURS = ["#ff6b35", "#2f80ed", "#f2c037", "#27ae60", "#b04dd8", "#17b6c9", "#e0518f", "#8d6e4f"];
const PROMPT_COLOUR = "#ffffff";
const TYPING_MS = 400;

/** @param {string} id */
const element = (id) => /** @type {HTMLElement} */ (document.getElementById(id));
/** @param {string} id */
const input = (id) => /** @type {HTMLInputElement} */ (element(id));

/** @template Image */
export class Page {
  /** @type {Blob | undefined} */
  blob;
  /**
   * The image on show, after the backbone; a later one takes its place at once.
   *
   * @type {Promise<Image> | undefined}
   */
  encoded;
  /**
   * The answers for the image on show, by label.
   *
   * @type {Map<string, Answer>}
   */
  answers = new Map();
  /** @type {Set<string>} */
  hidden = new Set();
  /** What the number of an answer is. */
  measure = "presence";
  // An answer is shown only if no later question of its kind was asked.
  labelsTurn = 0;
  promptTurn = 0;

  /** @param {Backend<Image>} backend */
  constructor(backend) {
    this.backend = backend;
    this.stage = new Stage(
      element("stage"),
      /** @type {HTMLImageElement} */ (element("image")),
      /** @type {HTMLCanvasElement} */ (element("overlay")),
      () => Number(/** @type {HTMLInputElement} */ (document.querySelector("[name=kind]:checked")).value),
      (asked) => void this.guard(() => this.askPrompt(asked)),
      say,
    );
    this.listen();
    this.listAnswers(this.typedLabels());
  }

  listen() {
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let typing;
    element("labels").addEventListener("input", () => {
      clearTimeout(typing);
      typing = setTimeout(() => void this.guard(() => this.askLabels()), TYPING_MS);
    });
    input("file").addEventListener("change", () => this.showFile(input("file").files?.[0]));
    element("clear").addEventListener("click", () => this.stage.clear());
    document.addEventListener("paste", ({ clipboardData }) => {
      this.showFile([...(clipboardData?.files ?? [])].find(({ type }) => type.startsWith("image/")));
    });
    document.addEventListener("dragover", (event) => {
      event.preventDefault();
      document.body.classList.add("dropping");
    });
    document.addEventListener("dragleave", (event) => {
      if (!event.relatedTarget) document.body.classList.remove("dropping");
    });
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      document.body.classList.remove("dropping");
      this.showFile(event.dataTransfer?.files[0]);
    });
  }

  /** @param {Blob | null | undefined} file */
  showFile(file) {
    if (file) void this.guard(() => this.show(file, file instanceof File ? file.name : "your image"));
  }

  /**
   * Shows an image, and asks for the labels in it.
   *
   * @param {Blob} blob
   * @param {string} name
   */
  async show(blob, name) {
    const before = this.blob;
    this.blob = blob;
    try {
      await this.stage.show(blob, name);
    } catch {
      this.blob = before;
      throw new Error(`${name} is not an image that this browser can read`);
    }
    element("prompted").textContent = "";
    input("clear").disabled = true;
    await this.encode();
  }

  /** Encodes the image on show, if there is one, and asks for the labels in it. */
  async encode() {
    const { blob } = this;
    if (!blob) return;
    this.answers = new Map();
    this.encoded = this.backend.ready().then(() => {
      say("Looking at the image…");
      return timed("Image", () => this.backend.encodeImage(blob));
    });
    this.encoded.catch(() => {}); // Its error is told by those who wait for it.
    await this.askLabels();
  }

  async askLabels() {
    const turn = ++this.labelsTurn;
    const { labelsAtOnce } = this.backend;
    const labels = this.typedLabels();
    const known = this.answers;
    for (const label of known.keys()) if (!labels.includes(label)) this.stage.setLayer(label, undefined, "");
    this.listAnswers(labels);
    if (!this.encoded) return;
    const image = await this.encoded;
    const asked = labels.filter((label) => !known.has(label));
    for (let start = 0; start < asked.length; start += labelsAtOnce) {
      if (turn !== this.labelsTurn) return;
      const some = asked.slice(start, start + labelsAtOnce);
      const found = await timed("Last labels", () => this.backend.segmentText(image, some));
      some.forEach((label, k) => known.set(label, found[k]));
      if (turn === this.labelsTurn) this.showAnswers(labels);
    }
    if (turn !== this.labelsTurn) return;
    const present = labels.filter((label) => known.get(label)?.mask);
    say(`${present.length} of ${labels.length} labels found${present.length ? `: ${present.join(", ")}` : ""}`);
  }

  /** @param {Asked} asked */
  async askPrompt(asked) {
    const turn = ++this.promptTurn;
    const { points, box } = asked;
    const nothing = !points.length && !box;
    input("clear").disabled = nothing;
    if (nothing || !this.encoded) {
      this.stage.setLayer("", undefined, "");
      element("prompted").textContent = "";
      return;
    }
    const image = await this.encoded;
    // One point may mean a part or the whole: the best of three masks is shown.
    const multimask = points.length === 1 && !box;
    const masks = await timed("Points and box", () => this.backend.segment(image, asked, multimask));
    if (turn !== this.promptTurn) return;
    const { mask, score } = masks.reduce((first, second) => (second.score > first.score ? second : first));
    this.stage.setLayer("", mask, PROMPT_COLOUR);
    const counted = points.length === 1 ? ["1 point"] : points.length ? [`${points.length} points`] : [];
    const given = [...counted, ...(box ? ["a box"] : [])].join(" and ");
    element("prompted").textContent = `Mask of ${given}: ${share(mask)} of the image, score ${score.toFixed(2)}`;
  }

  typedLabels() {
    return [...new Set(input("labels").value.split(",").map(this.backend.cleanText).filter(Boolean))];
  }

  /** @param {readonly string[]} labels */
  listAnswers(labels) {
    element("answers").replaceChildren(
      ...labels.map((label, place) => {
        const row = document.createElement("li");
        row.style.setProperty("--colour", COLOURS[place % COLOURS.length]);
        row.innerHTML =
          '<label><input type="checkbox"> </label><span class="bar" aria-hidden="true"></span>' +
          '<span class="said">…</span><button type="button" disabled>PNG</button><span class="reading"></span>';
        row.querySelector("label")?.append(label);
        const png = /** @type {HTMLButtonElement} */ (row.querySelector("button"));
        png.ariaLabel = `PNG of the mask of ${label}`;
        png.onclick = () => void this.guard(() => this.savePng(label));
        const box = /** @type {HTMLInputElement} */ (row.querySelector("input"));
        box.checked = !this.hidden.has(label);
        box.onchange = () => {
          if (box.checked) this.hidden.delete(label);
          else this.hidden.add(label);
          this.showAnswers(labels);
        };
        return row;
      }),
    );
    this.showAnswers(labels);
  }

  /** @param {readonly string[]} labels */
  showAnswers(labels) {
    const rows = /** @type {HTMLCollectionOf<HTMLLIElement>} */ (element("answers").children);
    labels.forEach((label, place) => {
      const answer = this.answers.get(label);
      if (!answer) return;
      const { presence, mask, readAs } = answer;
      /** @type {HTMLElement} */ (rows[place].querySelector(".reading")).textContent = readAs ? told(readAs) : "";
      const said = /** @type {HTMLElement} */ (rows[place].querySelector(".said"));
      said.textContent = mask ? `${presence.toFixed(2)} · ${share(mask)}` : "absent";
      said.ariaLabel = mask ? `${this.measure} ${presence.toFixed(2)}, ${share(mask)} of the image` : null;
      /** @type {HTMLButtonElement} */ (rows[place].querySelector("button")).disabled = !mask;
      rows[place].classList.toggle("absent", !mask);
      rows[place].style.setProperty("--presence", `${100 * presence}%`);
      this.stage.setLayer(label, this.hidden.has(label) ? undefined : mask, COLOURS[place % COLOURS.length]);
    });
  }

  /**
   * Downloads a mask in the image's size: white on black.
   *
   * @param {string} label
   */
  async savePng(label) {
    const mask = this.answers.get(label)?.mask;
    if (!mask) return;
    const canvas = new OffscreenCanvas(mask.width, mask.height);
    const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d"));
    const pixels = context.createImageData(mask.width, mask.height);
    const levels = Uint32Array.from(mask.data, (inside) => (inside ? 0xffffffff : 0xff000000));
    new Uint32Array(pixels.data.buffer).set(levels);
    context.putImageData(pixels, 0, 0);
    save(await canvas.convertToBlob({ type: "image/png" }), `${label.replace(/[^\p{L}\p{N}]+/gu, "-")}.png`);
  }

  /**
   * Does something that may fail, and tells why it did.
   *
   * @param {() => Promise<void>} work
   */
  async guard(work) {
    element("problem").textContent = "";
    try {
      await work();
    } catch (error) {
      element("problem").textContent = /** @type {Error} */ (error).message;
      say("");
    }
  }
}

/** @param {string} text */
export function say(text) {
  element("status").textContent = text;
}

/**
 * @param {string} name
 * @param {string} text
 */
export function setTiming(name, text) {
  const list = element("timings");
  let term = [...list.querySelectorAll("dt")].find((each) => each.textContent === name);
  if (!term) {
    term = document.createElement("dt");
    term.textContent = name;
    list.append(term, document.createElement("dd"));
  }
  /** @type {Element} */ (term.nextElementSibling).textContent = text;
}

/**
 * Downloads a file that the page made.
 *
 * @param {Blob} content
 * @param {string} name
 */
export function save(content, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/**
 * @template Value
 * @param {string} name
 * @param {() => Promise<Value>} work
 */
export async function timed(name, work) {
  const before = performance.now();
  const value = await work();
  setTiming(name, `${Math.round(performance.now() - before)} ms`);
  return value;
}

/** @param {Reading} reading */
function told({ kind, words, cosine }) {
  if (kind === "read_as") return `read as ${words.join(", ")}`;
  return `not known; the nearest word is ${words.join(", ")} (${cosine?.toFixed(2)})`;
}

/** @param {Mask} mask */
function share({ area, width, height }) {
  return `${Math.round((100 * area) / (width * height))} %`;
}
