import assert from "node:assert/strict";
import { test } from "node:test";
import * as ort from "onnxruntime-web";
import { PromptError } from "samclip";
import { loadInWorker, serve } from "samclip/worker";
import { files, PACK, rgbImage } from "./bundle.js";

/** A worker in this thread; messages are copied and come later, as from another. */
function fakeWorker() {
  const worker = {};
  const later = (receiver) => (message) => {
    const data = structuredClone(message);
    setTimeout(() => receiver().onmessage({ data }));
  };
  worker.postMessage = later(() => globalThis);
  globalThis.postMessage = later(() => worker);
  serve(() => ort);
  return worker;
}

test("a worker answers in order, tells progress, and its errors keep their class", async () => {
  const seen = [];
  const model = await loadInWorker(fakeWorker(), files, {
    precision: "fp32",
    onProgress: ({ bytesDone }) => seen.push(bytesDone),
  });
  assert.match(model.id, /^[0-9a-f]{16}$/);
  const order = [];
  const note = (name) => (value) => (order.push(name), value);
  const embedding = await model.encodeImage(rgbImage());
  const [label] = await model.loadLabels(PACK);
  assert.deepEqual(await model.readLabels(label), new Map([[label, { kind: "taught", words: [label] }]]));
  const calls = [
    model.segmentText(embedding, label).then(note("text")),
    model.segment(embedding, { points: [[500, 3]] }).catch(note("error")),
    model.segment(embedding, { points: [[40, 30]] }).then(note("points")),
    model.segmentInstances(embedding, "sky", { threshold: 0, minScore: 0 }).then(note("objects")),
    model.classify(embedding, [label]).then(note("class")),
  ];
  const [texts, error, masks, objects, classes] = await Promise.all(calls);
  assert.deepEqual(order, ["text", "error", "points", "objects", "class"]);
  assert.ok(error instanceof PromptError);
  assert.match(error.message, /outside the image/);
  assert.equal(texts[0].label, label);
  assert.equal(masks.length, 3);
  assert.ok(objects.length && objects.every((each) => each.label === "sky" && each.mask.area > 0));
  assert.equal(classes[0].prob, 1);
  assert.ok(seen.at(-1) > 1e6);
});

test("what cannot be posted is refused", async () => {
  const model = await loadInWorker(fakeWorker(), files);
  await assert.rejects(model.encodeImage(() => {}), { name: "SamClipError" });
});

test("a bundle that cannot be loaded is told", () =>
  assert.rejects(loadInWorker(fakeWorker(), { "manifest.json": new Blob(["{}"]) }), { name: "BundleSchemaError" }));

test("a script that fails ends what waits for it", async () => {
  const worker = { postMessage: () => setTimeout(() => worker.onerror({ message: "no such file" })) };
  await assert.rejects(loadInWorker(worker, files), { name: "GraphError", message: /no such file/ });
});
