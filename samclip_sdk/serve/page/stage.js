/** The image with its masks; where points and boxes are set, by pointer or keyboard. */

/** @typedef {readonly [x: number, y: number]} Point In pixels of the image. */
/** @typedef {readonly [x0: number, y0: number, x1: number, y1: number]} Box In pixels of the image. */
/** @typedef {{ readonly data: Uint8Array, readonly width: number, readonly height: number, readonly area: number }} Mask */
/**
 * @typedef {object} Asked The prompt that the pointer or the keyboard has set.
 * @property {readonly Point[]} points
 * @property {readonly number[]} pointLabels 1 for a point on the thing, 0 for one that is not.
 * @property {Box | undefined} box
 */

const LONGEST_SIDE = 1024;
/** @type {Asked} */
const NOTHING = { points: [], pointLabels: [], box: undefined };
const DRAG_PX = 6;
/** A line is seen on dark and on light images. */
const OUTLINE = [{ colour: "#000a", line: 4 }, { colour: "#fff", line: 2 }];
/** @type {Record<string, Point>} */
const ARROWS = {
  ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1],
};

export class Stage {
  asked = NOTHING;
  /** @type {Map<string, { mask: Mask, colour: string, canvas: OffscreenCanvas }>} */
  layers = new Map();
  /** @type {Point | undefined} */
  cursor;
  /** @type {Point | undefined} */
  corner;
  /** @type {Box | undefined} */
  dragged;

  /**
   * @param {HTMLElement} element
   * @param {HTMLImageElement} image
   * @param {HTMLCanvasElement} canvas
   * @param {() => number} kind 1 for a point on the thing, 0 for one that is not.
   * @param {(asked: Asked) => void} onAsk
   * @param {(text: string) => void} say
   */
  constructor(element, image, canvas, kind, onAsk, say) {
    this.element = element;
    this.image = image;
    this.canvas = canvas;
    this.kind = kind;
    this.onAsk = onAsk;
    this.say = say;
    element.addEventListener("pointerdown", (event) => this.press(event));
    element.addEventListener("keydown", (event) => this.key(event));
    element.addEventListener("blur", () => ((this.cursor = undefined), this.draw()));
  }

  /**
   * Shows an image; the masks of the last one are gone.
   *
   * @param {Blob} blob
   * @param {string} name
   */
  async show(blob, name) {
    const { image } = this;
    const fresh = new Image();
    fresh.src = URL.createObjectURL(blob);
    await fresh.decode();
    URL.revokeObjectURL(image.src);
    image.src = fresh.src;
    image.alt = name;
    await image.decode();
    const { naturalWidth: width, naturalHeight: height } = image;
    this.element.style.setProperty("--ratio", `${width / height}`);
    const scale = Math.min(1, LONGEST_SIDE / Math.max(width, height));
    this.canvas.width = Math.max(1, Math.round(width * scale));
    this.canvas.height = Math.max(1, Math.round(height * scale));
    this.layers.clear();
    this.asked = NOTHING;
    this.cursor = this.corner = undefined;
    this.draw();
  }

  /**
   * Shows a mask under a name, or removes it.
   *
   * @param {string} name
   * @param {Mask | undefined} mask
   * @param {string} colour
   */
  setLayer(name, mask, colour) {
    const known = this.layers.get(name);
    if (known?.mask === mask && known?.colour === colour) return;
    const { width, height } = this.canvas;
    if (mask) this.layers.set(name, { mask, colour, canvas: tinted(mask, colour, width, height) });
    else this.layers.delete(name);
    this.draw();
  }

  clear() {
    this.corner = undefined;
    this.ask(NOTHING);
  }

  /** @param {Asked} asked */
  ask(asked) {
    this.asked = asked;
    this.draw();
    this.onAsk(asked);
  }

  /**
   * @param {Point} point
   * @param {number} kind
   */
  addPoint(point, kind) {
    const { points, pointLabels, box } = this.asked;
    this.ask({ points: [...points, point], pointLabels: [...pointLabels, kind], box });
  }

  /**
   * @param {Point} corner
   * @param {Point} opposite
   */
  setBox([x0, y0], [x1, y1]) {
    /** @type {Box} */
    const box = [Math.min(x0, x1), Math.min(y0, y1), Math.max(x0, x1), Math.max(y0, y1)];
    if (box[0] < box[2] && box[1] < box[3]) this.ask({ ...this.asked, box });
  }

