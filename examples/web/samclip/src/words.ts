import { cleanText } from "./text.js";

/** A word that pictures taught the model, and its cosine to a label. */
export interface NearWord {
  readonly word: string;
  readonly cosine: number;
}

/** From this cosine on, a label says as much to the model as the nearest word that it was taught. */
const KNOWN_COSINE = 0.75;
/** From this share of common letters on, a label is spelled like a word. */
const SPELLED_ALIKE = 0.8;
const SHOWN_LETTERS = 60;

/** The words that pictures taught a model, each with its embedding of unit length. */
export class KnownWords {
  constructor(
    readonly words: readonly string[],
    private readonly rows: readonly Float32Array[],
  ) {}

  /** The words that are nearest to an embedding, the nearest first. */
  nearest(embedding: Float32Array, count: number): NearWord[] {
    const all = this.words.map((word, k) => ({ word, cosine: dot(this.rows[k], embedding) }));
    return all.sort((first, second) => second.cosine - first.cosine).slice(0, count);
  }

  /** What to say of a label that says more or less than its taught word, or is far from all of them. */
  warning(label: string, embedding: Float32Array): string | undefined {
    const nearest = this.nearest(embedding, 3);
    const cleaned = cleanText(label);
    const { word, cosine } = nearest[0];
    if (this.words.includes(cleaned)) return undefined;
    const shown = label.slice(0, SHOWN_LETTERS);
    if (cosine >= KNOWN_COSINE) {
      const taken = `the model was not taught '${shown}', and takes it for '${word}' (${cosine.toFixed(2)})`;
      if (` ${cleaned} `.includes(` ${word} `)) return `${taken}: it knows nouns, and not what is said of them`;
      if (` ${word} `.includes(` ${cleaned} `)) return `${taken}, which may be less than you mean`;
      return undefined;
    }
    const named = nearest.map(({ word, cosine }) => `${word} (${cosine.toFixed(2)})`).join(", ");
    const spelled = this.spelledLike(cleaned);
    return (
      `the model was not taught '${shown}', and may take it for something else; ` +
      `the nearest words that it knows: ${named}` +
      (spelled === undefined ? "" : `; did you mean '${spelled}'?`)
    );
  }

  /** The word that is spelled most like a label, if one is; of equals the last in the alphabet. */
  private spelledLike(label: string): string | undefined {
    const letters = [...label];
    let [best, found]: [number, string | undefined] = [SPELLED_ALIKE, undefined];
    for (const word of this.words) {
      const own = [...word];
      const total = own.length + letters.length;
      if ((2 * Math.min(own.length, letters.length)) / total < best) continue;
      const alike = (2 * shared(own, letters)) / total;
      if (alike < best || (alike === best && found !== undefined && word < found)) continue;
      [best, found] = [alike, word];
    }
    return found;
  }
}

/** How many letters two texts share: those of the longest run, and of what is left and right of it. */
function shared(first: string[], second: string[]): number {
  let [length, left, right] = [0, 0, 0];
  for (let i = 0; i < first.length; i++)
    for (let j = 0; j < second.length; j++) {
      let run = 0;
      while (i + run < first.length && first[i + run] === second[j + run]) run++;
      if (run > length) [length, left, right] = [run, i, j];
    }
  if (length === 0) return 0;
  const before = shared(first.slice(0, left), second.slice(0, right));
  return before + length + shared(first.slice(left + length), second.slice(right + length));
}

export function dot(first: Float32Array, second: Float32Array): number {
  return first.reduce((sum, value, i) => sum + value * second[i], 0);
}
