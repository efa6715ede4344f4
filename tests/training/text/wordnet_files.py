"""A WordNet of twelve nouns in Princeton's own format."""

from __future__ import annotations

from pathlib import Path

_NOUNS = {
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


def write_wordnet(folder: Path) -> Path:
    """Writes data.noun, with pointers of other kinds among the hypernyms, as the real one has."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [_LICENCE]
    for offset, (file, names, parents, gloss) in _NOUNS.items():
        words = " ".join(f"{name} 0" for name in names)
        pointers = ["%p 00000050 n 0000", *(f"@ {parent:08} n 0000" for parent in parents)]
        lines.append(
            f"{offset:08} {file:02} n {len(names):02x} {words} {len(pointers):03} "
            f"{' '.join(pointers)} | {gloss}  \n"
        )
    (folder / "data.noun").write_text("".join(lines), encoding="utf-8")
    return folder
