/** The page that `samclip serve` has at /: it differs from this one in its backend alone. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
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
  const said = (pattern) =>
    tab.waitForFunction((text) => new RegExp(text).test(document.getElementById("status").textContent), pattern);
  await said("1 of 2 labels found: dog");
  const shown = await tab.evaluate(() => {
    const { width, height } = document.getElementById("overlay");
    const copy = new OffscreenCanvas(width, height).getContext("2d");
    copy.drawImage(document.getElementById("overlay"), 0, 0);
    return copy.getImageData(0, 0, width, height).data.filter((value, i) => i % 4 === 3 && value).length / (width * height);
  });
  assert.ok(shown > 0.4 && shown < 0.6, `the dog covers ${shown} of the picture`);
  const { x, y, width, height } = await tab.locator("#stage").boundingBox();
  await tab.mouse.move(x + 10, y + 20);
  await tab.mouse.down();
  await tab.mouse.move(x + width - 20, y + height - 10, { steps: 4 });
  await tab.mouse.up();
  await said("Mask of 0 points and a box");
  await tab.mouse.click(x + width / 2, y + height / 2);
  await said("Mask of 1 point and a box");
  await tab.getByRole("button", { name: "Remove points and box" }).click();
  assert.deepEqual([...asked].filter((origin) => origin !== url && origin !== "null"), []);
  await close();
});
