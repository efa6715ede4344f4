/**
 * Decodes COCO's compressed RLE to a mask, a byte a pixel.
 *
 * @param {{ size: readonly [height: number, width: number], counts: string }} rle
 */
export function decode({ size: [height, width], counts }) {
  const data = new Uint8Array(height * width);
  /** @type {number[]} */
  const runs = [];
  let area = 0;
  let pixel = 0; // Down the columns, one after the other.
  for (let at = 0; at < counts.length; ) {
    let run = 0;
    let shift = 0;
    let more = true;
    while (more) {
      const digit = counts.charCodeAt(at++) - 48;
      run |= (digit & 31) << shift;
      more = Boolean(digit & 32);
      shift += 5;
      if (!more && digit & 16 && shift < 32) run |= -1 << shift;
    }
    if (runs.length > 2) run += runs[runs.length - 2];
    if (runs.length % 2) {
      for (let end = pixel + run; pixel < end; pixel++) data[(pixel % height) * width + Math.floor(pixel / height)] = 1;
      area += run;
    } else {
      pixel += run;
    }
    runs.push(run);
  }
  return { data, width, height, area };
}
