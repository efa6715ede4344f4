/** The model in its worker, on WebAssembly or, once it has been checked, on WebGPU. */

import type { OnProgress } from "samclip";
import { loadInWorker, type SamClipInWorker } from "samclip/worker";
import { THREADS } from "./threads";

const BUNDLE = new URL("bundle/", document.baseURI).href;
const PACK = "nouns.safetensors";

export interface RunningModel {
  readonly model: SamClipInWorker;
  readonly runsOn: string;
  stop(): void;
}

/** Opens what the page needs: everything but the text encoder, which few labels need. */
export async function start(onProgress: OnProgress, webgpu = false): Promise<RunningModel> {
  const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
  try {
    const model = await loadInWorker(worker, BUNDLE, {
      precision: "fp32",
      onProgress,
      ...(webgpu ? { executionProviders: ["webgpu"] } : {}),
    });
    await model.loadLabels(PACK);
    await model.prepare("encodeImage", "segmentText", "segment", "readLabels");
    const cpu = `WebAssembly, ${THREADS} ${THREADS > 1 ? "threads" : "thread"}`;
    return { model, runsOn: webgpu ? "WebGPU" : cpu, stop: () => worker.terminate() };
  } catch (error) {
    worker.terminate();
    throw error;
  }
}

/** Starts on WebGPU, or throws why the answers there cannot be trusted. */
export async function startOnWebGpu(onProgress: OnProgress): Promise<RunningModel> {
  const gpu = (navigator as { gpu?: { requestAdapter(): Promise<unknown> } }).gpu;
  if (!gpu) throw new Error("this browser has no WebGPU");
  if (!(await gpu.requestAdapter())) throw new Error("this device gives the browser no WebGPU adapter");
  const running = await start(onProgress, true);
  try {
    const checks = await running.model.verify(["segment", "text_to_mask"]);
    const failed = checks.find(({ passed }) => !passed);
    if (failed) throw new Error(`a stored answer does not come out: ${failed.golden}, ${failed.found}`);
  } catch (error) {
    running.stop();
    throw error;
  }
  return running;
}
