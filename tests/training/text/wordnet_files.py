"""A WordNet of twelve nouns, or of given ones, in Princeton's own format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

Nouns = Mapping[int, tuple[int, tuple[str, ...], tuple[int, ...], str]]

_NOUNS: Nouns = {
    # offset: (lexicographer file, names, parents, gloss)
    1: (3, ("thing",), (), "whatever there is"),
    10: (5, ("animal", "beast"), (1,), 'a living thing; "animals run"'),
    20: (5, ("dog", "domestic_dog"), (10,), "a member of the genus Canis that barks"),
    21: (5, ("hound",), (20,), "a dog used for hunting"),
    22: (5, ("puppy", "whelp"), (20,), "a young dog"),
    23: (5, ("beagle",), (21,), "a small short-legged hound (of old)"),
    30: (5, ("cat", "true_cat"), (10,), "a feline mammal"),
    31: (5, ("tabby",), (30,), "a grey cat with dark stripes"),
    40: (6, ("crane", "lifting_machine"), (1,), "a machine that lifts heavy things"),
    41: (5, ("crane", "wading_bird"), (10,), "a large long-necked bird"),
    50: (6, ("chair",), (1,), "a seat for one person"),
    60: (7, ("joy",), (1,), "the emotion of great happiness"),
}

_LICENCE = "  1 This software and database is being provided to you, the LICENSEE\n"


def write_wordnet(
    folder: Path,
    nouns: Nouns = _NOUNS,
    *,
    counts: Mapping[tuple[str, int], int] | None = None,
    irregular: Mapping[str, str] | None = None,
) -> Path:
    """Writes WordNet's files of nouns.

    Args:
        folder: to write them into.
        nouns: by their offsets, in the order of their names' senses. Pointers of other kinds are
            written among the hypernyms, as the real ones have.
        counts: how often a lemma means its nth sense.
        irregular: plurals with their singulars.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines, senses = [_LICENCE], dict[str, list[int]]()
    for offset, (file, names, parents, gloss) in nouns.items():
        words = " ".join(f"{name} 0" for name in names)
        pointers = ["%p 00000050 n 0000", *(f"@ {parent:08} n 0000" for parent in parents)]
        lines.append(
            f"{offset:08} {file:02} n {len(names):02x} {words} {len(pointers):03} "
            f"{' '.join(pointers)} | {gloss}  \n"
        )
        for name in names:
            senses.setdefault(name.lower(), []).append(offset)
    (folder / "data.noun").write_text("".join(lines), encoding="utf-8")
    index = [
        f"{name} n {len(found)} 2 @ ~ {len(found)} 0 {' '.join(f'{each:08}' for each in found)}  \n"
        for name, found in sorted(senses.items())
    ]
    (folder / "index.noun").write_text(_LICENCE + "".join(index), encoding="utf-8")
    counted = [f"{name}%1:05:00:: {n} {count}\n" for (name, n), count in (counts or {}).items()]
    (folder / "cntlist.rev").write_text(f"run%2:38:00:: 1 99\n{''.join(counted)}", encoding="utf-8")
    exceptions = [f"{plural} {singular}\n" for plural, singular in (irregular or {}).items()]
    (folder / "noun.exc").write_text("".join(exceptions), encoding="utf-8")
    return folder
