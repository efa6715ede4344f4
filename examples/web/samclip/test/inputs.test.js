import assert from "node:assert/strict";
import { before, test } from "node:test";
import { files, load, manifest, PACK, rgbImage, withManifest } from "./bundle.js";

let model, embedding;
before(async () => {
  model = await load();
  embedding = await model.encodeImage(rgbImage());
});

const fails = (name, pattern) => (error) => {
  assert.equal(error.name, name, error.stack);
  assert.match(error.message, pattern);
  return true;
};

const without = (path) => Object.fromEntries(Object.entries(files).filter(([name]) => name !== path));
const encoder = `image_encoder@${manifest.tasks.segmentation.resolution}`;
const [artifact] = manifest.graphs[encoder].artifacts;

test("a bundle without a manifest", () =>
  assert.rejects(load(without("manifest.json")), fails("BundleError", /manifest.json is not among/)));

test("a manifest that is not JSON", () =>
  assert.rejects(load({ "manifest.json": new TextEncoder().encode("<html>") }), fails("BundleError", /not JSON/)));

test("another schema_version", () =>
  assert.rejects(
    load(withManifest((each) => (each.schema_version = 2))),
    fails("BundleSchemaError", /schema_version 2; this version of samclip reads 1/),
  ));

test("a missing file", async () => {
  const broken = await load(without(artifact.path));
  await assert.rejects(broken.encodeImage(rgbImage()), fails("BundleError", /is not among the files/));
});

test("a changed file", async () => {
  const changed = files[artifact.path].slice();
  changed[100] ^= 1;
  const broken = await load({ ...files, [artifact.path]: changed });
  await assert.rejects(broken.encodeImage(rgbImage()), fails("BundleTamperedError", /sha256 differs/));
});

test("a path that leads out of the bundle", async () => {
  const broken = await load(withManifest((each) => (each.graphs[encoder].artifacts[0].path = "../x.onnx")));
  await assert.rejects(broken.encodeImage(rgbImage()), fails("BundleError", /outside the bundle/));
});

for (const name of ["letterbox@576", "text_to_mask@576"]) {
  test(`a bundle without ${name}`, async () => {
    const older = await load(withManifest((each) => delete each.graphs[name]));
    const [label] = await older.loadLabels(PACK);
    await assert.rejects(
      older.segmentText(rgbImage(), label),
      fails("GraphMissingError", new RegExp(`has no ONNX file of ${name}`)),
    );
  });
}

test("objects, where there is no head at the resolution of masks", async () => {
  const older = await load(withManifest((each) => delete each.graphs["clip_head@576"]));
  const missing = fails("GraphMissingError", /has no ONNX file of clip_head@576/);
  await assert.rejects(older.segmentInstances(rgbImage(), "dog"), missing);
  await assert.rejects(older.prepare("segmentInstances"), missing);
});

test("a label that is in no pack, where there is no text encoder", async () => {
  const smaller = await load(withManifest((each) => delete each.graphs.text_encoder));
  await smaller.loadLabels(PACK);
  await assert.rejects(smaller.embedLabels("zeppelin"), fails("GraphMissingError", /no ONNX file of text_encoder/));
});

test("an address that is none", () => assert.rejects(load("bundle"), fails("OptionError", /not the address/)));

test("a precision that is not there", () =>
  assert.rejects(load(files, { precision: "fp64" }), fails("OptionError", /precision is fp64; this bundle has fp32/)));

test("int8 on WebGPU", () =>
  assert.rejects(
    load(files, { precision: "int8", executionProviders: ["webgpu", "wasm"] }),
    fails("OptionError", /int8 on WebGPU/),
  ));

test("an execution provider that is not there", async () => {
  const other = await load(files, { executionProviders: ["nonsense"] });
  await assert.rejects(other.encodeImage(rgbImage()), fails("GraphError", /cannot be opened/));
});

for (const [name, wrong, pattern] of [
  ["of zero size", { data: new Uint8Array(), width: 0, height: 5 }, /empty: 0 x 5/],
  ["of one pixel", { data: new Uint8Array(3), width: 1, height: 1 }, /single pixel/],
  ["with too few bytes", { data: new Uint8Array(10), width: 4, height: 4 }, /are 48 in RGB or 64 in RGBA/],
  ["that cannot be decoded", new Blob(["no image"]), /cannot be read here/],
]) {
  test(`an image ${name}`, () => assert.rejects(model.encodeImage(wrong), fails("ImageError", pattern)));
}

