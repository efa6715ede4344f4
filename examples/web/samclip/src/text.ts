/** What texts may be, and how they become token ids: CLIP's cleaning, a bundle's tokenizer. */

import { TextError } from "./errors.js";

const MAX_LETTERS = 4096;
const WHITE_SPACE = /[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/u;
const LIGATURES: Record<string, string> = {
  ﬀ: "ff", ﬁ: "fi", ﬂ: "fl", ﬃ: "ffi", ﬄ: "ffl", ﬅ: "ſt", ﬆ: "st", Ĳ: "IJ", ĳ: "ij", ŉ: "ʼn",
  Ǆ: "DŽ", ǅ: "Dž", ǆ: "dž", Ǉ: "LJ", ǈ: "Lj", ǉ: "lj", Ǌ: "NJ", ǋ: "Nj", ǌ: "nj", Ǳ: "DZ",
  ǲ: "Dz", ǳ: "dz",
};

// HTML's names for 160 to 255, in order; these may also come without a semicolon.
const LATIN =
  "nbsp iexcl cent pound curren yen brvbar sect uml copy ordf laquo not shy reg macr deg plusmn " +
  "sup2 sup3 acute micro para middot cedil sup1 ordm raquo frac14 frac12 frac34 iquest Agrave " +
  "Aacute Acirc Atilde Auml Aring AElig Ccedil Egrave Eacute Ecirc Euml Igrave Iacute Icirc Iuml " +
  "ETH Ntilde Ograve Oacute Ocirc Otilde Ouml times Oslash Ugrave Uacute Ucirc Uuml Yacute THORN " +
  "szlig agrave aacute acirc atilde auml aring aelig ccedil egrave eacute ecirc euml igrave iacute " +
  "icirc iuml eth ntilde ograve oacute ocirc otilde ouml divide oslash ugrave uacute ucirc uuml " +
  "yacute thorn yuml";
const ENTITIES = new Map<string, string>([
  ...LATIN.split(" ").map((name, place): [string, string] => [name, String.fromCharCode(160 + place)]),
  ["amp", "&"], ["lt", "<"], ["gt", ">"], ["quot", '"'],
]);
const WITH_SEMICOLON = new Map<string, string>([
  ["apos", "'"], ["ndash", "–"], ["mdash", "—"], ["lsquo", "‘"], ["rsquo", "’"], ["ldquo", "“"],
  ["rdquo", "”"], ["hellip", "…"], ["euro", "€"], ["trade", "™"],
]);

/**
 * Cleans a text as CLIP does: ftfy's fixes of quotes, widths and ligatures, HTML entities twice,
 * white space, lower case. ftfy also repairs texts that were decoded wrongly; this does not.
 */
export function cleanText(text: string): string {
  const fixed = unescapeHtml(unescapeHtml(fixText(text.slice(0, MAX_LETTERS))));
  return fixed.split(WHITE_SPACE).filter(Boolean).join(" ").toLowerCase();
}

function fixText(text: string): string {
  return text
    .replace(/[ﬀ-ﬆĲĳŉǄ-ǌǱ-ǳ]/gu, (letter) => LIGATURES[letter])
    .replace(/[\uff01-\uffef\u3000]/gu, (letter) => letter.normalize("NFKC"))
    .replace(/[\u02bc\u2018-\u201b]/gu, "'")
    .replace(/[\u201c-\u201f]/gu, '"')
    .replace(/\r\n|[\r\u2028\u2029\x85]/gu, "\n")
    .replace(/[\x00-\x08\x0b\x0e-\x1f\x7f\u206a-\u206f\ufeff\ufff9-\ufffb]/gu, "")
    .normalize("NFC");
}

/** Numbers, and the names of Latin letters and common signs; not all 2,231 names of HTML 5. */
function unescapeHtml(text: string): string {
  return text.replace(/&(?:#(\d+|[xX][\da-fA-F]+);?|([a-zA-Z]+\d*)(;?))/gu, (whole, digits, name, end) => {
    if (digits) {
      const code = Number(/^x/i.test(digits) ? `0${digits.toLowerCase()}` : digits);
      return code > 0 && code <= 0x10ffff ? String.fromCodePoint(code) : "\ufffd";
    }
    return ENTITIES.get(name) ?? (end && WITH_SEMICOLON.get(name)) ?? whole;
  });
}

/** The texts, or the one if a single string was given. */
export function checkTexts(texts: string | readonly string[]): string[] {
  const checked = typeof texts === "string" ? [texts] : [...texts];
  if (!checked.length) throw new TextError("there is no text: give at least one label");
  checked.forEach((text, place) => {
    if (typeof text !== "string") throw new TextError(`text ${place} is a ${typeof text}, not a string`);
    if (text.includes("\0")) throw new TextError(`text ${place} holds a NUL character`);
    if (/\p{Surrogate}/u.test(text)) throw new TextError(`text ${place} holds half of a surrogate pair`);
    if (!cleanText(text)) throw new TextError(`text ${place} is empty`);
  });
  return checked;
}

/** The labels; each names a class of its own. */
export function checkLabels(labels: string | readonly string[]): string[] {
  const checked = checkTexts(labels);
  for (const label of checked) {
    if (label.includes(",")) throw new TextError(`the label "${label}" has a comma: give a label for each word`);
  }
  const places = new Map<string, string>();
  for (const label of checked) {
    const cleaned = cleanText(label);
    const first = places.get(cleaned);
    if (first === label) throw new TextError(`the label "${label}" is there twice`);
    if (first !== undefined) {
      throw new TextError(`the labels "${first}" and "${label}" are the same: case and spaces do not count`);
    }
    places.set(cleaned, label);
  }
  return checked;
}

export type Tokenize = (text: string) => Int32Array;

/** Opens a bundle's tokenizer.json; a text too long is cut before its end token. */
export async function openTokenizer(content: Uint8Array, contextLength: number): Promise<Tokenize> {
  // Not fetched by a page whose labels all come from packs.
  const { Tokenizer } = await import("@huggingface/tokenizers");
  const tokenizer = new Tokenizer(JSON.parse(new TextDecoder().decode(content)), {});
  return (text) => {
    const ids = tokenizer.encode(cleanText(text)).ids;
    const padded = new Int32Array(contextLength);
    padded.set(ids.slice(0, contextLength));
    if (ids.length > contextLength) padded[contextLength - 1] = ids[ids.length - 1];
    return padded;
  };
}

/** Scales a row to unit length. */
export function normalize(row: ArrayLike<number>): Float32Array {
  const values = Float64Array.from(row);
  const length = Math.max(Math.sqrt(values.reduce((sum, value) => sum + value * value, 0)), 1e-6);
  return Float32Array.from(values, (value) => value / length);
}
