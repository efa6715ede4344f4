/** What label_cases.json asks, which the Python package answered; and the same on a model. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { exclusive } from "../dist/exclusive.js";
import { maskOf } from "../dist/masks.js";
import { readPack } from "../dist/labels.js";
import { cleanText } from "../dist/text.js";
import { KnownWords, readTable, WordReader } from "../dist/words.js";
import { files, load, PACK, rgbImage, withManifest, withMetadata, withThresholds, withWords } from "./bundle.js";

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

const asFile = (table) => new TextEncoder().encode(JSON.stringify(table));

const [{ words, table }] = cases.tables;
const reader = new WordReader(readTable(asFile(table), "words.json"), words);
for (const { label, reading } of cases.readings) {
  test(`the reading of ${JSON.stringify(label)}`, () =>
    assert.deepEqual(reader.read(cleanText(label)), reading ?? undefined));
}

for (const { words, embeddings, label, embedding, nearest, reading } of cases.unknown) {
  test(`taught words near ${JSON.stringify(label)}`, () => {
    const known = new KnownWords(words, embeddings.map((row) => Float32Array.from(row)));
    const row = Float32Array.from(embedding);
    assert.deepEqual(known.nearest(row, 3).map(({ word, cosine }) => [word, cosine]), nearest);
    assert.deepEqual(known.unknown(row), reading);
  });
}

for (const [name, wrong] of [
  ["of another version", { ...table, schema_version: 2 }],
  ["without joints", { ...table, joints: undefined }],
  ["with more", { ...table, constructor: [] }],
  ["with an empty text", { ...table, unknown: [""] }],
  ["with a long text", { ...table, articles: ["a".repeat(101)] }],
  ["with a number", { ...table, same: { sofa: [3] } }],
  ["with a list", { ...table, any_of: [] }],
  ["of nothing", null],
]) {
  test(`a table ${name}`, () =>
    assert.throws(() => readTable(asFile(wrong), "words.json"), { name: "BundleError", message: /no table of words/ }));
}

const ofCases = { name: "cases", revision: "1", model: { embed_dim: 4 } };

for (const { name, pack, thresholds } of cases.thresholds) {
  test(`thresholds of a pack: ${name}`, () => {
    const read = () => readPack(Buffer.from(pack, "base64"), name, ofCases);
    if (thresholds) assert.deepEqual(read().thresholds, thresholds);
    else assert.throws(read, { name: "BundleError", message: /thresholds.*from 0 to 1, or null/ });
  });
}

for (const { name, pack, read_as } of cases.read_as) {
  test(`what labels of a pack are read as: ${name}`, () => {
    const read = () => readPack(Buffer.from(pack, "base64"), name, ofCases);
    if (read_as) assert.deepEqual(read().readAs, read_as);
    else assert.throws(read, { name: "BundleError", message: /read_as.*read as, or null, for each of 3 labels/ });
  });
}

test("a pack of an older version", async () => {
  const model = await load();
  const older = { name: "BundleError", message: /schema_version 1; .* reads 2: save it again/ };
  await assert.rejects(model.loadLabels(withMetadata({ schema_version: "1" })), older);
});

test("a label has the threshold of its pack, or the bundle's", async () => {
  const model = await load();
  const labels = await model.loadLabels(PACK);
  const image = await model.encodeImage(rgbImage());
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

const small = {
  ...{ schema_version: 1, same: { sky: ["heavens"] }, read_as: { window: ["pane"] }, unknown: ["zxqv"] },
  ...{ any_of: { thing: ["window", "sky"] }, joints: ["of", "with"], measures: ["piece"], articles: ["a", "the"] },
};

test("a model tells its words, and what it takes labels for", async () => {
  const model = await load(withWords(small));
  const words = await model.words();
  assert.ok(words.length > 1000 && words.includes("dog"));
  const [same, next] = await model.nearestWords("dog", { count: 2 });
  assert.equal(same.word, "dog");
  assert.ok(same.cosine > 0.98 && next.cosine < same.cosine);
  const [{ word, cosine }] = await model.nearestWords("zxqv", { count: 1 });
  const expected = [
    ["Sky", { kind: "taught", words: ["sky"] }],
    ["the heavens", { kind: "same", words: ["sky"] }],
    ["thing", { kind: "read_as", words: ["window", "sky"] }],
    ["a piece of window", { kind: "read_as", words: ["window"] }],
    ["zxqv", { kind: "unknown", words: [word], cosine }],
  ];
  const readings = await model.readLabels(expected.map(([label]) => label));
  assert.deepEqual([...readings], expected);
});

test("a label is embedded as the word that it is read as, and a general word has no embedding", async () => {
  const model = await load(withWords(small));
  const [sky, heavens, pane, window] = await model.embedLabels(["sky", "heavens", "pane", "window"]);
  assert.equal(heavens, sky);
  assert.equal(pane, window);
  assert.notDeepEqual(await model.ownEmbedding("heavens"), sky);
  const several = { name: "TextError", message: /"things" is any of window, sky, and/ };
  await assert.rejects(model.embedLabels("things"), several);
});

test("answers tell what labels are read as", async () => {
  const model = await load(withWords(small));
  const labels = ["sky", "heavens", "pane", "thing", "zxqv"];
  const readings = await model.readLabels(labels);
  const told = ({ label }) => {
    const reading = readings.get(label);
    return ["read_as", "unknown"].includes(reading.kind) ? reading : undefined;
  };
  const image = await model.encodeImage(rgbImage());
  const found = await model.segmentText(image, labels);
  assert.deepEqual(found.map(({ readAs }) => readAs), found.map(told));
  assert.ok(!("readAs" in found[0]));
  const classes = await model.classify(image, labels);
  assert.deepEqual(classes.map(({ readAs }) => readAs), classes.map(told));
  const [sky, heavens, window, thing] = classes.map(({ logit }) => logit);
  assert.deepEqual([heavens, thing], [sky, Math.max(sky, window)]);
  const objects = await model.segmentInstances(image, labels, { threshold: 0, minScore: 0 });
  assert.deepEqual([...new Set(objects.map(({ label }) => label))].sort(), [...labels].sort());
  assert.deepEqual(objects.map(({ readAs }) => readAs), objects.map(told));
});

test("a label that several words answer for has the masks of those that are there", async () => {
  const model = await load(withWords(small));
  const image = await model.encodeImage(rgbImage());
  const ask = (labels, threshold) => model.segmentText(image, labels, { threshold });
  const [window, sky] = await ask(["window", "sky"], 0);
  const [likelier, other] = sky.presence > window.presence ? [sky, window] : [window, sky];
  const both = window.mask.data.map((inside, i) => inside | sky.mask.data[i]);
  const [thing] = await ask("thing", 0);
  assert.deepEqual([thing.presence, thing.score], [likelier.presence, likelier.score]);
  assert.deepEqual(thing.mask.data, both);
  const [one] = await ask("thing", (likelier.presence + other.presence) / 2);
  assert.deepEqual(one.mask, likelier.mask);
  const [none] = await ask("thing", 1);
  assert.deepEqual([none.present, none.score, none.mask.area], [false, 0, 0]);
  // More words than one run of the graph takes, and a label behind them.
  const many = (await model.words()).slice(0, model.manifest.masks.max_prompts + 3);
  const larger = await load(withWords({ ...small, any_of: { anything: many } }));
  const own = await larger.encodeImage(rgbImage());
  const each = await larger.segmentText(own, many, { threshold: 0 });
  const [anything, last] = await larger.segmentText(own, ["anything", "sky"], { threshold: 0 });
  assert.ok(Math.abs(anything.presence - Math.max(...each.map(({ presence }) => presence))) < 1e-5);
  assert.ok(Math.abs(last.presence - sky.presence) < 1e-5);
});

test("a label that the model does not know is found only if that is asked", async () => {
  const model = await load(withWords(small));
  model.manifest.calibration.presence_threshold = 0;
  const image = await model.encodeImage(rgbImage());
  const present = async (label, options) => (await model.segmentText(image, label, options))[0].present;
  const objects = async (options) => (await model.segmentInstances(image, "zxqv", { minScore: 0, ...options })).length;
  assert.equal(await present("sky"), true);
  assert.deepEqual([await present("zxqv"), await objects({})], [false, 0]);
  assert.ok((await model.segmentText(image, "zxqv"))[0].presence > 0);
  for (const options of [{ allowUnknown: true }, { threshold: 0 }]) {
    assert.equal(await present("zxqv", options), true);
    assert.ok((await objects(options)) > 0);
  }
});

test("a pack says what its labels are read as", async () => {
  const model = await load(withWords(small));
  const labels = await model.loadLabels(PACK);
  const own = await model.embedLabels(labels);
  const readAs = [
    { kind: "read_as", words: ["dog", "cat"] },
    { kind: "unknown", words: ["modem"], cosine: 0.25 },
    null,
  ];
  const taught = { kind: "taught", words: [labels[2]] };
  await model.loadLabels(withMetadata({ read_as: JSON.stringify(readAs), thresholds: "[0, 0, 0]" }));
  assert.deepEqual([...(await model.readLabels(labels)).values()], [readAs[0], readAs[1], taught]);
  assert.deepEqual(await model.embedLabels(labels), own);
  const found = await model.segmentText(rgbImage(), labels);
  assert.deepEqual(found.map(({ readAs = null }) => readAs), readAs);
  assert.deepEqual(found.map(({ present }) => present), [true, false, true]);
});

for (const [name, left] of [["nouns", []], ["a table of words", ["nouns.safetensors"]]]) {
  test(`in a bundle without ${name}, each label speaks for itself`, async () => {
    const gone = ["nouns.safetensors", "words.json"].filter((path) => !left.includes(path));
    const without = (each) => (each.files = each.files.filter(({ path }) => !gone.includes(path)));
    const model = await load(withManifest(without));
    const [row] = await model.embedLabels("zxqv");
    assert.equal(row, await model.ownEmbedding("zxqv"));
    assert.equal((await model.readLabels(["dog", "zxqv"])).size, 0);
    assert.equal((await model.words()).length > 0, left.length > 0);
    assert.equal((await model.nearestWords("zxqv")).length > 0, left.length > 0);
    const [found] = await model.segmentText(rgbImage(), "zxqv", { threshold: 0 });
    assert.ok(found.present && !("readAs" in found));
  });
}

test("labels that compete share no pixel, and a bundle that calibrates objects is read", async () => {
  const objects = { label_score: 1, predicted_iou: 2, stability_score: 1, bias: -3, min_score: 0.5 };
  const model = await load(withManifest((each) => (each.calibration.objects = objects)));
  const labels = ["sky", "skies", "window"];
  const image = await model.encodeImage(rgbImage());
  const every = await model.segmentText(image, labels, { threshold: 0 });
  const found = await model.segmentText(image, labels, { threshold: 0, exclusive: true });
  assert.deepEqual(found.map(({ presence }) => presence), every.map(({ presence }) => presence));
  const most = (masks) => Math.max(...masks[0].mask.data.map((_, i) => masks.filter(({ mask }) => mask.data[i]).length));
  assert.ok(most(every) > 1);
  assert.equal(most(found), 1);
});
