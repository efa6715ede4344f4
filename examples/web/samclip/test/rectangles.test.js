import assert from "node:assert/strict";
import { test } from "node:test";

import { coveredPixels, upperLeft, wholeMask, wholePatches } from "../dist/rectangles.js";

test("whole steps hold the image", () => {
  assert.deepEqual(coveredPixels([342, 512]), [352, 512]);
  assert.deepEqual(coveredPixels([512, 1]), [512, 32]);
  assert.deepEqual(coveredPixels([384, 512]), [384, 512]);
});

test("the upper left of each map is kept, and a whole one is not copied", () => {
  const maps = { data: Uint8Array.from({ length: 18 }, (_, k) => k), dims: [1, 2, 3, 3] };
  const { data, dims } = upperLeft(maps, [2, 1]);
  assert.deepEqual([...data], [0, 3, 9, 12]);
  assert.deepEqual(dims, [1, 2, 2, 1]);
  assert.equal(upperLeft(maps, [3, 3]).data, maps.data);
});

test("what is restored lies where it was", () => {
  const patches = Float32Array.from([1, 2, 3, 4]);
  assert.deepEqual([...wholePatches(patches, [1, 2], 2)], [1, 2, 3, 4, 0, 0, 0, 0]);
  assert.deepEqual([...wholeMask(Float32Array.from([1, 2]), [1, 2], 3)], [1, 2, 2, 1, 2, 2, 1, 2, 2]);
  assert.deepEqual([...wholeMask(Float32Array.from([1, 2]), [2, 1], 2)], [1, 1, 2, 2]);
});
