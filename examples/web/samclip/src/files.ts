/** The files of a bundle: fetched when needed, checked by sha256, and only then cached. */

import { BundleError, BundleTamperedError, DownloadError, OptionError, reason } from "./errors.js";
import type { BundleFile } from "./manifest.js";

/** Where a bundle is: the address of its folder, or its files by path. */
export type Source = string | URL | Readonly<Record<string, Blob | Uint8Array>>;

/** Of all files that were asked for so far, cached ones included. */
export interface Progress {
  readonly path: string;
  readonly bytesDone: number;
  readonly bytesTotal: number;
}

export type OnProgress = (progress: Progress) => void;

/** What is used of the browser's Cache. */
export type FileCache = Pick<Cache, "match" | "put" | "delete">;

const CACHE_NAME = "samclip";
const MANIFEST = "manifest.json";

export class BundleFiles {
  private bytesDone = 0;
  private bytesTotal = 0;
  private readonly coming = new Map<string, Promise<Uint8Array>>();

  private constructor(
    private readonly base: string | undefined,
    private readonly given: Readonly<Record<string, Blob | Uint8Array>>,
    private readonly cache: FileCache | undefined,
    private readonly onProgress: OnProgress,
  ) {}

  static async open(
    source: Source,
    { cache = true, onProgress = () => {} }: { cache?: boolean | FileCache; onProgress?: OnProgress },
  ): Promise<BundleFiles> {
    if (!globalThis.crypto?.subtle) {
      throw new OptionError("files cannot be checked here: open the page by https or on localhost");
    }
    if (typeof source !== "string" && !(source instanceof URL)) {
      return new BundleFiles(undefined, source, undefined, onProgress);
    }
    const address = `${source}`.replace(/\/*$/, "/");
    const here = globalThis.location?.href;
    if (!URL.canParse(address, here)) throw new OptionError(`${source} is not the address of a folder`);
    // Some pages may not open a cache, such as those in a sandbox.
    const opened = cache === true ? globalThis.caches?.open(CACHE_NAME).catch(() => undefined) : cache;
    return new BundleFiles(new URL(address, here).href, {}, (await opened) || undefined, onProgress);
  }

  /** manifest.json; of the last visit if there is no network. */
  async manifest(): Promise<Uint8Array> {
    if (this.base === undefined) return this.read(MANIFEST);
    const url = this.base + MANIFEST;
    try {
      const response = await fetch(url, { cache: "no-cache" });
      if (!response.ok) throw missing(url, response);
      const content = new Uint8Array(await response.arrayBuffer());
      await this.keep(url, content);
      return content;
    } catch (error) {
      if (error instanceof BundleError) throw error;
      const kept = await this.cache?.match(url);
      if (!kept) throw new DownloadError(`${url} cannot be reached: ${reason(error)}`);
      return new Uint8Array(await kept.arrayBuffer());
    }
  }

  /** The content of a file, checked. */
  get(file: BundleFile): Promise<Uint8Array> {
    const known = this.coming.get(file.path);
    if (known) return known;
    const found = this.load(file);
    this.coming.set(file.path, found);
    const forget = () => this.coming.delete(file.path);
    // Several graphs share files: what no cache holds stays in memory.
    found.then(this.cache || this.base === undefined ? forget : undefined, forget);
    return found;
  }

  private async load(file: BundleFile): Promise<Uint8Array> {
    if (/^([a-z]+:|\/)|(^|\/)\.\.(\/|$)/i.test(file.path)) {
      throw new BundleError(`the manifest names ${file.path}, which is outside the bundle`);
    }
    this.tell(file, 0, file.size_bytes);
    let got = 0;
    const onBytes = (count: number) => this.tell(file, ((got += count), count), 0);
    try {
      if (this.base === undefined) {
        const content = await this.read(file.path);
        await check(file, content);
        onBytes(content.length);
        return content;
      }
      // The address of what is cached holds the sha256: a new revision is another entry.
      const address = this.base + file.path;
      const key = `${address}?sha256=${file.sha256}`;
      const kept = await this.fromCache(file, key);
      if (kept) {
        onBytes(kept.length);
        return kept;
      }
      const content = await download(file, address, onBytes);
      await check(file, content);
      await this.cache?.delete(address, { ignoreSearch: true });
      await this.keep(key, content);
      return content;
    } catch (error) {
      this.bytesTotal -= file.size_bytes;
      this.bytesDone -= got;
      throw error;
    }
  }

  private async fromCache(file: BundleFile, key: string): Promise<Uint8Array | undefined> {
    const kept = await this.cache?.match(key);
    if (!kept) return undefined;
    const content = new Uint8Array(await kept.arrayBuffer());
    return (await sha256(content)) === file.sha256 ? content : undefined;
  }

  private async keep(key: string, content: Uint8Array): Promise<void> {
    // A full disk costs the next visit a download, and this one nothing.
    await this.cache?.put(key, new Response(content as BodyInit)).catch(() => undefined);
  }

  private async read(path: string): Promise<Uint8Array> {
    const found = this.given[path];
    if (!found) throw new BundleError(`${path} is not among the files that were given`);
    return found instanceof Uint8Array ? found : new Uint8Array(await found.arrayBuffer());
  }

  private tell(file: BundleFile, done: number, total: number): void {
    this.bytesDone += done;
    this.bytesTotal += total;
    const { bytesDone, bytesTotal } = this;
    this.onProgress({ path: file.path, bytesDone, bytesTotal });
  }
}

async function download(
  file: BundleFile,
  url: string,
  onBytes: (count: number) => void,
): Promise<Uint8Array> {
  const content = new Uint8Array(file.size_bytes);
  let at = 0;
  const broken = (why: string) =>
    new DownloadError(
      `the download of ${file.path} broke off after ${at} of ${file.size_bytes} bytes (${why}): ` +
        "nothing of it was kept; try again",
    );
  try {
    const response = await fetch(url, { cache: "no-store" });
    if (!response.ok || !response.body) throw missing(url, response);
    const reader = response.body.getReader();
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      if (at + part.value.length > content.length) throw changed(file);
      content.set(part.value, at);
      at += part.value.length;
      onBytes(part.value.length);
    }
  } catch (error) {
    throw error instanceof BundleError ? error : broken(reason(error));
  }
  if (at < content.length) throw broken("the server sent no more");
  return content;
}

async function check(file: BundleFile, content: Uint8Array): Promise<void> {
  if ((await sha256(content)) !== file.sha256) throw changed(file);
}

export async function sha256(content: Uint8Array): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", content as BufferSource);
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function missing(url: string, response: Response): BundleError {
  return new BundleError(`${url} is missing: the server answered ${response.status}`);
}

function changed(file: BundleFile): BundleTamperedError {
  return new BundleTamperedError(
    `${file.path} is not the file that the manifest names: its sha256 differs; copy the bundle again`,
  );
}
