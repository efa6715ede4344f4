/** The pieces of a map [side,side]: pixels that touch each other. */

/** Below this share of the largest piece, a piece is a speck, and a hole is filled. */
const SPECK_SHARE = 0.01;
/** How far across the threshold the logits of specks and holes are moved. */
const BARELY = 0.5;

/** The steps to a pixel's neighbours (x, y): the four that share an edge with it come first. */
const NEIGHBOURS = [[0, -1], [-1, 0], [1, 0], [0, 1], [-1, -1], [1, -1], [-1, 1], [1, 1]] as const;

/** OpenCV's distances to a neighbour (DIST_L2, 3 x 3), in 1/65536 pixel as there, so that equal depths stay equal. */
const [STRAIGHT, DIAGONAL] = [0.955, 1.3693].map((pixels) => Math.round(pixels * 65536));
/** The steps (x, y) to those neighbours that come later, row by row, and their distances. */
const LATER = [[1, 0, STRAIGHT], [-1, 1, DIAGONAL], [0, 1, STRAIGHT], [1, 1, DIAGONAL]] as const;

/** The pieces of the pixels that are not 0, each as its pixels' places; in the order of their first pixels. */
export function findPieces(inside: Uint8Array, side: number, connectivity: 4 | 8): number[][] {
  const steps = NEIGHBOURS.slice(0, connectivity);
  const left = inside.slice();
  const pieces: number[][] = [];
  for (let start = 0; start < left.length; start++) {
    if (!left[start]) continue;
    left[start] = 0;
    const piece = [start];
    for (const place of piece) { // It grows meanwhile.
      for (const [across, down] of steps) {
        const x = (place % side) + across;
        const next = place + down * side + across;
        if (x < 0 || x >= side || !left[next]) continue;
        left[next] = 0;
        piece.push(next);
      }
    }
    pieces.push(piece);
  }
  return pieces;
}

/** Removes specks, and fills small holes: their logits are moved just across the threshold. */
export function withoutSpecks(logits: Float32Array, side: number, threshold: number): Float32Array {
  const cleaned = logits.slice();
  const pieces = findPieces(Uint8Array.from(logits, (logit) => Number(logit > threshold)), side, 8);
  const least = SPECK_SHARE * Math.max(0, ...pieces.map(({ length }) => length));
  const moveSmall = (found: readonly number[][], to: number) => {
    for (const place of found.filter(({ length }) => length < least).flat()) cleaned[place] = to;
  };
  moveSmall(pieces, threshold - BARELY);
  const around = Uint8Array.from(cleaned, (logit) => Number(logit <= threshold));
  moveSmall(findPieces(around, side, 4), threshold + BARELY);
  return cleaned;
}

/** The place of a piece that is farthest from its edge; the map's border is no edge. */
export function deepest(piece: readonly number[], side: number): number {
  const places = Int32Array.from(piece).sort();
  const depth = new Float64Array(side * side);
  for (const place of places) depth[place] = Infinity;
  const measure = (place: number, direction: 1 | -1) => {
    for (const [across, down, distance] of LATER) {
      const x = (place % side) + direction * across;
      const next = depth[place + direction * (down * side + across)];
      if (x >= 0 && x < side && next + distance < depth[place]) depth[place] = next + distance;
    }
  };
  for (const place of places) measure(place, -1);
  for (const place of places.toReversed()) measure(place, 1);
  return places.reduce((best, place) => (depth[place] > depth[best] ? place : best));
}
