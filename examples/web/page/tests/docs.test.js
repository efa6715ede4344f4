/** docs/embed/web.md: its program runs, its table is right. */

import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { build } from "vite";
import { sizesTable } from "../../sizes.js";
import { bundle, here, images, launch, open, serve } from "./site.js";

const page = readFileSync(here("../../../../docs/embed/web.md"), "utf-8");
const [, program] = page.match(/```html\n([^]*?)```/);

test("the program of the documentation is short, and draws a mask", async (t) => {
  assert.ok(program.trimEnd().split("\n").length <= 22);
  const root = here("../dist/example");
  mkdirSync(root, { recursive: true });
  writeFileSync(`${root}/index.html`, program);
  await build({ root, base: "./", configFile: false, logLevel: "warn" });
  const site = await serve();
  t.after(() => site.close());
  const browser = await launch();
  t.after(() => browser.close());
  const { page: tab, close } = await open(browser, `${site.url}example/dist/`);
  await tab.waitForFunction(() => document.querySelector("input").onchange);
  await tab.setInputFiles("input", `${images}dog.jpg`);
  await tab.waitForFunction(() => document.querySelector("canvas").width === 288);
  const share = await tab.evaluate(() => {
    const copy = new OffscreenCanvas(288, 384).getContext("2d", { willReadFrequently: true });
    copy.drawImage(document.querySelector("canvas"), 0, 0);
    const { data } = copy.getImageData(0, 0, 288, 384);
    return data.filter((value, i) => i % 4 === 1 && value === 255).length / (288 * 384);
  });
  assert.ok(share > 0.4 && share < 0.6, `the dog covers ${share} of the image`);
  await close();
});

test("the sizes are those of the bundle", () => {
  assert.ok(page.includes(sizesTable(bundle)), "run node sizes.js BUNDLE --write");
});
