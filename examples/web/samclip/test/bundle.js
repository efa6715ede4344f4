/** The bundle under test, in memory and behind a server that can misbehave. */

import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import * as ort from "onnxruntime-web";
import { SamClip } from "samclip";

ort.env.wasm.numThreads = 1;
ort.env.logLevel = "error";

const DEFAULT = new URL("../../../../samclip_sdk/bundle/embedded/samclip-mobile", import.meta.url);
export const folder = process.env.SAMCLIP_BUNDLE ?? fileURLToPath(DEFAULT);
if (!existsSync(join(folder, "golden/tensors.safetensors"))) {
  throw new Error(`${folder} has no golden/tensors.safetensors: set SAMCLIP_BUNDLE to a bundle that has it`);
}

export const PACK = "golden/labels.safetensors";

export const files = Object.fromEntries(
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .map((path) => [relative(folder, path), new Uint8Array(readFileSync(path))]),
);

export const manifest = JSON.parse(new TextDecoder().decode(files["manifest.json"]));
export const precisions = manifest.graphs["mask_decoder"].artifacts
  .filter((each) => each.runtime === "onnx")
  .map((each) => each.precision);

/** The bundle's files with another manifest. */
export function withManifest(change) {
  const changed = structuredClone(manifest);
  change(changed);
  return { ...files, "manifest.json": new TextEncoder().encode(JSON.stringify(changed)) };
}

/** The bundle's files with another table of words. */
export function withWords(table) {
  const content = new TextEncoder().encode(JSON.stringify(table));
  const sha256 = createHash("sha256").update(content).digest("hex");
  const changed = withManifest((each) => {
    each.files = each.files.filter(({ path }) => path !== "words.json");
    each.files.push({ path: "words.json", sha256, size_bytes: content.length });
  });
  return { ...changed, "words.json": content };
}

/** The bundle's pack, with thresholds of its labels. */
export const withThresholds = (thresholds) => withMetadata({ thresholds: JSON.stringify(thresholds) });

/** The bundle's pack, with other metadata. */
export function withMetadata(changes) {
  const pack = Buffer.from(files[PACK]);
  const end = 8 + Number(pack.readBigUInt64LE());
  const header = JSON.parse(pack.subarray(8, end));
  Object.assign(header.__metadata__, changes);
  const changed = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(changed.length));
  return Buffer.concat([length, changed, pack.subarray(end)]);
}

export function load(source = files, options = {}) {
  return SamClip.load(source, { ort, precision: "fp32", ...options });
}

/** An image in RGBA, of rising levels. */
export function rgbImage(width = 96, height = 62) {
  const data = new Uint8ClampedArray(4 * width * height).map((_, i) => (i % 4 === 3 ? 255 : (i * 7) >> 4));
  return { data, width, height };
}

/** Serves the bundle; `answer(path, response, content)` may answer in its own way. */
export async function serveBundle(answer = () => false) {
  const asked = [];
  // While a graph runs, a slow machine would let connections time out.
  const server = createServer({ keepAliveTimeout: 0 }, (request, response) => {
    const path = new URL(request.url, "http://localhost").pathname.slice(1);
    asked.push(path);
    const content = files[path];
    if (answer(path, response, content)) return;
    if (!content) return response.writeHead(404).end();
    response.writeHead(200, { "content-length": content.length }).end(content);
  });
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  server.unref(); // A test that fails does not close it.
  const close = () => new Promise((done) => (server.close(done), server.closeAllConnections()));
  return { url: `http://127.0.0.1:${server.address().port}/`, asked, close };
}

/** Does what is used of the browser's Cache. */
export function memoryCache() {
  const entries = new Map();
  return {
    entries,
    match: async (key) => entries.get(key)?.clone(),
    put: async (key, response) => void entries.set(key, response),
    delete: async (key, { ignoreSearch }) => {
      for (const each of entries.keys()) {
        if (each === key || (ignoreSearch && each.split("?")[0] === key)) entries.delete(each);
      }
    },
  };
}
