import { serve } from "samclip/worker";
import { THREADS } from "./threads";

serve(async ({ executionProviders }) => {
  const ort = executionProviders?.includes("webgpu")
    ? await import("onnxruntime-web/webgpu")
    : await import("onnxruntime-web/wasm");
  ort.env.wasm.numThreads = THREADS;
  return ort;
});
