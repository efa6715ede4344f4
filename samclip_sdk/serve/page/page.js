/** The page that asks the server: a picture is sent once, all questions name it by its id. */

import { decode } from "./rle.js";
import { Stage } from "./stage.js";

const COLOURS = ["#ff6b35", "#2f80ed", "#f2c037", "#27ae60", "#b04dd8", "#17b6c9", "#e0518f", "#8d6e4f"];
const PROMPT_COLOUR = "#ffffff";
const TYPING_MS = 400;

const element = (id) => document.getElementById(id);
const labelsInput = element("labels");

/** The picture on show: its file, and its id once the server has it. */
let blob;
let stored;
/** Answers for the picture on show, by label. */
let answers = new Map();
const hidden = new Set();
/** Of the questions asked so far: what an earlier one hears is not shown. */
let labelsTurn = 0;
let promptTurn = 0;

const stage = new Stage(
  element("stage"),
  element("picture"),
  element("overlay"),
  () => Number(document.querySelector("[name=kind]:checked").value),
  (asked) => void guard(() => askPrompt(asked)),
  say,
);

/** Asks the server, and returns the one answer. */
async function ask(verb, body) {
  const key = element("key").value.trim();
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  if (!(body instanceof FormData)) headers["Content-Type"] = "application/json";
  const response = await fetch(`v1/${verb}`, {
    method: "POST",
    headers,
    body: body instanceof FormData ? body : JSON.stringify(body),
  });
  const found = await response.json();
  if (response.status === 401) element("asks-for-key").hidden = false;
  if (!response.ok) throw new Error(found.message);
  return found.answers[0];
}

async function show(picture, name) {
  const before = blob;
  blob = picture;
  try {
    await stage.show(picture, name);
  } catch {
    blob = before;
    throw new Error(`${name} is not a picture that this browser can read`);
  }
  element("prompted").textContent = "";
  element("clear").disabled = true;
  await store();
}

async function store() {
  answers = new Map();
  const form = new FormData();
  form.append("image", blob);
  say("The server looks at the picture…");
  stored = timed("Picture", () => ask("images", form));
  stored.catch(() => {}); // Told by those who wait for it.
  await askLabels();
}

async function images() {
  return [{ id: (await stored).id }];
}

async function askLabels() {
  const turn = ++labelsTurn;
  const labels = typedLabels();
  const known = answers;
  for (const label of known.keys()) if (!labels.includes(label)) stage.setLayer(label, undefined, "");
  listAnswers(labels);
  if (!stored) return;
  const named = await images();
  const asked = labels.filter((label) => !known.has(label));
  if (asked.length) {
    const found = await timed("Labels", () => ask("text", { images: named, labels: asked }));
    const masks = new Map(found.annotations.map((each) => [each.label, decode(each.segmentation)]));
    asked.forEach((label, k) => known.set(label, { presence: found.presence[k], mask: masks.get(label) }));
  }
  if (turn !== labelsTurn) return;
  showAnswers(labels);
  const present = labels.filter((label) => known.get(label).mask);
  say(`${present.length} of ${labels.length} labels found${present.length ? `: ${present.join(", ")}` : ""}`);
}

async function askPrompt({ points, pointLabels, box }) {
  const turn = ++promptTurn;
  const nothing = !points.length && !box;
  element("clear").disabled = nothing;
  if (nothing || !stored) {
    stage.setLayer("", undefined, "");
    element("prompted").textContent = "";
    return;
  }
  // One point may mean a part or the whole: the best of three answers is shown.
  const asked = { images: await images(), multimask_output: points.length === 1 && !box };
  if (points.length) Object.assign(asked, { points: [points], point_labels: [pointLabels] });
  if (box) asked.boxes = [box];
  const { annotations } = await timed("Points and box", () => ask("segment", asked));
  if (turn !== promptTurn) return;
  const best = annotations.reduce((first, second) => (second.score > first.score ? second : first));
  const mask = decode(best.segmentation);
  stage.setLayer("", mask, PROMPT_COLOUR);
  const counted = `${points.length} ${points.length === 1 ? "point" : "points"}${box ? " and a box" : ""}`;
  const text = `Mask of ${counted}: ${share(mask)} of the picture, score ${best.score.toFixed(2)}`;
  element("prompted").textContent = text;
  say(text);
}

function typedLabels() {
  const labels = labelsInput.value.split(",").map((label) => label.trim().toLowerCase());
  return [...new Set(labels.filter(Boolean))];
}

function listAnswers(labels) {
  element("answers").replaceChildren(
    ...labels.map((label, place) => {
      const row = document.createElement("li");
      row.style.setProperty("--colour", COLOURS[place % COLOURS.length]);
      row.innerHTML = '<label><input type="checkbox"> </label><span class="bar" aria-hidden="true"></span><span class="said">…</span>';
      row.querySelector("label").append(label);
      const box = row.querySelector("input");
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

function showAnswers(labels) {
  const rows = element("answers").children;
  labels.forEach((label, place) => {
    const answer = answers.get(label);
    if (!answer) return;
    const { presence, mask } = answer;
    const said = rows[place].querySelector(".said");
    said.textContent = mask ? `${presence.toFixed(2)} · ${share(mask)}` : "absent";
    rows[place].classList.toggle("absent", !mask);
    rows[place].style.setProperty("--presence", `${100 * presence}%`);
    stage.setLayer(label, hidden.has(label) ? undefined : mask, COLOURS[place % COLOURS.length]);
  });
}

async function timed(name, work) {
  const before = performance.now();
  const value = await work();
  let term = [...element("timings").querySelectorAll("dt")].find((each) => each.textContent === name);
  if (!term) {
    term = document.createElement("dt");
    term.textContent = name;
    element("timings").append(term, document.createElement("dd"));
  }
  term.nextElementSibling.textContent = `${Math.round(performance.now() - before)} ms`;
  return value;
}

function share({ area, width, height }) {
  return `${Math.round((100 * area) / (width * height))} %`;
}

function say(text) {
  element("status").textContent = text;
}

/** Does something that may fail, and says why it did. */
async function guard(work) {
  element("problem").textContent = "";
  try {
    await work();
  } catch (error) {
    element("problem").textContent = error.message;
    say("");
  }
}

function showFile(file) {
  if (file) void guard(() => show(file, file.name || "your picture"));
}

let typing;
labelsInput.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => void guard(askLabels), TYPING_MS);
});
element("file").addEventListener("change", ({ target }) => showFile(target.files[0]));
element("key").addEventListener("change", () => blob && void guard(store));
element("clear").addEventListener("click", () => stage.clear());
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
listAnswers(typedLabels());
