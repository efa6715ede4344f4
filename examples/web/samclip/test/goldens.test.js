import assert from "node:assert/strict";
import { before, test } from "node:test";
import { cleanText, verify } from "samclip";
import { toMask } from "../dist/masks.js";
import { readSafetensors } from "../dist/safetensors.js";
import { files, load, rgbImage, precisions } from "./bundle.js";

const index = JSON.parse(new TextDecoder().decode(files["golden/index.json"]));
const { tensors } = readSafetensors(files["golden/tensors.safetensors"], "the goldens");

let model;
before(async () => (model = await load()));

for (const precision of precisions) {
  test(`what the graphs compute comes out in ${precision}`, async () => {
    const model = await load(files, { precision });
    const checks = await verify(model);
    for (const { golden, passed, found } of checks) assert.ok(passed, `${golden}: ${found}`);
    const labels = index.text_to_mask.flatMap(({ presence }) => presence);
    const outputs = index.graphs.flatMap((each) => Object.keys(each.outputs));
    const ofLabels = (precision === "fp32" ? 2 : 1) * labels.length;
    const ofPrompts = 2 * index.segment.length;
    assert.equal(checks.length, outputs.length + ofPrompts + index.class_embeddings.length + ofLabels);
    await model.close();
  });
}

test("what does not come out is told", async () => {
  const model = await load();
  const run = model.run.bind(model);
  model.run = async (graph, feed) => {
    const outputs = await run(graph, feed);
    if (outputs.image_tokens) outputs.image_tokens.data[0] += 100;
    return outputs;
  };
  const failed = (await verify(model, ["graphs"])).filter(({ passed }) => !passed);
  assert.deepEqual(failed.map(({ golden }) => golden), ["image_encoder@352 image_tokens"]);
});

for (const { text, cleaned, input_ids } of index.texts) {
  test(`the ids of ${JSON.stringify(text.slice(0, 30))}`, async () => {
    assert.equal(cleanText(text), cleaned);
    const ids = [...(await model.tokenize(text))];
    assert.deepEqual(ids.slice(0, input_ids.length), input_ids);
    assert.ok(ids.slice(input_ids.length).every((id) => id === 0));
  });
}

/** The image that the goldens make by formula. */
function drawn([height, width]) {
  const value = (y, x, c) => Math.floor((x * x) / 97) + Math.floor((y * y) / (61 + 30 * c)) + 40 * c;
  const place = (i) => value(Math.floor(i / 3 / width), Math.floor(i / 3) % width, i % 3);
  return Uint8Array.from({ length: height * width * 3 }, (_, i) => place(i));
}

for (const { image, size, resolution, extent, output } of index.letterbox) {
  test(`an image of ${size.join(" x ")} in the model's input of ${resolution}`, async () => {
    const data = image === null ? drawn(size) : tensors[image].data;
    const found = await model.run(`letterbox@${resolution}`, { picture: { data, dims: [...size, 3] } });
    assert.deepEqual([...found.extent.data], extent);
    const expected = tensors[output.tensor].data;
    const levels = found.image.data.filter((_, i) => i % output.step === 0);
    assert.equal(levels.length, expected.length);
    assert.ok(levels.every((level, i) => Math.abs(level - expected[i]) <= 1));
  });
}

for (const { low_res, size, resolution, mask } of index.masks) {
  test(`a mask in an image of ${size.join(" x ")}`, () => {
    const [height, width] = size;
    const extent = size.map((side) => Math.max(1, Math.floor((side * resolution) / Math.max(...size) + 0.5)));
    const logits = tensors[low_res];
    const found = toMask(logits.data, logits.dims[0], { width, height, resolution, extent }, 0);
    const bits = tensors[mask].data;
    const expected = found.data.map((_, i) => (bits[i >> 3] >> (7 - (i & 7))) & 1);
    const both = found.data.filter((inside, i) => inside & expected[i]).length;
    const either = found.data.filter((inside, i) => inside | expected[i]).length;
    assert.ok(both / either >= 0.999, `IoU ${both / either}`);
    assert.equal(found.area, found.data.filter(Boolean).length);
    const [left, top, right, bottom] = found.box;
    const outside = (i) => i % width < left || i % width >= right || i < top * width || i >= bottom * width;
    assert.ok(!found.data.some((inside, i) => inside && outside(i)));
  });
}

test("classification and segmentation agree on one embedding and on an image", async () => {
  const embedding = await model.encodeImage(rgbImage());
  const labels = ["dog", "a house"];
  const ranked = await model.classify(embedding, labels);
  assert.deepEqual(ranked.map(({ label }) => label), labels);
  assert.ok(Math.abs(ranked[0].prob + ranked[1].prob - 1) < 1e-6);
  const options = { points: [[40, 30]], multimaskOutput: false };
  const [direct] = await model.segment(rgbImage(), options);
  const [again] = await model.segment(structuredClone(embedding), options);
  assert.deepEqual(direct, again);
  assert.deepEqual([direct.mask.width, direct.mask.height], [96, 62]);
});

test("a prompt's answer does not depend on how many are asked", async () => {
  const embedding = await model.encodeImage(rgbImage());
  const boxes = Array.from({ length: 18 }, (_, k) => [k, 5, 50 + k, 60]);
  const together = await model.segment(embedding, { boxes, multimaskOutput: false });
  assert.deepEqual(together.map(({ promptIndex }) => promptIndex), boxes.map((_, k) => k));
  const [alone] = await model.segment(embedding, { boxes: boxes[17], multimaskOutput: false });
  const worst = alone.lowResMask.reduce(
    (most, logit, i) => Math.max(most, Math.abs(logit - together[17].lowResMask[i])), 0);
  assert.ok(worst < 1e-3, `${worst}`);
});

test("an earlier answer is a mask prompt", async () => {
  const embedding = await model.encodeImage(rgbImage());
  const [first] = await model.segment(embedding, { points: [[40, 30]], multimaskOutput: false });
  const [second] = await model.segment(embedding, { maskInput: first.lowResMask, multimaskOutput: false });
  assert.equal(second.lowResMask.length, first.lowResMask.length);
  assert.notDeepEqual(second.lowResMask, first.lowResMask);
});

test("text embeddings have unit length", async () => {
  for (const row of await model.embedText(["a dog", "two cats on a sofa"])) {
    assert.ok(Math.abs(Math.hypot(...row) - 1) < 1e-5);
  }
});