for (const [name, labels, pattern] of [
  ["no labels", [], /there is no text/],
  ["an empty label", ["dog", " \t"], /text 1 is empty/],
  ["a label twice", ["dog", "dog"], /"dog" is there twice/],
  ["two spellings of one label", ["dog", " Dog"], /"dog" and " Dog" are the same/],
  ["two labels in one", ["dog,cat"], /"dog,cat" has a comma: give a label for each word/],
  ["a number", [3], /text 0 is a number/],
  ["a NUL", ["a\0b"], /NUL/],
  ["half a surrogate pair", ["\ud800"], /surrogate/],
]) {
  test(name, () => assert.rejects(model.segmentText(embedding, labels), fails("TextError", pattern)));
}

for (const [name, options, pattern] of [
  ["no prompt", {}, /nothing to segment/],
  ["a point outside", { points: [[96, 3]] }, /point \(96, 3\) is outside the image of 96 x 62/],
  ["NaN", { points: [[NaN, 3]] }, /2 finite numbers/],
  ["a point of three numbers", { points: [[1, 2, 3]] }, /2 finite numbers/],
  ["an unknown point label", { points: [[1, 2]], pointLabels: [7] }, /point label 7 means nothing/],
  ["too few point labels", { points: [[1, 2], [3, 4]], pointLabels: [1] }, /as many as points/],
  ["point labels alone", { pointLabels: [1] }, /without points/],
  ["only slots without a point", { points: [[1, 2]], pointLabels: [-1] }, /no point/],
  ["a reversed box", { boxes: [9, 9, 3, 20] }, /empty or reversed/],
  ["a box outside", { boxes: [200, 3, 210, 9] }, /outside the image/],
  ["different numbers", { points: [[[1, 2]], [[3, 4]]], boxes: [[1, 2, 3, 4]] }, /points 2, boxes 1/],
  ["one corner", { points: [[1, 2]], pointLabels: [2] }, /one of each/],
  ["reversed corners", { points: [[9, 9], [3, 3]], pointLabels: [2, 3] }, /left of and above/],
  ["corners and a box", { points: [[1, 2], [3, 4]], pointLabels: [2, 3], boxes: [1, 2, 3, 4] }, /not both/],
  ["a mask of another size", { maskInput: new Float32Array(9) }, /takes 144 x 144/],
  ["a threshold that is no number", { points: [[1, 2]], maskThreshold: NaN }, /maskThreshold is NaN/],
]) {
  test(name, () => assert.rejects(model.segment(embedding, options), fails("PromptError", pattern)));
}

test("a presence threshold above 1", () =>
  assert.rejects(model.segmentText(embedding, "dog", { threshold: 2 }), fails("PromptError", /threshold is 2/)));

for (const [options, pattern] of [
  [{ threshold: -1 }, /threshold is -1/],
  [{ maskThreshold: NaN }, /maskThreshold is NaN/],
  [{ minScore: 1.1 }, /minScore is 1.1; it must be from 0 to 1/],
  [{ minScore: NaN }, /minScore is NaN/],
  [{ maxInstances: 0 }, /maxInstances is 0; it must be a whole number from 1 on/],
  [{ maxInstances: 2.5 }, /maxInstances is 2.5/],
]) {
  test(`objects with ${Object.keys(options)} ${Object.values(options)}`, () =>
    assert.rejects(model.segmentInstances(embedding, "dog", options), fails("PromptError", pattern)));
}

test("a number of words that cannot be", () =>
  assert.rejects(model.nearestWords("dog", { count: 0 }), fails("OptionError", /count is 0/)));

test("an embedding of another bundle", () =>
  assert.rejects(
    model.classify({ ...embedding, bundleId: "0123" }, "dog"),
    fails("EmbeddingMismatchError", /encoded by bundle 0123/),
  ));

test("a label pack of another revision", async () => {
  const other = await load(withManifest((each) => (each.revision = "another")));
  await assert.rejects(other.loadLabels(files[PACK]), fails("EmbeddingMismatchError", /save it again/));
});

test("a file that is no label pack", async () => {
  await assert.rejects(model.loadLabels(files[PACK].slice(0, 99)), fails("BundleError", /not a whole safetensors/));
  await assert.rejects(model.loadLabels(files["golden/tensors.safetensors"]), fails("BundleError", /not a label pack/));
  await assert.rejects(model.loadLabels("none.safetensors"), fails("BundleError", /has no none.safetensors/));
});
