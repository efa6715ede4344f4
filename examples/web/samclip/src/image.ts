import { ImageError, reason } from "./errors.js";

/** Rows of RGB or RGBA, 0 to 255, of an upright image. An ImageData is one. */
export interface Pixels {
  readonly data: Uint8Array | Uint8ClampedArray;
  readonly width: number;
  readonly height: number;
}

/** An image: its file's content, a decoded bitmap, or pixels. */
export type RgbImage = Blob | ImageBitmap | Pixels;

/** Decodes an image, turns it upright, and puts it over white where it is transparent. */
export async function toRgb(rgbImage: RgbImage): Promise<Pixels & { readonly data: Uint8Array }> {
  const { data, width, height } = await toPixels(rgbImage);
  const count = width * height;
  if (!(count > 0)) throw new ImageError(`the image is empty: ${width} x ${height} pixels`);
  if (count === 1) throw new ImageError("the image is a single pixel: there is nothing to find in it");
  if (data.length === 3 * count) {
    return { data: new Uint8Array(data.buffer, data.byteOffset, data.length), width, height };
  }
  if (data.length !== 4 * count) {
    throw new ImageError(
      `the pixels are ${data.length} bytes; ${width} x ${height} pixels are ${3 * count} in RGB or ` +
        `${4 * count} in RGBA`,
    );
  }
  const rgb = new Uint8Array(3 * count);
  for (let from = 0, to = 0; to < rgb.length; from += 4, to += 3) {
    const alpha = data[from + 3];
    for (let channel = 0; channel < 3; channel++) {
      const value = data[from + channel];
      rgb[to + channel] = alpha === 255 ? value : Math.round((value * alpha) / 255 + 255 - alpha);
    }
  }
  return { data: rgb, width, height };
}

async function toPixels(rgbImage: RgbImage): Promise<Pixels> {
  if ("data" in rgbImage) return rgbImage;
  try {
    if (rgbImage instanceof ImageBitmap) return draw(rgbImage);
    // Without these, a colour profile or an alpha channel changes the levels.
    const bitmap = await createImageBitmap(rgbImage, {
      colorSpaceConversion: "none",
      premultiplyAlpha: "none",
      imageOrientation: "from-image",
    });
    const pixels = draw(bitmap);
    bitmap.close();
    return pixels;
  } catch (error) {
    throw new ImageError(`the image cannot be read here: ${reason(error)}`);
  }
}

function draw(bitmap: ImageBitmap): Pixels {
  const { width, height } = bitmap;
  if (!width || !height) return { data: new Uint8Array(), width, height };
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  if (!context) throw new Error("there is no canvas");
  context.drawImage(bitmap, 0, 0);
  return context.getImageData(0, 0, width, height);
}
