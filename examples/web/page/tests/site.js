/** The built page behind a server, and a browser that looks at it. */

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { preview } from "vite";

export const here = (path) => fileURLToPath(new URL(path, import.meta.url));
export const bundle = process.env.SAMCLIP_BUNDLE ?? here("../../../../samclip_sdk/bundle/embedded/samclip-mobile");
export const images = here("../../../images/");

export async function serve() {
  const server = await preview({
    root: here(".."),
    configFile: here("../vite.config.js"),
    preview: { host: "127.0.0.1", port: 0 },
  });
  const close = () =>
    new Promise((done) => (server.httpServer.close(done), server.httpServer.closeAllConnections()));
  return { url: server.resolvedUrls.local[0], close };
}

export function launch(...args) {
  const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
  return chromium.launch({ executablePath, args: ["--no-sandbox", ...args] });
}

/** A tab of its own; `errors` holds what its console said went wrong. `prepare` gets it before it goes to the page. */
export async function open(browser, url, options = {}, prepare = async () => {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, ...options });
  const page = await context.newPage();
  const errors = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) errors.push(message.text());
  });
  page.on("pageerror", (error) => errors.push(error.message));
  await page.route("**/favicon.ico", (route) => route.fulfill({ status: 204 }));
  await prepare(page);
  await page.goto(url);
  const close = async () => {
    assert.deepEqual(errors, []);
    await context.close();
  };
  return { page, errors, close };
}

/** Waits until every label has its answer. */
export async function answered(page) {
  await page.waitForFunction(() => {
    const problem = document.getElementById("problem").textContent;
    if (problem) throw new Error(problem);
    return / labels? found/.test(document.getElementById("status").textContent);
  }, null, { timeout: 60_000 });
}

export async function choose(page, file, labels) {
  // One after the other: an answer tells neither its image nor its labels.
  await page.getByText(/ labels? found/).or(page.locator("#problem:not(:empty)"))
    .waitFor({ timeout: 60_000 });
  for (const act of [() => page.setInputFiles("#file", file), () => page.fill("#labels", labels)]) {
    await page.evaluate(() => (document.getElementById("status").textContent = ""));
    await act();
    await answered(page);
  }
}
