import assert from "node:assert/strict";
import { test } from "node:test";
import { files, load, manifest, memoryCache, PACK, rgbImage, serveBundle } from "./bundle.js";

const S = manifest.tasks.segmentation.resolution;
const needed = (graph, precision) => {
  const artifacts = manifest.graphs[graph].artifacts.filter(({ runtime }) => runtime === "onnx");
  const own = artifacts.find((each) => each.precision === precision) ?? artifacts[0];
  return [own.path, ...own.weights.map(({ path }) => path)];
};
const victim = needed(`image_encoder@${S}`, "fp32")[1];

test("only what is needed is fetched, in the chosen precision, and each file once", async () => {
  const server = await serveBundle();
  const model = await load(server.url, { precision: "int8", cache: memoryCache() });
  const [label] = await model.loadLabels(PACK);
  await model.segmentText(rgbImage(), label);
  const graphs = [`letterbox@${S}`, `image_encoder@${S}`, `text_to_mask@${S}`];
  const expected = ["manifest.json", PACK, ...graphs.flatMap((graph) => needed(graph, "int8"))];
  assert.deepEqual([...new Set(server.asked)].sort(), [...new Set(expected)].sort());
  assert.equal(server.asked.length, new Set(server.asked).size);
  await server.close();
});

test("a second visit fetches the manifest alone, and nothing without a network", async () => {
  const server = await serveBundle();
  const cache = memoryCache();
  const first = await load(server.url, { cache });
  await first.prepare("encodeImage", "embedText");
  server.asked.length = 0;
  const second = await load(server.url, { cache });
  await second.prepare("encodeImage", "embedText");
  assert.deepEqual(server.asked, ["manifest.json"]);
  await server.close();
  const third = await load(server.url, { cache });
  const embedding = await third.encodeImage(rgbImage());
  assert.equal(embedding.bundleId, first.id);
});

test("without a cache, a file of several graphs is still fetched once", async () => {
  const server = await serveBundle();
  const model = await load(server.url, { cache: false });
  await model.prepare("encodeImage", "classify");
  assert.equal(server.asked.length, new Set(server.asked).size);
  await server.close();
});

test("progress rises to the sum of all files", async () => {
  const server = await serveBundle();
  const seen = [];
  const model = await load(server.url, { cache: memoryCache(), onProgress: (each) => seen.push(each) });
  await model.prepare("encodeImage");
  const paths = new Set([...needed(`letterbox@${S}`, "fp32"), ...needed(`image_encoder@${S}`, "fp32")]);
  const total = [...paths].reduce((sum, path) => sum + files[path].length, 0);
  const { bytesDone, bytesTotal } = seen.at(-1);
  assert.deepEqual([bytesDone, bytesTotal], [total, total]);
  assert.ok(seen.every((each, n) => !n || each.bytesDone >= seen[n - 1].bytesDone));
  assert.ok(seen.length > paths.size, "a large file comes in more than one step");
  await server.close();
});

for (const [how, cut] of [
  ["the connection breaks", (response, content) => {
    response.writeHead(200, { "content-length": content.length });
    response.write(content.subarray(0, content.length / 2), () => response.destroy());
  }],
  ["the server stops early", (response, content) => response.end(content.subarray(0, content.length / 2))],
]) {
  test(`a download that is cut half-way because ${how} leaves nothing, and can be repeated`, async () => {
    let broken = true;
    const server = await serveBundle((path, response, content) => {
      if (path !== victim || !broken) return false;
      cut(response, content);
      return true;
    });
    const cache = memoryCache();
    const model = await load(server.url, { cache });
    await assert.rejects(model.encodeImage(rgbImage()), (error) => {
      assert.equal(error.name, "DownloadError");
      assert.match(error.message, new RegExp(`${victim} broke off after \\d+ of ${files[victim].length} bytes`));
      assert.match(error.message, /nothing of it was kept; try again/);
      return true;
    });
    assert.ok(![...cache.entries.keys()].some((key) => key.includes(victim)));
    broken = false;
    assert.equal((await model.encodeImage(rgbImage())).width, 96);
    assert.ok([...cache.entries.keys()].some((key) => key.includes(victim)));
    await server.close();
  });
}

for (const [how, change] of [
  ["a byte differs", (content) => content.with(7, content[7] ^ 1)],
  ["it is longer", (content) => Buffer.concat([content, Buffer.from("x")])],
]) {
  test(`a file of another hash is refused and not kept: ${how}`, async () => {
    const server = await serveBundle((path, response, content) => {
      if (path === victim) response.end(change(content));
      return path === victim;
    });
    const cache = memoryCache();
    const model = await load(server.url, { cache });
    await assert.rejects(model.encodeImage(rgbImage()), { name: "BundleTamperedError" });
    assert.ok(![...cache.entries.keys()].some((key) => key.includes(victim)));
    await server.close();
  });
}

test("what was damaged in the cache is fetched again", async () => {
  const server = await serveBundle();
  const cache = memoryCache();
  await (await load(server.url, { cache })).prepare("encodeImage");
  const key = [...cache.entries.keys()].find((each) => each.includes(victim));
  cache.entries.set(key, new Response("damaged"));
  server.asked.length = 0;
  await (await load(server.url, { cache })).prepare("encodeImage");
  assert.deepEqual(server.asked, ["manifest.json", victim]);
  await server.close();
});

test("a file that the server does not have", async () => {
  const server = await serveBundle((path, response) => path === victim && response.writeHead(404).end());
  const model = await load(server.url, { cache: false });
  await assert.rejects(model.encodeImage(rgbImage()), { name: "BundleError", message: /answered 404/ });
  await server.close();
});

test("a server that cannot be reached", async () => {
  const server = await serveBundle();
  await server.close();
  await assert.rejects(load(server.url, { cache: memoryCache() }), { name: "DownloadError" });
});
