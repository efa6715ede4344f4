/**
 * What a text means among the words that a model was taught: a bundle's `words.json`.
 *
 * A text is a taught word; the same as one, in another word, number or spelling; read as others, its
 * kind, its general word's kinds or its head noun; or not known. Everything that a language needs for
 * that is in the table, so that all packages read texts alike.
 */

import { BundleError } from "./errors.js";

/** A word that images taught the model, and its cosine to a label. */
export interface NearWord {
  readonly word: string;
  readonly cosine: number;
}

/** What a model takes a label for. */
export interface Reading {
  /**
   * "taught"; "same": a synonym, plural or spelling of a taught word; "read_as": its kind, its head
   * noun or its general word; "unknown".
   */
  readonly kind: "taught" | "same" | "read_as" | "unknown";
  /** The taught words that answer for it, any of them; of an unknown label the nearest. */
  readonly words: readonly string[];
  /** Of an unknown label and the nearest word; not there of any other. */
  readonly cosine?: number;
}

type Groups = Readonly<Record<string, readonly string[]>>;

/** `words.json`. Texts are clean; targets are taught words. */
export interface WordTable {
  /** Taught word -> texts that mean the same. */
  readonly same: Groups;
  /** Taught word -> texts that it answers for, though they say less or more. */
  readonly read_as: Groups;
  /** Text -> the taught words of which each answers for it. */
  readonly any_of: Groups;
  /** Texts that are not read by their last word, or by any other. */
  readonly unknown: readonly string[];
  /** Words after which a text says more of what stands before them, such as "with". */
  readonly joints: readonly string[];
  /** Words whose "of" says what is measured: a slice of bread is bread. */
  readonly measures: readonly string[];
  /** First words that say nothing here, such as "a". */
  readonly articles: readonly string[];
}

const SCHEMA_VERSION = 1;
const MAX_LETTERS = 100;

const isText = (each: unknown) => typeof each === "string" && each !== "" && [...each].length <= MAX_LETTERS;
const isTexts = (found: unknown) => Array.isArray(found) && found.every(isText);
const isGroups = (found: unknown) =>
  isObject(found) && Object.keys(found).every(isText) && Object.values(found).every(isTexts);
const FIELDS: Record<string, (found: unknown) => boolean> = {
  schema_version: (found) => found === undefined || found === SCHEMA_VERSION,
  same: isGroups,
  read_as: isGroups,
  any_of: isGroups,
  unknown: isTexts,
  joints: isTexts,
  measures: isTexts,
  articles: isTexts,
};

/** Reads a `words.json`; `name` is what messages call it. */
export function readTable(content: Uint8Array, name: string): WordTable {
  let found: unknown;
  try {
    found = JSON.parse(new TextDecoder().decode(content));
  } catch {
    // Told below.
  }
  const table = isObject(found) ? found : {};
  const wrong =
    Object.keys(FIELDS).find((field) => !FIELDS[field](table[field])) ??
    Object.keys(table).find((field) => !Object.hasOwn(FIELDS, field));
  if (wrong === undefined) return table as unknown as WordTable;
  throw new BundleError(`${name} is no table of words that this version of samclip reads: see its ${wrong}`);
}

function isObject(found: unknown): found is Record<string, unknown> {
  return typeof found === "object" && found !== null && !Array.isArray(found);
}

/** Reads texts by a table, for a model that was taught `words`; targets that are not among them are left out. */
export class WordReader {
  private readonly words: ReadonlySet<string>;
  /** The spelling of each text in the table, without spaces and hyphens -> its reading. */
  private readonly index = new Map<string, Reading>();

  constructor(
    private readonly table: WordTable,
    words: readonly string[],
  ) {
    this.words = new Set(words);
    for (const [text, reading] of this.entries()) {
      const key = keyOf(text);
      if (!this.index.has(key)) this.index.set(key, reading);
    }
  }

  /** Reads a clean text; undefined if it is not known, and its nearest words must be looked up. */
  read(text: string): Reading | undefined {
    let found = this.find(text);
    let parts = text.split(" ");
    if (!found && parts.length > 1 && this.table.articles.includes(parts[0])) {
      parts = parts.slice(1);
      found = this.find(parts.join(" "));
      if (found?.kind === "taught") found = { ...found, kind: "same" };
    }
    return found ? known(found) : this.readHead(parts);
  }

  /** Reads the longest end of what a text's parts name: its head noun is its last word. */
  private readHead(parts: readonly string[]): Reading | undefined {
    const head = this.head(parts);
    for (const start of head.keys()) {
      const found = this.find(head.slice(start).join(" "));
      if (found) return known({ ...found, kind: "read_as" });
    }
    return undefined;
  }

