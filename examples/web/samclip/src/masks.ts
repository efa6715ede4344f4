/** Mask logits of the model's frame -> masks in the image. */

/** One byte a pixel, row by row: 1 in the mask, 0 outside. */
export interface Mask {
  readonly data: Uint8Array;
  readonly width: number;
  readonly height: number;
  /** How many pixels are in the mask. */
  readonly area: number;
  /** [left, top, right, bottom], the far edges exclusive; zeros for an empty mask. */
  readonly box: readonly [number, number, number, number];
}

/** Where an image lies in the model's input: at the top left. */
export interface Frame {
  readonly width: number;
  readonly height: number;
  /** The side of the model's input. */
  readonly resolution: number;
  /** Rows and columns of it that the image covers. */
  readonly extent: readonly [number, number];
}

/** The pixels of the image whose logit exceeds the threshold; logits are [side,side]. */
export function toMask(logits: Float32Array, side: number, frame: Frame, threshold: number): Mask {
  const { width, height } = frame;
  const data = new Uint8Array(width * height);
  upscale(logits, side, frame, (row, y) => {
    for (let x = 0; x < width; x++) if (row[x] > threshold) data[y * width + x] = 1;
  });
  return maskOf(data, width, height);
}

/**
 * Scales logits [side,side] to the model's input, cuts the padding off, scales to the image. `onRow`
 * is given each row of it, and must not keep it.
 */
export function upscale(
  logits: Float32Array,
  side: number,
  { resolution, width, height, extent }: Frame,
  onRow: (row: Float32Array, y: number) => void,
): void {
  let model = logits;
  if (side !== resolution) {
    model = new Float32Array(resolution * resolution);
    resize(logits, [side, side], side, [resolution, resolution], (row, y) => model.set(row, y * resolution));
  }
  resize(model, extent, resolution, [height, width], onRow);
}

/** The mask of a byte a pixel. */
export function maskOf(data: Uint8Array, width: number, height: number): Mask {
  let [left, top, right, bottom, area] = [width, height, 0, 0, 0];
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      if (!data[i]) continue;
      area += 1;
      if (x < left) left = x;
      if (x >= right) right = x + 1;
      if (y < top) top = y;
      bottom = y + 1;
    }
  }
  return { data, width, height, area, box: area ? [left, top, right, bottom] : [0, 0, 0, 0] };
}

export function emptyMask({ width, height }: Pick<Mask, "width" | "height">): Mask {
  return { data: new Uint8Array(width * height), width, height, area: 0, box: [0, 0, 0, 0] };
}

/**
 * Bilinear, half-pixel centres, edges repeated, no antialiasing. `stride` is that of the source's rows;
 * `onRow` is given each row of the answer, and must not keep it.
 */
function resize(
  source: Float32Array,
  [rows, columns]: readonly [number, number],
  stride: number,
  [height, width]: readonly [number, number],
  onRow: (row: Float32Array, y: number) => void,
): void {
  const across = taps(columns, width);
  const down = taps(rows, height);
  const out = new Float32Array(width);
  // The last two source rows that were scaled across: each is used for several rows of the output.
  const scaled = [new Float32Array(width), new Float32Array(width)];
  const holds = [-1, -1];
  const scaledRow = (y: number): Float32Array => {
    const row = scaled[y & 1];
    if (holds[y & 1] !== y) {
      holds[y & 1] = y;
      const at = y * stride;
      for (let x = 0; x < width; x++) {
        const share = across.share[x];
        row[x] = source[at + across.first[x]] * (1 - share) + source[at + across.second[x]] * share;
      }
    }
    return row;
  };
  for (let y = 0; y < height; y++) {
    const upper = scaledRow(down.first[y]);
    const lower = scaledRow(down.second[y]);
    const share = down.share[y];
    for (let x = 0; x < width; x++) out[x] = upper[x] * (1 - share) + lower[x] * share;
    onRow(out, y);
  }
}

/** For each of `to` places the two of `from` that it lies between, and the second's share. */
function taps(from: number, to: number) {
  const first = new Int32Array(to);
  const second = new Int32Array(to);
  const share = new Float32Array(to);
  for (let place = 0; place < to; place++) {
    const at = Math.min(Math.max((place + 0.5) * (from / to) - 0.5, 0), from - 1);
    first[place] = Math.floor(at);
    second[place] = Math.min(first[place] + 1, from - 1);
    share[place] = at - first[place];
  }
  return { first, second, share };
}
