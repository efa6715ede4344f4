import assert from "node:assert/strict";
import { test } from "node:test";
import { verify } from "samclip";
import { files, load, picture, precisions } from "./bundle.js";

const index = JSON.parse(new TextDecoder().decode(files["golden/index.json"]));

for (const precision of precisions) {
  test(`every golden comes out in ${precision}`, async () => {
    const model = await load(files, { precision });
    const checks = await verify(model);
    for (const { golden, passed, found } of checks) assert.ok(passed, `${golden}: ${found}`);
    const labels = index.text_to_mask.flatMap(({ presence }) => presence);
    const outputs = index.graphs.flatMap((each) => Object.keys(each.outputs));
    const expected =
      2 * index.texts.length + 2 * index.letterbox.length + outputs.length + 2 * index.segment.length +
      index.class_embeddings.length + index.masks.length + (precision === "fp32" ? 2 : 1) * labels.length;
    assert.equal(checks.length, expected);
    await model.close();
  });
}

test("a golden that does not come out is told", async () => {
  const model = await load();
  const run = model.run.bind(model);
  model.run = async (graph, feed) => {
    const outputs = await run(graph, feed);
    outputs.image_tokens.data[0] += 100;
    return outputs;
  };
  const checks = await verify(model, { parts: ["graphs"], graphs: ["image_encoder@288"] });
  assert.deepEqual(checks.map(({ passed }) => passed), [false, true]);
});

test("classification and segmentation agree on one embedding and on a picture", async () => {
  const model = await load();
  const embedding = await model.encodeImage(picture());
  const labels = ["dog", "a house"];
  const ranked = await model.classify(embedding, labels);
  assert.deepEqual(ranked.map(({ label }) => label), labels);
  assert.ok(Math.abs(ranked[0].prob + ranked[1].prob - 1) < 1e-6);
  const options = { points: [[40, 30]], multimaskOutput: false };
  const [direct] = await model.segment(picture(), options);
  const [again] = await model.segment(structuredClone(embedding), options);
  assert.deepEqual(direct, again);
  assert.deepEqual([direct.mask.width, direct.mask.height], [96, 62]);
});

test("a prompt's answer does not depend on how many are asked", async () => {
  const model = await load();
  const embedding = await model.encodeImage(picture());
  const boxes = Array.from({ length: 18 }, (_, k) => [k, 5, 50 + k, 60]);
  const together = await model.segment(embedding, { boxes, multimaskOutput: false });
  assert.deepEqual(together.map(({ promptIndex }) => promptIndex), boxes.map((_, k) => k));
  const [alone] = await model.segment(embedding, { boxes: boxes[17], multimaskOutput: false });
  const worst = alone.lowResMask.reduce(
    (most, logit, i) => Math.max(most, Math.abs(logit - together[17].lowResMask[i])), 0);
  assert.ok(worst < 1e-3, `${worst}`);
});

test("an earlier answer is a mask prompt", async () => {
  const model = await load();
  const embedding = await model.encodeImage(picture());
  const [first] = await model.segment(embedding, { points: [[40, 30]], multimaskOutput: false });
  const [second] = await model.segment(embedding, { maskInput: first.lowResMask, multimaskOutput: false });
  assert.equal(second.lowResMask.length, first.lowResMask.length);
  assert.notDeepEqual(second.lowResMask, first.lowResMask);
});

test("text embeddings have unit length", async () => {
  const model = await load();
  for (const row of await model.embedText(["a dog", "two cats on a sofa"])) {
    assert.ok(Math.abs(Math.hypot(...row) - 1) < 1e-5);
  }
});
