/**
 * A model in a web worker, so that the page never waits: the same verbs, by messages.
 *
 * The worker's script calls `serve`, the page `loadInWorker`. Answers come in the order of the
 * calls, and an error crosses as one of the same class.
 */

import { GraphError, reason, revive, SamClipError } from "./errors.js";
import type { Progress, Source } from "./files.js";
import type { Ort } from "./ort.js";
import { SamClip, type LoadOptions } from "./samclip.js";
import { verify, type Check, type Part } from "./verify.js";

const VERBS = [
  "prepare", "encodeImage", "segment", "segmentText", "segmentInstances", "classify", "embedText",
  "embedLabels", "loadLabels", "readLabels", "words", "nearestWords", "close",
] as const;
type WorkerVerb = (typeof VERBS)[number];

/** What crosses to a worker: no runtime, and no cache of the caller's. */
export type WorkerOptions = Omit<LoadOptions, "ort" | "cache"> & { readonly cache?: boolean };

export type SamClipInWorker = Pick<SamClip, WorkerVerb | "manifest" | "id" | "precision"> & {
  /** Runs goldens there; see `verify`. */
  verify(parts?: readonly Part[]): Promise<Check[]>;
};

interface Call {
  readonly id: number;
  readonly verb: string;
  readonly args: readonly unknown[];
}

interface Answer {
  readonly id: number;
  readonly value?: unknown;
  readonly error?: { readonly name: string; readonly message: string };
  readonly progress?: Progress;
}

/** Answers a page's calls; `choose` tells which runtime the options need. */
export function serve(choose: (options: WorkerOptions) => Ort | Promise<Ort>): void {
  const port = globalThis as unknown as Worker;
  let model: SamClip;
  let turn: Promise<void> = Promise.resolve();

  async function answer({ verb, args }: Call): Promise<unknown> {
    if (verb === "verify") return verify(model, args[0] as Part[] | undefined);
    if (verb !== "load") return (model as any)[verb](...args);
    const [source, options] = args as [Source, WorkerOptions];
    const onProgress = (progress: Progress) => port.postMessage({ id: 0, progress } satisfies Answer);
    model = await SamClip.load(source, { ...options, ort: await choose(options), onProgress });
    return { manifest: model.manifest, id: model.id, precision: model.precision };
  }

  port.onmessage = ({ data: call }: MessageEvent<Call>) => {
    turn = turn.then(async () => {
      try {
        const value = await answer(call);
        port.postMessage({ id: call.id, value } satisfies Answer, masksIn(value));
      } catch (error) {
        const name = error instanceof Error ? error.name : "Error";
        port.postMessage({ id: call.id, error: { name, message: reason(error) } } satisfies Answer);
      }
    });
  };
}

/** Loads a model in a worker whose script calls `serve`. */
export async function loadInWorker(
  worker: Worker,
  source: Source,
  { onProgress = () => {}, ...options }: WorkerOptions = {},
): Promise<SamClipInWorker> {
  const waiting = new Map<number, { resolve(value: any): void; reject(error: Error): void }>();
  let last = 0;
  worker.onmessage = ({ data: { id, value, error, progress } }: MessageEvent<Answer>) => {
    if (progress) return onProgress(progress);
    const call = waiting.get(id);
    waiting.delete(id);
    if (error) call?.reject(revive(error.name, error.message));
    else call?.resolve(value);
  };
  worker.onerror = ({ message }) => {
    const error = new GraphError(`the worker stopped: ${message ?? "its script cannot be loaded"}`);
    waiting.forEach(({ reject }) => reject(error));
    waiting.clear();
  };
  const call = (verb: string, ...args: unknown[]) =>
    new Promise<any>((resolve, reject) => {
      const id = ++last;
      try {
        worker.postMessage({ id, verb, args } satisfies Call);
        waiting.set(id, { resolve, reject });
      } catch (error) {
        reject(new SamClipError(`the worker cannot be given this: ${reason(error)}`));
      }
    });
  const loaded = await call("load", source instanceof URL ? source.href : absolute(source), options);
  const verbs = [...VERBS, "verify"].map((verb) => [verb, (...args: unknown[]) => call(verb, ...args)]);
  return { ...loaded, ...Object.fromEntries(verbs) };
}

/** An address is of the page, not of the worker's script. */
function absolute(source: Exclude<Source, URL>): Exclude<Source, URL> {
  return typeof source === "string" ? new URL(source, globalThis.location?.href).href : source;
}

/** The memory of masks, which is handed over instead of copied. */
function masksIn(value: unknown): Transferable[] {
  if (!Array.isArray(value)) return [];
  return value.flatMap((each) => (each?.mask ? [each.mask.data.buffer] : []));
}
