import { cleanText, type ImageEmbedding, type Progress } from "samclip";
import example from "../../../../samclip_sdk/serve/page/sample.jpg?url";
import { Page, say, setTiming } from "../../../../samclip_sdk/serve/page/page.js";
import "../../../../samclip_sdk/serve/page/style.css";
import { takePicture } from "./camera";
import { start, startOnWebGpu, type RunningModel } from "./model";

const element = <Found extends HTMLElement>(id: string) => document.getElementById(id) as Found;
const webgpu = element<HTMLInputElement>("webgpu");
const progress = element<HTMLProgressElement>("progress");

let running: Promise<RunningModel> = start(showProgress);

const page = new Page<ImageEmbedding>({
  labelsAtOnce: 1, // Each mask is there as soon as it can be.
  cleanText,
  ready: () => running,
  encodeImage: async (blob) => (await running).model.encodeImage(blob),
  segmentText: async (image, labels) => {
    const found = await (await running).model.segmentText(image, labels);
    return found.map(({ presence, present, mask, readAs }) => ({ presence, mask: present ? mask : undefined, readAs }));
  },
  segment: async (image, { points, pointLabels, box }, multimaskOutput) =>
    (await running).model.segment(image, {
      ...(points.length ? { points, pointLabels } : {}),
      ...(box ? { boxes: box } : {}),
      multimaskOutput,
    }),
});

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
    await page.encode();
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

element("camera").addEventListener("click", () =>
  page.guard(async () => page.showFile(await takePicture(element<HTMLDialogElement>("viewfinder")))),
);
webgpu.addEventListener("change", () => void switchRuntime());

const opened = performance.now();
void running.then(({ runsOn }) => {
  setTiming("Runs on", runsOn);
  setTiming("Model opened in", `${((performance.now() - opened) / 1000).toFixed(1)} s`);
}, () => {});
void page.guard(async () => page.show(await (await fetch(example)).blob(), "A cup on a saucer, with a spoon"));
if (import.meta.env.PROD) void navigator.serviceWorker?.register("./sw.js");
