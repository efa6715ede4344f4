import { serve } from "samclip/worker";

serve(async ({ executionProviders }) => {
  const ort = executionProviders?.includes("webgpu")
    ? await import("onnxruntime-web/webgpu")
    : await import("onnxruntime-web/wasm");
  ort.env.wasm.numThreads = threads();
  return ort;
});

function threads(): number {
  return self.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency) : 1;
}
