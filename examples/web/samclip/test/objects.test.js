/** What object_cases.json asks, which the Python package answered; and the same on a model. */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { exclusiveObjects } from "../dist/exclusive.js";
import { maskOf, toMask } from "../dist/masks.js";
import { chosenMask, distinctObjects, findCandidates } from "../dist/objects.js";
import { folder, load, rgbImage, withManifest } from "./bundle.js";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

const { resolution, side, grid, lowest, text_embedding, calibration, cases } = JSON.parse(
  readFileSync(here("../../../object_cases.json"), "utf-8"),
);

function logitsOf(blobs) {
  const height = (x, y) => ([left, top, across, down, peak]) =>
    peak * (1 - ((x - left) / across) ** 2 - ((y - top) / down) ** 2);
  return Float32Array.from({ length: side * side }, (_, i) =>
    Math.max(lowest, ...blobs.map(height(i % side, Math.floor(i / side)))));
}

/** The embeddings of patches: they turn by 1/8 radian from one column to the next. */
const patches = Float32Array.from({ length: grid * grid * 2 }, (_, i) => {
  const angle = (Math.floor(i / 2) % grid) / 8;
  return i % 2 ? Math.sin(angle) : Math.cos(angle);
});

const close = (found, expected, most) =>
  expected.forEach((value, k) => assert.ok(Math.abs(found[k] - value) <= most, `${found[k]} is not ${value}`));

for (const { name, size, extent, mask_threshold, label, candidates, decoded, objects } of cases) {
  test(`objects: ${name}`, () => {
    const [height, width] = size;
    const frame = { height, width, resolution, extent };
    const found = findCandidates(logitsOf(label), side, frame, mask_threshold);
    assert.equal(found.length, candidates.length);
    found.forEach(({ tokens: [point, first, second] }, k) => {
      assert.deepEqual([point[2], first[2], second[2]], [1, 2, 3]);
      close(point, candidates[k].point, 1e-3);
      assert.deepEqual([...first.slice(0, 2), ...second.slice(0, 2)], candidates[k].box);
    });
    const masks = decoded.map((four) =>
      four.map(({ blobs, predicted_iou }) => ({ logits: logitsOf(blobs), predictedIou: predicted_iou })));
    const drawn = found.length < 2 ? [masks[0][0]] : masks.map((four, k) => chosenMask(four, found[k], side, frame));
    const text = Float32Array.from(text_embedding);
    const texts = [text.map((each) => -each), text]; // The word that fits best counts.
    const judge = { frame, maskThreshold: mask_threshold, patches, texts, calibration };
    const answered = distinctObjects(drawn, side, judge);
    assert.equal(answered.length, objects.length);
    answered.forEach(({ logits, score, labelScore, predictedIou, stabilityScore }, k) => {
      const { area, box, ...wanted } = objects[k];
      const mask = toMask(logits, side, frame, mask_threshold);
      const scores = [wanted.score, wanted.label_score, wanted.predicted_iou, wanted.stability_score];
      close([score, labelScore, predictedIou, stabilityScore], scores, 1e-3);
      close([mask.area], [area], 0.01 * area);
      close(mask.box, box, 1);
    });
  });
}

/** What the Python package tells of an example's objects, and its pixels. */
function reference(name, labels) {
  const script = [here("objects.py"), folder, here(`../../../images/${name}`), ...labels];
  const env = { ...process.env, PYTHONPATH: here("../../../..") };
  const { image, objects } = JSON.parse(execFileSync(process.env.PYTHON, script, { env, maxBuffer: 1e8 }));
  return { image: { ...image, data: Buffer.from(image.data, "base64") }, objects };
}

function iou({ data }, packed) {
  const bits = Buffer.from(packed, "base64");
  let [both, either] = [0, 0];
  data.forEach((inside, i) => {
    const wanted = (bits[i >> 3] >> (7 - (i & 7))) & 1;
    both += inside & wanted;
    either += inside | wanted;
  });
  return both / either;
}

for (const [name, labels] of [
  ["garden.jpg", ["cat", "grass", "tree", "dog"]],
  ["temple.jpg", ["sky", "temple", "tree"]],
]) {
  test(`${name} has the objects that Python tells`, { skip: !process.env.PYTHON && "no PYTHON" }, async () => {
    const { image, objects } = reference(name, labels);
    const model = await load();
    const found = await model.segmentInstances(image, labels, { minScore: 0 });
    assert.deepEqual(found.map(({ label }) => label), objects.map(({ label }) => label));
    const scores = ["score", "labelScore", "predictedIou", "stabilityScore"];
    found.forEach((each, k) => {
      const { label, mask, readAs = null, ...others } = each;
      assert.deepEqual(Object.keys(others).sort(), [...scores].sort());
      assert.deepEqual(readAs, objects[k].readAs);
      close(scores.map((name) => each[name]), scores.map((name) => objects[k][name]), 1e-3);
      assert.ok(iou(mask, objects[k].mask) >= 0.99, `${label}: IoU ${iou(mask, objects[k].mask)}`);
      assert.deepEqual(mask, maskOf(mask.data, mask.width, mask.height));
    });
    const sure = found.filter(({ score }) => score >= model.manifest.calibration.objects.min_score);
    assert.deepEqual(await model.segmentInstances(image, labels), sure);
    assert.deepEqual(await model.segmentInstances(image, labels, { minScore: 0, maxInstances: 2 }), found.slice(0, 2));
  });
}

test("objects that compete: of one label they may overlap, and an object of another label loses pixels", () => {
  const size = 12;
  const rows = (top, bottom) => maskOf(new Uint8Array(size * size).fill(1, top * size, bottom * size), size, size);
  const found = exclusiveObjects([
    { label: "cup", score: 0.9, mask: rows(0, 6) },
    { label: "cup", score: 0.8, mask: rows(3, 8) },
    { label: "spoon", score: 0.7, mask: rows(6, 12) },
    { label: "fork", score: 0.6, mask: rows(1, 7) },
  ]);
  assert.deepEqual(found.map(({ label }) => label), ["cup", "cup", "spoon"]);
  assert.deepEqual(found.map(({ mask }) => mask), [rows(0, 6), rows(3, 8), rows(8, 12)]);
});

test("objects of labels that compete share no pixel; without a calibration, a score is a product", async () => {
  const model = await load(withManifest((each) => (each.calibration.objects = null)));
  const labels = ["sky", "skies", "window"];
  const image = await model.encodeImage(rgbImage());
  const every = await model.segmentInstances(image, labels, { threshold: 0 });
  for (const { score, labelScore, predictedIou, stabilityScore } of every) {
    assert.ok(Math.abs(score - labelScore * predictedIou * stabilityScore) < 1e-6);
  }
  const found = await model.segmentInstances(image, labels, { threshold: 0, exclusive: true });
  const labelsAt = (objects, i) => new Set(objects.filter(({ mask }) => mask.data[i]).map(({ label }) => label));
  const most = (objects) => Math.max(...objects[0].mask.data.map((_, i) => labelsAt(objects, i).size));
  assert.ok(most(every) > 1);
  assert.equal(most(found), 1);
});
