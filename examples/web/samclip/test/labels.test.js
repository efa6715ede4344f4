/** What label_cases.json asks, which the Python package answered; and the same on a model. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { exclusive } from "../dist/exclusive.js";
import { maskOf } from "../dist/masks.js";
import { readLabels } from "../dist/labels.js";
import { KnownWords } from "../dist/words.js";
import { files, load, PACK, picture, withManifest, withThresholds } from "./bundle.js";

const cases = JSON.parse(readFileSync(new URL("../../../label_cases.json", import.meta.url), "utf-8"));

for (const { name, size, presence, boxes, kept, owners } of cases.exclusive) {
  test(`labels compete: ${name}`, () => {
    const [height, width] = size;
    const found = boxes.map(([left, top, right, bottom], k) => {
      const inside = (x, y) => x >= left && x < right && y >= top && y < bottom;
      const data = Uint8Array.from({ length: width * height }, (_, i) => inside(i % width, Math.floor(i / width)));
      return { presence: presence[k], present: true, score: 1, mask: maskOf(data, width, height) };
    });
    const settled = exclusive(found);
    assert.deepEqual(settled.flatMap(({ present }, k) => (present ? [k] : [])), kept);
    const pixels = owners.join("");
    settled.forEach(({ mask, score, present }, k) => {
      assert.deepEqual([...mask.data], [...pixels].map((owner) => Number(owner === `${k}`)));
      assert.deepEqual(mask, maskOf(mask.data, width, height));
      assert.equal(score, Number(present));
    });
  });
}

for (const { words, embeddings, label, embedding, nearest, warning } of cases.words) {
  test(`taught words near ${JSON.stringify(label)}`, () => {
    const known = new KnownWords(words, embeddings.map((row) => Float32Array.from(row)));
    const row = Float32Array.from(embedding);
    assert.deepEqual(known.nearest(row, 3).map(({ word, cosine }) => [word, cosine]), nearest);
    assert.equal(known.warning(label, row), warning ?? undefined);
  });
}

for (const { name, pack, thresholds } of cases.thresholds) {
  test(`thresholds of a pack: ${name}`, () => {
    const read = () => readLabels(Buffer.from(pack, "base64"), name, { name: "cases", revision: "1", model: { embed_dim: 4 } });
    if (thresholds) assert.deepEqual(read().thresholds, thresholds);
    else assert.throws(read, { name: "BundleError", message: /thresholds.*from 0 to 1, or null/ });
  });
}

test("a label has the threshold of its pack, or the bundle's", async () => {
  const model = await load();
  const labels = await model.loadLabels(PACK);
  const image = await model.encodeImage(picture());
  const odds = (await model.segmentText(image, labels)).map(({ presence }) => presence);
  const present = async (thresholds, options) => {
    await model.loadLabels(withThresholds(thresholds));
    return (await model.segmentText(image, labels, options)).map((each) => each.present);
  };
  assert.deepEqual(await present(odds), odds.map(() => true));
  assert.deepEqual(await present(odds.map((each) => each + 1e-4)), odds.map(() => false));
  const usual = odds.map((each) => each >= Math.fround(model.manifest.calibration.presence_threshold));
  assert.deepEqual(await present(odds.map(() => null)), usual);
  assert.deepEqual(await present(odds.map(() => 1), { threshold: 0 }), odds.map(() => true));
});

test("a model tells its words, and warns once of a label that it was not taught", async () => {
  const warnings = [];
  const model = await load(files, { onWarning: (message) => warnings.push(message) });
  const words = await model.words();
  assert.ok(words.length > 1000 && words.includes("dog"));
  const [same, next] = await model.nearestWords("dog", { count: 2 });
  assert.equal(same.word, "dog");
  assert.ok(same.cosine > 0.98 && next.cosine < same.cosine);
  await model.embedLabels(["dogs", "zxqv"]);
  await model.embedLabels("zxqv");
  assert.equal(warnings.length, 1);
  assert.match(warnings[0], /'zxqv'.*: \S.* \(0\.\d\d\), /);
});

test("a bundle without nouns has no words, and warns of nothing", async () => {
  const without = (each) => (each.files = each.files.filter(({ path }) => path !== "nouns.safetensors"));
  const onWarning = assert.fail;
  const model = await load(withManifest(without), { onWarning });
  await model.embedLabels("zxqv");
  assert.deepEqual(await model.words(), []);
  assert.deepEqual(await model.nearestWords("zxqv"), []);
});

test("labels that compete share no pixel, and a bundle that calibrates objects is read", async () => {
  const objects = { label_score: 1, predicted_iou: 2, stability_score: 1, bias: -3, min_score: 0.5 };
  const model = await load(withManifest((each) => (each.calibration.objects = objects)));
  const labels = ["sky", "skies", "window"];
  const image = await model.encodeImage(picture());
  const every = await model.segmentText(image, labels, { threshold: 0 });
  const found = await model.segmentText(image, labels, { threshold: 0, exclusive: true });
  assert.deepEqual(found.map(({ presence }) => presence), every.map(({ presence }) => presence));
  const most = (masks) => Math.max(...masks[0].mask.data.map((_, i) => masks.filter(({ mask }) => mask.data[i]).length));
  assert.ok(most(every) > 1);
  assert.equal(most(found), 1);
});