  /** @param {PointerEvent} down */
  press(down) {
    if (down.button !== 0 || !this.image.naturalWidth) return;
    const start = this.place(down);
    this.element.setPointerCapture(down.pointerId);
    /** @param {PointerEvent} event */
    const far = (event) =>
      Math.hypot(event.clientX - down.clientX, event.clientY - down.clientY) > DRAG_PX;
    /** @param {PointerEvent} event */
    const move = (event) => {
      this.dragged = far(event) ? [...start, ...this.place(event)] : undefined;
      this.draw();
    };
    /** @param {PointerEvent} event */
    const up = (event) => {
      this.element.removeEventListener("pointermove", move);
      this.dragged = undefined;
      if (event.type === "pointercancel") this.draw();
      else if (far(event)) this.setBox(start, this.place(event));
      else this.addPoint(start, down.shiftKey ? 0 : this.kind());
    };
    this.element.addEventListener("pointermove", move);
    this.element.addEventListener("pointerup", up, { once: true });
    this.element.addEventListener("pointercancel", up, { once: true });
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { naturalWidth: width, naturalHeight: height } = this.image;
    const [x, y] = this.cursor ?? [Math.floor(width / 2), Math.floor(height / 2)];
    const arrow = ARROWS[event.key];
    if (arrow) {
      const step = Math.max(1, Math.round(Math.max(width, height) / (event.shiftKey ? 200 : 40)));
      this.cursor = [
        Math.min(Math.max(x + arrow[0] * step, 0), width - 1),
        Math.min(Math.max(y + arrow[1] * step, 0), height - 1),
      ];
      this.say(`Cross at ${this.cursor.join(", ")}`);
      this.draw();
    } else if (event.key === "Enter" || event.key === " ") {
      this.cursor = [x, y];
      this.addPoint(this.cursor, event.shiftKey ? 0 : this.kind());
    } else if (event.key.toLowerCase() === "b") {
      this.cursor = [x, y];
      const first = this.corner;
      this.corner = first ? undefined : this.cursor;
      if (first) this.setBox(first, this.cursor);
      else this.say(`First corner of the box at ${x}, ${y}: move the cross and press B again`);
      this.draw();
    } else if (event.key === "Escape") {
      this.clear();
    } else {
      return;
    }
    event.preventDefault();
  }

  /**
   * The place of an event in the image.
   *
   * @param {PointerEvent} event
   * @returns {Point}
   */
  place(event) {
    const { left, top, width, height } = this.image.getBoundingClientRect();
    /** @type {(at: number, side: number, natural: number) => number} */
    const along = (at, side, natural) =>
      Math.min(Math.max(Math.floor((at / side) * natural), 0), natural - 1);
    return [
      along(event.clientX - left, width, this.image.naturalWidth),
      along(event.clientY - top, height, this.image.naturalHeight),
    ];
  }

  draw() {
    const context = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext("2d"));
    const { width, height } = this.canvas;
    const scale = width / (this.image.naturalWidth || width);
    context.clearRect(0, 0, width, height);
    for (const { canvas } of this.layers.values()) context.drawImage(canvas, 0, 0);
    const unit = Math.max(width, height) / 400;
    /** @param {Path2D} path */
    const stroke = (path) => {
      for (const { colour, line } of OUTLINE) {
        context.strokeStyle = colour;
        context.lineWidth = line * unit;
        context.stroke(path);
      }
    };
    const box = this.dragged ?? this.asked.box;
    if (box) {
      const path = new Path2D();
      path.rect(box[0] * scale, box[1] * scale, (box[2] - box[0]) * scale, (box[3] - box[1]) * scale);
      stroke(path);
    }
    this.asked.points.forEach(([x, y], k) => {
      const path = new Path2D();
      path.arc((x + 0.5) * scale, (y + 0.5) * scale, 5 * unit, 0, 7);
      context.fillStyle = this.asked.pointLabels[k] ? "#1fa36b" : "#d64545";
      stroke(path);
      context.fill(path);
    });
    if (this.cursor) {
      const [x, y] = this.cursor.map((at) => (at + 0.5) * scale);
      const arm = 10 * unit;
      stroke(new Path2D(`M${x - arm} ${y}H${x + arm}M${x} ${y - arm}V${y + arm}`));
    }
  }
}

/**
 * A mask as a coloured layer with a firm edge, in the size that it is shown in.
 *
 * @param {Mask} mask
 * @param {string} colour
 * @param {number} width
 * @param {number} height
 */
function tinted(mask, colour, width, height) {
  const layer = new OffscreenCanvas(width, height);
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (layer.getContext("2d"));
  const pixels = context.createImageData(width, height);
  const values = new Uint32Array(pixels.data.buffer);
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  /** @param {number} alpha */
  const paint = (alpha) => (alpha << 24) | (blue << 16) | (green << 8) | red;
  const [inner, edge] = [paint(110), paint(255)];
  const columns = Int32Array.from({ length: width }, (_, x) => Math.floor(((x + 0.5) * mask.width) / width));
  for (let y = 0; y < height; y++) {
    const row = Math.floor(((y + 0.5) * mask.height) / height) * mask.width;
    for (let x = 0; x < width; x++) if (mask.data[row + columns[x]]) values[y * width + x] = inner;
  }
  for (let y = 1, at = width + 1; y < height - 1; y++, at += 2) {
    for (let x = 1; x < width - 1; x++, at++) {
      if (values[at] && !(values[at - 1] && values[at + 1] && values[at - width] && values[at + width])) {
        values[at] = edge;
      }
    }
  }
  context.putImageData(pixels, 0, 0);
  return layer;
}
