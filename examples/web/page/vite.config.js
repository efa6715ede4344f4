import { createHash } from "node:crypto";
import { cpSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const bundle = process.env.SAMCLIP_BUNDLE ?? here("../../../samclip_sdk/bundle/embedded/samclip-mobile");

// WebAssembly has threads only on pages with these headers.
const headers = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};

/** Puts the model beside the page, and writes the service worker with the names of the page's files. */
function site() {
  let folder;
  return {
    name: "samclip-site",
    configResolved: ({ build }) => void (folder = here(build.outDir)),
    configureServer({ middlewares }) {
      middlewares.use("/bundle", ({ url }, response, next) => {
        try {
          response.end(readFileSync(join(bundle, new URL(url, "http://localhost").pathname)));
        } catch {
          next();
        }
      });
    },
    writeBundle() {
      const names = readdirSync(folder, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile() && !/asyncify|webgpu|^sw\.js$/.test(entry.name))
        .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1));
      const version = createHash("sha256");
      for (const name of names) version.update(name).update(readFileSync(join(folder, name)));
      const shell = JSON.stringify(["./", ...names]);
      const head = `const SHELL = ${shell};\nconst VERSION = "${version.digest("hex").slice(0, 16)}";\n`;
      writeFileSync(join(folder, "sw.js"), head + readFileSync(here("src/sw.js"), "utf-8"));
      cpSync(bundle, join(folder, "bundle"), { recursive: true });
    },
  };
}

export default defineConfig({
  base: "./",
  worker: { format: "es" },
  // The page's own parts lie in the Python package, and its image among the examples.
  server: { headers, fs: { allow: [here("../../..")] } },
  preview: { headers },
  plugins: [site()],
});
