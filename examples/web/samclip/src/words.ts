import { cleanText } from "./text.js";

/** A word that pictures taught the model, and its cosine to a label. */
export interface NearWord {
  readonly word: string;
  readonly cosine: number;
}

/** From this cosine on, a label says as much to the model as the nearest word that it was taught. */
const KNOWN_COSINE = 0.75;
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

  /** What to say of a label that says more than a taught word, or is far from all of them. */
  warning(label: string, embedding: Float32Array): string | undefined {
    const nearest = this.nearest(embedding, 3);
    const cleaned = cleanText(label);
    const { word, cosine } = nearest[0];
    if (this.words.includes(cleaned)) return undefined;
    const shown = label.slice(0, SHOWN_LETTERS);
    if (cosine >= KNOWN_COSINE) {
      if (!` ${cleaned} `.includes(` ${word} `)) return undefined;
      return (
        `the model was not taught '${shown}', and takes it for '${word}' (${cosine.toFixed(2)}): ` +
        "it knows nouns, and not what is said of them"
      );
    }
    const named = nearest.map(({ word, cosine }) => `${word} (${cosine.toFixed(2)})`).join(", ");
    return (
      `the model was not taught '${shown}', and may take it for something else; ` +
      `the nearest words that it knows: ${named}`
    );
  }
}

export function dot(first: Float32Array, second: Float32Array): number {
  return first.reduce((sum, value, i) => sum + value * second[i], 0);
}
