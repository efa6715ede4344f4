import { cleanText, type ImageEmbedding, type Mask, type Progress, type TextMask } from "samclip";
import example from "../../../images/cup.jpg?url";
import { takePicture } from "./camera";
import { start, startOnWebGpu, type RunningModel } from "./model";
import { Stage, type Asked } from "./stage";

const COLOURS = ["#ff6b35", "#2f80ed", "#f2c037", "#27ae60", "#b04dd8", "#17b6c9", "#e0518f", "#8d6e4f"];
const PROMPT_COLOUR = "#ffffff";
const EXAMPLE_LABELS = "cup, spoon, bicycle";
const TYPING_MS = 400;

const element = <Found extends HTMLElement>(id: string) => document.getElementById(id) as Found;
const labelsInput = element<HTMLInputElement>("labels");
const webgpu = element<HTMLInputElement>("webgpu");
const clear = element<HTMLButtonElement>("clear");
const progress = element<HTMLProgressElement>("progress");

let running: Promise<RunningModel> = start(showProgress);
/** The picture on show, after the backbone; a later one takes its place at once. */
let encoded: Promise<ImageEmbedding>;
let blob: Blob;
/** Answers for the picture on show, by label. */
let answers = new Map<string, TextMask>();
const hidden = new Set<string>();
/** Of the questions asked so far: what an earlier one hears is not shown. */
let labelsTurn = 0;
let promptTurn = 0;

const stage = new Stage(
  element("stage"),
  element<HTMLImageElement>("picture"),
  element<HTMLCanvasElement>("overlay"),
  () => Number(document.querySelector<HTMLInputElement>("[name=kind]:checked")!.value),
  (asked) => void guard(() => askPrompt(asked)),
  say,
);

async function show(picture: Blob, name: string): Promise<void> {
  const before = blob;
  blob = picture;
  try {
    await stage.show(picture, name);
  } catch {
    blob = before;
    throw new Error(`${name} is not a picture that this browser can read`);
  }
  element("prompted").textContent = "";
  clear.disabled = true;
  await encode();
}

async function encode(): Promise<void> {
  answers = new Map();
  encoded = running.then(async ({ model }) => {
    say("Looking at the picture…");
    return timed("Picture", () => model.encodeImage(blob));
  });
  encoded.catch(() => {}); // Told by those who wait for it.
  await askLabels();
}

/** Asks for one label after the other, so that each mask is there as soon as it can be. */
async function askLabels(): Promise<void> {
  const turn = ++labelsTurn;
  const labels = typedLabels();
  const known = answers;
  for (const label of known.keys()) if (!labels.includes(label)) stage.setLayer(label, undefined, "");
  listAnswers(labels);
  const image = await encoded;
  const { model } = await running;
  for (const label of labels) {
    if (turn !== labelsTurn) return;
    if (!known.has(label)) {
      const [answer] = await timed("Last label", () => model.segmentText(image, label));
      known.set(label, answer);
    }
    if (turn === labelsTurn) showAnswers(labels);
  }
  if (turn !== labelsTurn) return;
  const found = labels.filter((label) => known.get(label)!.present);
  say(`${found.length} of ${labels.length} labels found${found.length ? `: ${found.join(", ")}` : ""}`);
}

async function askPrompt({ points, pointLabels, box }: Asked): Promise<void> {
  const turn = ++promptTurn;
  const nothing = !points.length && !box;
  clear.disabled = nothing;
  if (nothing) {
    stage.setLayer("", undefined, "");
    element("prompted").textContent = "";
    return;
  }
  const image = await encoded;
  const { model } = await running;
  // One point may mean a part or the whole: the best of three answers is shown.
  const masks = await timed("Points and box", () =>
    model.segment(image, {
      ...(points.length ? { points, pointLabels } : {}),
      ...(box ? { boxes: box } : {}),
      multimaskOutput: points.length === 1 && !box,
    }),
  );
  if (turn !== promptTurn) return;
  const best = masks.reduce((first, second) => (second.score > first.score ? second : first));
  stage.setLayer("", best.mask, PROMPT_COLOUR);
  const text = `Mask of ${points.length} ${points.length === 1 ? "point" : "points"}${box ? " and a box" : ""}: ` +
    `${share(best.mask)} of the picture, score ${best.score.toFixed(2)}`;
  element("prompted").textContent = text;
  say(text);
}

function typedLabels(): string[] {
  return [...new Set(labelsInput.value.split(",").map(cleanText).filter(Boolean))];
}

