/** WebAssembly has threads only where the page is cross-origin isolated. */
export const THREADS = globalThis.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency) : 1;