  /** The parts before the first joint; after "of", if a measure stands before it. */
  private head(parts: readonly string[]): readonly string[] {
    const { joints, measures, articles } = this.table;
    const joint = parts.findIndex((part, place) => place > 0 && joints.includes(part));
    if (joint < 0) return parts;
    const [before, after] = [parts.slice(0, joint), parts.slice(joint + 1)];
    const last = before[joint - 1];
    const measured = [last, ...singulars(last)].some((each) => measures.includes(each));
    if (parts[joint] === "of" && after.length && measured) {
      return this.head(articles.includes(after[0]) ? after.slice(1) : after);
    }
    return before;
  }

  /** Looks a text up: as it is, in another spelling, in the singular. No words: not known. */
  private find(text: string): Reading | undefined {
    if (this.words.has(text)) return { kind: "taught", words: [text] };
    for (const form of [text, ...singulars(text)]) {
      const found = this.index.get(keyOf(form));
      if (found) return found;
    }
    return undefined;
  }

  /** Yields what is in the table; of two readings of one text the first counts. */
  private *entries(): Generator<[string, Reading]> {
    const { same, read_as, any_of, unknown } = this.table;
    for (const word of this.words) yield [word, { kind: "same", words: [word] }];
    for (const text of unknown) yield [text, { kind: "unknown", words: [] }];
    for (const [text, kinds] of Object.entries(any_of)) {
      const words = kinds.filter((each) => this.words.has(each));
      yield [text, { kind: words.length ? "read_as" : "unknown", words }];
    }
    for (const [kind, groups] of [["same", same], ["read_as", read_as]] as const) {
      for (const [word, texts] of Object.entries(groups)) {
        if (this.words.has(word)) for (const text of texts) yield [text, { kind, words: [word] }];
      }
    }
  }
}

function known(reading: Reading): Reading | undefined {
  return reading.words.length ? reading : undefined;
}

/** A text without what spellings differ in: "t shirt", "t-shirt" and "tshirt" are one. */
function keyOf(text: string): string {
  return text.replace(/[- ]/g, "");
}

/** What a text may be the plural of; most of them are no words, and so in no table. */
function singulars(text: string): string[] {
  if ([...text].length <= 3 || !text.endsWith("s") || text.endsWith("ss")) return [];
  const forms = [text.slice(0, -1)];
  if (text.endsWith("es")) forms.push(text.slice(0, -2));
  if (text.endsWith("ies")) forms.push(`${text.slice(0, -3)}y`);
  if (text.endsWith("ves")) forms.push(`${text.slice(0, -3)}f`, `${text.slice(0, -3)}fe`);
  return forms;
}

/** The words that images taught a model, each with its embedding of unit length. */
export class KnownWords {
  private readonly thresholds: ReadonlyMap<string, number | null>;
  private readonly reader: WordReader | undefined;

  /**
   * @param thresholds for each word, the presence from which it is in an image; null for the bundle's.
   * @param table what other texts mean; without one, each text speaks for itself.
   */
  constructor(
    readonly words: readonly string[],
    private readonly rows: readonly Float32Array[],
    thresholds: readonly (number | null)[] = [],
    table?: WordTable,
  ) {
    this.thresholds = new Map(words.map((word, k) => [word, thresholds[k] ?? null]));
    this.reader = table && new WordReader(table, words);
  }

  /** Whether there is a table by which labels are read. */
  get reads(): boolean {
    return this.reader !== undefined;
  }

  /** The words that are nearest to an embedding, the nearest first. */
  nearest(embedding: Float32Array, count: number): NearWord[] {
    const all = this.words.map((word, k) => ({ word, cosine: dot(this.rows[k], embedding) }));
    return all.sort((first, second) => second.cosine - first.cosine).slice(0, count);
  }

  /** What the model takes a clean label for by its table; undefined if it is not known. */
  read(label: string): Reading | undefined {
    return this.reader?.read(label);
  }

  /** The reading of a label that is not known, by its own embedding. */
  unknown(embedding: Float32Array): Reading {
    const [{ word, cosine }] = this.nearest(embedding, 1);
    return { kind: "unknown", words: [word], cosine };
  }

  /** A word's own threshold; null if it has none. */
  threshold(word: string): number | null {
    return this.thresholds.get(word) ?? null;
  }
}

export function dot(first: Float32Array, second: Float32Array): number {
  return first.reduce((sum, value, i) => sum + value * second[i], 0);
}