function listAnswers(labels: readonly string[]): void {
  element("answers").replaceChildren(
    ...labels.map((label, place) => {
      const row = document.createElement("li");
      row.style.setProperty("--colour", COLOURS[place % COLOURS.length]);
      row.innerHTML = '<label><input type="checkbox"> </label><span class="bar" aria-hidden="true"></span><span class="said">…</span>';
      row.querySelector("label")!.append(label);
      const box = row.querySelector("input")!;
      box.checked = !hidden.has(label);
      box.onchange = () => {
        if (box.checked) hidden.delete(label);
        else hidden.add(label);
        showAnswers(labels);
      };
      return row;
    }),
  );
  showAnswers(labels);
}

function showAnswers(labels: readonly string[]): void {
  const rows = element("answers").children as HTMLCollectionOf<HTMLLIElement>;
  labels.forEach((label, place) => {
    const answer = answers.get(label);
    if (!answer) return;
    const { present, presence, mask } = answer;
    const said = rows[place].querySelector(".said")!;
    said.textContent = present ? `${presence.toFixed(2)} · ${share(mask)}` : "absent";
    said.ariaLabel = present ? `presence ${presence.toFixed(2)}, ${share(mask)} of the picture` : null;
    rows[place].classList.toggle("absent", !present);
    rows[place].style.setProperty("--presence", `${100 * presence}%`);
    const visible = present && !hidden.has(label);
    stage.setLayer(label, visible ? mask : undefined, COLOURS[place % COLOURS.length]);
  });
}

async function switchRuntime(): Promise<void> {
  const note = element("webgpu-note");
  webgpu.disabled = true;
  try {
    const old = await running;
    note.textContent = webgpu.checked ? "Checking the model's stored answers on WebGPU…" : "";
    running = Promise.resolve(webgpu.checked ? await startOnWebGpu(showProgress) : await start(showProgress));
    note.textContent = webgpu.checked ? "The stored answers come out on WebGPU." : "";
    old.stop();
    setTiming("Runs on", (await running).runsOn);
    await encode();
  } catch (error) {
    webgpu.checked = false;
    note.textContent = `WebGPU stays off: ${(error as Error).message}`;
  } finally {
    webgpu.disabled = false;
  }
}

function showProgress({ bytesDone, bytesTotal }: Progress): void {
  progress.hidden = bytesDone >= bytesTotal;
  progress.value = bytesDone / bytesTotal;
  const mb = (bytes: number) => (bytes / 1e6).toFixed(1);
  if (progress.hidden) say("Opening the model…");
  else say(`Fetching the model: ${mb(bytesDone)} of ${mb(bytesTotal)} MB`);
}

async function timed<Value>(name: string, work: () => Promise<Value>): Promise<Value> {
  const before = performance.now();
  const value = await work();
  setTiming(name, `${Math.round(performance.now() - before)} ms`);
  return value;
}

function setTiming(name: string, text: string): void {
  const list = element("timings");
  let term = [...list.querySelectorAll("dt")].find((each) => each.textContent === name);
  if (!term) {
    term = document.createElement("dt");
    term.textContent = name;
    list.append(term, document.createElement("dd"));
  }
  term.nextElementSibling!.textContent = text;
}

function share({ area, width, height }: Mask): string {
  return `${Math.round((100 * area) / (width * height))} %`;
}

function say(text: string): void {
  element("status").textContent = text;
}

/** Does something that may fail, and says why it did. */
async function guard(work: () => Promise<void>): Promise<void> {
  const problem = element("problem");
  problem.textContent = "";
  try {
    await work();
  } catch (error) {
    problem.textContent = (error as Error).message;
    say("");
  }
}

function showFile(file: Blob | null | undefined): void {
  if (file) void guard(() => show(file, file instanceof File ? file.name : "your picture"));
}

let typing: ReturnType<typeof setTimeout>;
labelsInput.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => void guard(askLabels), TYPING_MS);
});
element<HTMLInputElement>("file").addEventListener("change", ({ target }) => {
  showFile((target as HTMLInputElement).files?.[0]);
});
element("camera").addEventListener("click", () =>
  guard(async () => showFile(await takePicture(element<HTMLDialogElement>("viewfinder")))),
);
clear.addEventListener("click", () => stage.clear());
webgpu.addEventListener("change", () => void switchRuntime());
document.addEventListener("paste", ({ clipboardData }) => {
  showFile([...(clipboardData?.files ?? [])].find(({ type }) => type.startsWith("image/")));
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
  showFile(event.dataTransfer?.files[0]);
});

labelsInput.value = EXAMPLE_LABELS;
const opened = performance.now();
void running.then(({ runsOn }) => {
  setTiming("Runs on", runsOn);
  setTiming("Model opened in", `${((performance.now() - opened) / 1000).toFixed(1)} s`);
}, () => {});
void guard(async () => show(await (await fetch(example)).blob(), "A cup on a saucer, with a spoon"));
if (import.meta.env.PROD) void navigator.serviceWorker?.register("./sw.js");
