/** Runs textToMask.ts on onnxruntime-node, and holds its masks to a bundle's golden ones. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import {
  type EncodedImage, type LabelPack, type Manifest, readLabelPack, type Reading, TextToMask, withoutPadding,
} from './textToMask';

interface Given {
  manifest: Manifest;
  pack: LabelPack;
  cases: {
    thresholds: { pack: string; thresholds: (number | null)[] | null }[];
    read_as: { pack: string; read_as: (Reading | null)[] | null }[];
  };
}

/** Thresholds and readings of single labels, as Python reads them, and what they do to the labels of a pack. */
async function checkLabels(model: TextToMask, image: EncodedImage, { manifest, pack, cases }: Given): Promise<void> {
  const read = (content: string) =>
    readLabelPack(Uint8Array.from(Buffer.from(content, 'base64')).buffer, { ...manifest, name: 'cases', revision: '1' });
  for (const { pack: content, thresholds } of cases.thresholds) {
    if (thresholds) assert.deepEqual(read(content).thresholds, thresholds);
    else assert.throws(() => read(content));
  }
  for (const { pack: content, read_as: readAs } of cases.read_as) {
    if (readAs) assert.deepEqual(read(content).readAs, readAs);
    else assert.throws(() => read(content));
  }
  const odds = (await model.find(image, pack)).map(({ presence }) => presence);
  const present = async (thresholds: (number | null)[]) =>
    (await model.find(image, { ...pack, thresholds })).map((each) => each.present);
  assert.deepEqual(await present(odds), odds.map(() => true));
  assert.deepEqual(await present(odds.map((each) => each + 1e-4)), odds.map(() => false));
  const usual = Math.fround(manifest.calibration.presence_threshold);
  assert.deepEqual(await present(odds.map(() => null)), odds.map((each) => each >= usual));
  const thresholds = odds.map(() => 0);
  const readAs = odds.map((): Reading => ({ kind: 'unknown', words: ['hat'], cosine: 0.5 }));
  for (const [options, there] of [[{}, false], [{ allowUnknown: true }, true], [{ threshold: 0 }, true]] as const) {
    const found = await model.find(image, { ...pack, thresholds, readAs }, options);
    assert.deepEqual(found.map((each) => each.present), odds.map(() => there));
    assert.deepEqual(found.map((each) => each.readAs), readAs);
    assert.deepEqual(found.map(({ presence }) => presence), odds);
  }
}

/** Which pixels are left of an image's square, and that a model which needs the whole has it. */
async function checkPadding(folder: string, manifest: Manifest): Promise<void> {
  const side = 96;
  const square = new Tensor('uint8', Uint8Array.from({ length: 3 * side * side }, (_, at) => at % 251), [1, 3, side, side]);
  for (const [extent, kept] of [
    [[96, 40], [96, 64]],
    [[33, 96], [64, 96]],
    [[96, 96], [96, 96]],
    [[1, 96], [32, 96]],
  ]) {
    const { data, dims } = withoutPadding(square, new Tensor('float32', extent, [2]));
    assert.deepEqual(dims, [1, 3, ...kept]);
    const [rows, columns] = kept;
    const place = (at: number) =>
      (Math.floor(at / rows / columns) * side + (Math.floor(at / columns) % rows)) * side + (at % columns);
    assert.deepEqual(data, Uint8Array.from({ length: 3 * rows * columns }, (_, at) => place(at) % 251));
  }
  const whole = manifest.tasks.segmentation.resolution;
  for (const kind of ['pyramid', 'tiny_vit']) {
    let seen: readonly number[] = [];
    const encoder = { run: ({ image }: { image: Tensor }) => ((seen = image.dims), {}) };
    const open = async (path: string) =>
      path.includes('image_encoder') ? (encoder as unknown as InferenceSession) : InferenceSession.create(path);
    const model = await TextToMask.load(folder, { ...manifest, model: { image_encoder: { kind } } }, open);
    await model.encode({ width: 90, height: 40, pixels: new Uint8Array(90 * 40 * 3) });
    assert.deepEqual(seen, [1, 3, kind === 'pyramid' ? 32 * Math.ceil((whole * 40) / 90 / 32) : whole, whole]);
  }
}

async function main(folder: string, labelCases: string): Promise<void> {
  const read = (path: string) => Uint8Array.from(readFileSync(`${folder}/${path}`)).buffer;
  const json = (path: string) => JSON.parse(readFileSync(`${folder}/${path}`, 'utf8'));
  const manifest: Manifest = json('manifest.json');
  const cases = JSON.parse(readFileSync(labelCases, 'utf8'));
  const content = read('golden/tensors.safetensors');
  const headerBytes = Number(new DataView(content).getBigUint64(0, true));
  const header = JSON.parse(Buffer.from(content, 8, headerBytes).toString());
  const bytes = (key: string) => {
    const [start, end] = header[key].data_offsets;
    return new Uint8Array(content, 8 + headerBytes + start, end - start);
  };

  const model = await TextToMask.load(folder, manifest, (path) => InferenceSession.create(path));
  const goldens = json('golden/index.json').text_to_mask;
  assert(goldens.length, 'the bundle has no golden of text_to_mask');
  for (const golden of goldens) {
    const [height, width] = header[golden.image].shape;
    const image = await model.encode({ width, height, pixels: bytes(golden.image) });
    const labels = readLabelPack(read(golden.pack), manifest);
    const found = await model.find(image, labels);
    const stored = bytes(golden.masks);
    let [both, either] = [0, 0];
    found.forEach((each, place) => {
      each.mask.forEach((inside, pixel) => {
        const at = place * width * height + pixel;
        const expected = (stored[at >> 3] >> (7 - (at & 7))) & 1;
        both += inside & expected;
        either += inside | expected;
      });
      console.log(`${each.label}: presence ${each.presence.toFixed(4)}`);
      assert(Math.abs(each.presence - golden.presence[place]) < 1e-3, 'the presence is not the golden one');
      assert.equal(each.mask.includes(1), each.present);
    });
    console.log(`IoU ${(both / either).toFixed(4)}`);
    assert(both / either >= 0.99, 'the masks are not the golden ones');
    await checkLabels(model, image, { manifest, pack: labels, cases });
    const none = { labels: [], embeddings: new Float32Array(), thresholds: [], readAs: [] };
    await assert.rejects(model.find(image, none), /at least one/);
  }
  await checkPadding(folder, manifest);
  const pack = read(goldens[0].pack);
  assert.throws(() => readLabelPack(pack, { ...manifest, revision: 'other' }), /not of/);
  const older = Buffer.from(Buffer.from(pack).toString('latin1').replace(/("schema_version": ?)"2"/, '$1"1"'), 'latin1');
  assert.throws(() => readLabelPack(Uint8Array.from(older).buffer, manifest), /schema_version 1; .* save them again/);
  await assert.rejects(model.encode({ width: 0, height: 2, pixels: new Uint8Array() }), /0 x 2/);
  const open = (path: string) => InferenceSession.create(path);
  await assert.rejects(TextToMask.load(folder, { ...manifest, schema_version: 2 }, open), /knows 1/);
  await assert.rejects(TextToMask.load(folder, { ...manifest, graphs: {} }, open), /no ONNX graph letterbox/);
  await model.close();
}

void main(process.argv[2], process.argv[3]);
