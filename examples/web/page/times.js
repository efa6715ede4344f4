/** Times of the built page in Chromium, each round from an empty cache: `node times.js [ROUNDS]`.
 *
 * The files come from this machine, so that next to nothing is spent on the network. */

import os from "node:os";
import { answered, launch, open, serve } from "./tests/site.js";

const rounds = Number(process.argv[2] ?? 5);
const site = await serve();
const browser = await launch();
const times = { "page to first mask": [], "model opened": [], "image": [], "a question": [], "a point": [] };

for (let round = 0; round < rounds; round++) {
  const started = performance.now();
  const { page, close } = await open(browser, site.url);
  await page.waitForFunction(() => document.querySelector("#answers .said")?.textContent.includes("%"), null, {
    timeout: 60_000,
  });
  times["page to first mask"].push(performance.now() - started);
  await answered(page);
  await page.evaluate(() => (document.getElementById("status").textContent = ""));
  await page.fill("#labels", "table");
  await answered(page);
  const { x, y, width, height } = await page.locator("#stage").boundingBox();
  await page.mouse.click(x + width / 2, y + height / 2);
  await page.waitForFunction(() => /1 point:/.test(document.getElementById("prompted").textContent));
  const told = await page.evaluate(() =>
    Object.fromEntries(
      [...document.querySelectorAll("#timings dt")].map((term) => [term.textContent, term.nextSibling.textContent]),
    ),
  );
  const ms = (name) => parseFloat(told[name]) * (told[name].endsWith(" ms") ? 1 : 1000);
  times["model opened"].push(ms("Model opened in"));
  times["image"].push(ms("Image"));
  times["a question"].push(ms("Last labels"));
  times["a point"].push(ms("Points and box"));
  await close();
}

console.log("| | median, ms | least to most |\n|---|---:|---:|");
for (const [name, values] of Object.entries(times)) {
  const sorted = values.map(Math.round).sort((a, b) => a - b);
  console.log(`| ${name} | ${sorted[sorted.length >> 1]} | ${sorted[0]} to ${sorted.at(-1)} |`);
}
console.log(`\n${os.cpus()[0].model}, ${os.cpus().length} threads, Chromium ${browser.version()}, ${rounds} rounds`);
await browser.close();
await site.close();
