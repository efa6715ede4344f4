/**
 * What a page ships, in MB: the table of docs/embed/web.md.
 *
 *     node sizes.js BUNDLE            prints it
 *     node sizes.js BUNDLE --write    puts it into the page
 */

import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const PAGE = new URL("../../docs/embed/web.md", import.meta.url);
const RUNTIME = new URL("node_modules/onnxruntime-web/dist/", import.meta.url);
const PRECISIONS = ["fp32", "fp16", "int8"];

export function sizesTable(bundle) {
  const manifest = JSON.parse(readFileSync(join(bundle, "manifest.json"), "utf-8"));
  const { segmentation, classification } = manifest.tasks;
  const image = [`letterbox@${segmentation.resolution}`, `image_encoder@${segmentation.resolution}`];
  const words = [...image, `text_to_mask@${segmentation.resolution}`];
  const points = [...image, "prompt_encoder", "mask_decoder"];
  const classes = ["letterbox", "image_encoder", "clip_head"].map((name) => `${name}@${classification.resolution}`);
  const text = ["text_encoder"];

  const filesOf = (graph, precision) => {
    const artifacts = manifest.graphs[graph].artifacts.filter(({ runtime }) => runtime === "onnx");
    const own = artifacts.find((each) => each.precision === precision) ?? artifacts[0];
    return [own, ...own.weights];
  };
  const extra = (paths) => manifest.files.filter(({ path }) => paths.includes(path));
  const row = (name, graphs, paths) => {
    const cells = PRECISIONS.map((precision) => {
      const files = [...graphs.flatMap((graph) => filesOf(graph, precision)), ...extra(paths)];
      const sizes = new Map(files.map(({ path, size_bytes }) => [path, size_bytes]));
      return mb([...sizes.values()].reduce((sum, size) => sum + size, 0));
    });
    return `| ${name} | ${cells.join(" | ")} |`;
  };
  const runtime = (name, file) => {
    const path = fileURLToPath(new URL(file, RUNTIME));
    return `| ${name} | ${mb(statSync(path).size)} | ${mb(gzipSync(readFileSync(path)).length)} |`;
  };
  const labels = ["nouns.safetensors"];
  const read = [...labels, "words.json"];
  const typed = [...read, "tokenizer.json"];
  return [
    `| the model's files, MB | ${PRECISIONS.join(" | ")} |`,
    "|---|---:|---:|---:|",
    row("points and boxes", points, []),
    row("masks of the nouns of the label pack", words, labels),
    row("the same, and any words: with text encoder and tokenizer", [...words, ...text], typed),
    row("points, boxes and nouns, as the page", [...words, ...points], read),
    row("all of that, and any words", [...words, ...points, ...text], typed),
    row("classification alone, of the nouns", classes, labels),
    "",
    "| onnxruntime-web, MB | as it is | by gzip |",
    "|---|---:|---:|",
    runtime("WebAssembly", "ort-wasm-simd-threaded.wasm"),
    runtime("with WebGPU", "ort-wasm-simd-threaded.asyncify.wasm"),
  ].join("\n");
}

function mb(bytes) {
  return (bytes / 1e6).toFixed(1);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [bundle, write] = process.argv.slice(2);
  const table = sizesTable(bundle);
  if (write === "--write") {
    const page = readFileSync(PAGE, "utf-8");
    writeFileSync(PAGE, page.replace(/(<!-- sizes -->\n)[^]*(<!-- \/sizes -->)/, `$1${table}\n$2`));
  } else {
    console.log(table);
  }
}
