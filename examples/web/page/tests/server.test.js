/** The page that `samclip serve` has at /: it differs from this one in its backend alone. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { bundle, here, images, launch, open } from "./site.js";

const repository = here("../../../..");
const key = "0123456789abcdef";

let browser, server, url;
before(async () => {
  browser = await launch();
  server = spawn(
    process.env.PYTHON ?? "python3",
    ["-m", "samclip_sdk", "serve", bundle, "--runtime", "onnx", "--port", "0"],
    { cwd: repository, env: { ...process.env, SAMCLIP_API_KEYS: key }, stdio: ["ignore", "ignore", "pipe"] },
  );
  for await (const line of createInterface(server.stderr)) {
    const { event, address } = JSON.parse(line);
    if (event === "serving") {
      url = address;
      break;
    }
  }
  server.stderr.resume();
});
after(async () => {
  await browser.close();
  server.kill();
});

const said = (tab, pattern, { timeout = 30_000, where = "status" } = {}) =>
  tab.waitForFunction(
    ([text, id]) => new RegExp(text).test(document.getElementById(id).textContent),
    [pattern, where],
    { timeout },
  );

test("masks of words, a box and a point are drawn, and nothing is asked elsewhere", async () => {
  const { page: tab, errors, close } = await open(browser, url);
  const asked = new Set();
  tab.on("request", (request) => asked.add(new URL(request.url()).origin));
  await tab.fill("#labels", "dog, boat");
  await tab.setInputFiles("#file", `${images}dog.jpg`);
  await tab.waitForFunction(() => /no API key/.test(document.getElementById("problem").textContent));
  assert.match(errors.splice(0).join(), /401/);
  await tab.fill("#key", key);
  await tab.press("#key", "Tab");
  await said(tab, "1 of 2 labels found: dog");
  const shown = await tab.evaluate(() => {
    const { width, height } = document.getElementById("overlay");
    const copy = new OffscreenCanvas(width, height).getContext("2d");
    copy.drawImage(document.getElementById("overlay"), 0, 0);
    return copy.getImageData(0, 0, width, height).data.filter((value, i) => i % 4 === 3 && value).length / (width * height);
  });
  assert.ok(shown > 0.4 && shown < 0.6, `the dog covers ${shown} of the image`);
  const { x, y, width, height } = await tab.locator("#stage").boundingBox();
  await tab.mouse.move(x + 10, y + 20);
  await tab.mouse.down();
  await tab.mouse.move(x + width - 20, y + height - 10, { steps: 4 });
  await tab.mouse.up();
  await said(tab, "Mask of a box:", { where: "prompted" });
  await tab.mouse.click(x + width / 2, y + height / 2);
  await said(tab, "Mask of 1 point and a box:", { where: "prompted" });
  assert.match(await tab.locator("#status").textContent(), /1 of 2 labels found/);
  await tab.getByRole("button", { name: "Remove points and box" }).click();
  assert.deepEqual([...asked].filter((origin) => origin !== url && origin !== "null"), []);
  await close();
});

/** The content of a file that the page saves. */
async function saved(tab, button) {
  const [download] = await Promise.all([tab.waitForEvent("download"), button.click()]);
  return { name: download.suggestedFilename(), content: readFileSync(await download.path()) };
}

test("objects and everything of the sample image are drawn and saved", async () => {
  const { page: tab, errors, close } = await open(browser, url);
  await tab.getByRole("button", { name: "Sample image" }).click();
  await tab.waitForFunction(() => /no API key/.test(document.getElementById("problem").textContent));
  errors.length = 0;
  await tab.fill("#key", key);
  await tab.press("#key", "Tab");
  await said(tab, "\\d of 3 labels found: cup");
  await tab.getByLabel("each object").check();
  await said(tab, "^\\d+ objects? found");
  const names = await tab.locator("#answers label").allInnerTexts();
  assert.ok(names.some((name) => name.trim() === "cup 1"), names.join());
  const png = await saved(tab, tab.getByRole("button", { name: "PNG of the mask of cup 1" }));
  assert.equal(png.name, "cup-1.png");
  assert.deepEqual([16, 20].map((at) => png.content.readUInt32BE(at)), [600, 400]);
  const coco = await saved(tab, tab.getByRole("button", { name: "COCO JSON" }));
  const { images, categories, annotations } = JSON.parse(coco.content);
  assert.deepEqual([coco.name, images[0].width, images[0].height], ["masks.json", 600, 400]);
  assert.equal(annotations.length, names.length);
  assert.ok(annotations.every(({ category_id }) => categories.some(({ id }) => id === category_id)));
  await tab.getByLabel("everything").check();
  await said(tab, "^\\d+ objects found", { timeout: 120_000 }); // A thousand points are asked.
  assert.ok((await tab.locator("#answers li").count()) > 1);
  await tab.getByLabel("what each word means").check();
  await said(tab, "\\d of 3 labels found: cup");
  await close();
});
