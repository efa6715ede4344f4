"""What packages in other languages must answer about labels, as this package answers it.

    python -m tests.label_cases

writes `examples/label_cases.json`, which the tests of the packages read.
"""

from __future__ import annotations

import base64
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

from samclip_sdk.engine.exclusive import settle
from samclip_sdk.image.packed_masks import PackedMask
from samclip_sdk.text.known_words import KnownWords
from samclip_sdk.text.tokenizer import clean_text
from samclip_sdk.text.vocabulary import PackMetadata, Vocabulary
from samclip_sdk.text.word_table import WordReader, WordTable

CASES = Path(__file__).resolve().parents[1] / "examples" / "label_cases.json"

SIZE = (12, 16)
"""Height and width of the images in which masks compete."""

COMPETING = [
    ("the likelier one of two that are the same", [(0.6, [2, 2, 12, 10]), (0.9, [3, 2, 12, 10])]),
    ("the first one of equals", [(0.5, [0, 0, 8, 8]), (0.5, [2, 0, 10, 8])]),
    ("an overlap", [(0.9, [0, 0, 8, 8]), (0.8, [6, 0, 16, 8])]),
    ("a part of a likelier one", [(0.9, [0, 0, 10, 10]), (0.8, [2, 2, 6, 6])]),
    ("a likelier part", [(0.7, [0, 0, 10, 10]), (0.8, [2, 2, 6, 6])]),
    ("four fifths are covered", [(0.9, [0, 0, 8, 10]), (0.8, [0, 0, 10, 10])]),
    ("less than four fifths are covered", [(0.9, [0, 0, 5, 2]), (0.8, [2, 0, 6, 2])]),
    ("an IoU of a half", [(0.9, [0, 0, 4, 6]), (0.8, [0, 2, 4, 8])]),
    ("covered by two", [(0.9, [0, 0, 4, 8]), (0.8, [4, 0, 8, 8]), (0.7, [1, 0, 7, 8])]),
    (
        "the same as one that was cut",
        [(0.9, [0, 0, 16, 4]), (0.8, [0, 2, 9, 8]), (0.7, [0, 3, 9, 11])],
    ),
    ("no pixel", [(0.9, [0, 0, 4, 4]), (0.8, [2, 2, 2, 2])]),
]

TABLE = WordTable(
    same={
        "sofa": ("couch",),
        "eyeglasses": ("glasses",),
        "person": ("people",),
        "grapes": ("grape",),
    },
    read_as={"person": ("woman", "child"), "canoe": ("kayak",), "glass": ("tumbler",)},
    any_of={"animal": ("dog", "cat", "yeti"), "monster": ("yeti",)},
    unknown=("hot plate", "prairie dog"),
    joints=("of", "with", "on", "in"),
    measures=("slice", "loaf", "group"),
    articles=("a", "the", "my"),
)
WORDS = (
    *("dog", "cat", "sofa", "person", "canoe", "plate", "bread", "hat", "cup", "glass", "grapes"),
    *("hot dog", "t-shirt", "eyeglasses", "leaf", "knife", "berry", "dish", "dress", "bow tie"),
)
READ = (
    *("dog", "dogs", " A  Dog", "my dogs", "couch", "couches", "the couch", "glass", "glasses"),
    *("tumblers", "people", "grape", "grapes", "woman", "a child", "kayaks", "animal", "animals"),
    *("monster", "yeti", "hot dog", "hotdogs", "red hot dog", "hot plate", "hot plates"),
    *(
        "old hot-plate",
        "prairie dogs",
        "plate",
        "plates",
        "tshirt",
        "t shirts",
        "bow-tie",
        "bowties",
    ),
    *("slice of bread", "slices of the bread", "a loaf of my bread", "group of people on a sofa"),
    *("cup of coffee", "coffee cup", "hard hat", "hat with a red feather", "red dog in the sofa"),
    *("leaves", "knives", "berries", "dishes", "dresses", "dres", "s", "of", "a", "the of"),
    *(
        "router",
        "dog router",
        "dog of",
        "slice of",
        "of bread",
        "with dog",
        "star",
        "dog's",
        "Ärmel",
    ),
)
"""Labels that are read by the table for a model of these words."""

COSINES = [
    ("zog", [0.5, 0.5, 0.3, 0.1]),
    ("Hund", [0.1, -0.2, 0.0, 0.3]),
    ("x", [0.2, 0.2, 0.2, 0.2]),
]
"""Labels that are not known, with the cosines of the first four words."""

PACKED = ("dog", "cat", '"thresholds"')
"""The labels of the packs, which the model `cases` 1 made."""

THRESHOLDS = [
    ("none", None),
    ("one's own, and the bundle's", "[0.25, null, 0.7]"),
    ("the least, the most and the bundle's", "[0, 1, null]"),
    ("the bundle's alone", "[null,null,null]"),
    ("too few", "[0.5, null]"),
    ("too many", "[0.5, null, null, 0.5]"),
    ("more than 1", "[null, 1.5, null]"),
    ("less than 0", "[-0.5, null, null]"),
    ("a text", '[null, null, "0.5"]'),
    ("a flag", "[true, null, null]"),
    ("an object", '{"dog": 0.5}'),
    ("half a list", "[0.5, null"),
]

READ_AS = [
    ("nothing to tell", None),
    ("nulls alone", "[null, null, null]"),
    (
        "one read as another, and one that is not known",
        '[{"kind": "read_as", "words": ["hat"]}, null, '
        '{"kind": "unknown", "words": ["modem"], "cosine": 0.25}]',
    ),
    ("several words", '[{"kind": "read_as", "words": ["dog", "cat"]}, null, null]'),
    ("no words", '[{"kind": "read_as", "words": []}, null, null]'),
    ("no cosine", '[{"kind": "unknown", "words": ["modem"]}, null, null]'),
    ("a cosine of a known one", '[{"kind": "read_as", "words": ["hat"], "cosine": 1}, null, null]'),
    ("a cosine of 2", '[{"kind": "unknown", "words": ["modem"], "cosine": 2}, null, null]'),
    ("another kind", '[{"kind": "taught", "words": ["hat"]}, null, null]'),
    ("another field", '[{"kind": "read_as", "words": ["hat"], "why": "x"}, null, null]'),
    ("a text", '["hat", null, null]'),
    ("too few for the labels", "[null, null]"),
    ("half an object", '[{"kind": "read_as", '),
]


def answers() -> dict[str, Any]:
    """The questions, each with this package's answer."""
    rng = np.random.default_rng(0)
    drawn = [
        (f"drawn {index}", [(round(float(odds), 2), _drawn_box(rng)) for odds in rng.random(5)])
        for index in range(6)
    ]
    return {
        "exclusive": [_competing(name, masks) for name, masks in [*COMPETING, *drawn]],
        "tables": [{"words": WORDS, "table": TABLE.model_dump(mode="json")}],
        "readings": [_read(label) for label in READ],
        "unknown": [_unknown(label, cosines) for label, cosines in COSINES],
        "thresholds": [_packed(name, "thresholds", stored) for name, stored in THRESHOLDS],
        "read_as": [_packed(name, "read_as", stored) for name, stored in READ_AS],
    }


def _drawn_box(rng: np.random.Generator) -> list[int]:
    top, bottom = sorted(rng.choice(SIZE[0] + 1, 2, replace=False).tolist())
    left, right = sorted(rng.choice(SIZE[1] + 1, 2, replace=False).tolist())
    return [left, top, right, bottom]


def _competing(name: str, masks: list[tuple[float, list[int]]]) -> dict[str, Any]:
    """`owners` has the number of the mask that keeps a pixel, or a dot."""
    odds = np.array([each for each, _ in masks], np.float32)
    kept = settle(
        [_rectangle(box) for _, box in masks],
        labels=range(len(masks)),
        likelihoods=odds,
    )
    owners = np.full(SIZE, ".")
    for index, left in kept.items():
        pixels = np.zeros(SIZE, bool)
        left.draw(pixels)
        owners[pixels] = str(index)
    return {
        "name": name,
        "size": SIZE,
        "presence": [each for each, _ in masks],
        "boxes": [box for _, box in masks],
        "kept": sorted(kept),
        "owners": ["".join(row) for row in owners],
    }


def _rectangle(box: list[int]) -> PackedMask:
    left, top, right, bottom = box
    return PackedMask.pack(np.ones((bottom - top, right - left), bool), top=top, left=left)


def _read(label: str) -> dict[str, Any]:
    """`reading` is null if the label is not known."""
    found = WordReader(TABLE, WORDS).read(clean_text(label))
    return {"label": label, "reading": None if found is None else found.to_dict()}


def _unknown(label: str, cosines: list[float]) -> dict[str, Any]:
    """The words are axes, and the label has a further one, so that it has unit length."""
    rest = np.sqrt(max(0.0, 1 - float(np.square(cosines).sum())))
    embedding = np.array([*cosines, rest], np.float32)
    rows = np.eye(len(cosines) + 1, dtype=np.float32)[: len(cosines)]
    known = KnownWords(WORDS[: len(cosines)], rows)
    return {
        "words": known.words,
        "embeddings": rows.tolist(),
        "label": label,
        "embedding": embedding.tolist(),
        "nearest": known.nearest(embedding),
        "reading": known.unknown(embedding).to_dict(),
    }


def _packed(name: str, field: str, stored: str | None) -> dict[str, Any]:
    """`pack` is the file in base64; what it has for each label is null if it must be refused."""
    rows = np.eye(len(PACKED), 4, dtype=np.float32)
    metadata = {
        "format": "samclip labels",
        "schema_version": "2",
        "model": "cases",
        "revision": "1",
        "labels": json.dumps(PACKED),
        **({} if stored is None else {field: stored}),
    }
    entry = {"dtype": "F32", "shape": rows.shape, "data_offsets": [0, rows.nbytes]}
    header = json.dumps({"__metadata__": metadata, "embeddings": entry}).encode()
    content = struct.pack("<Q", len(header)) + header + rows.tobytes()
    try:
        vocabulary = Vocabulary(PackMetadata.model_validate(metadata), rows)
    except ValueError:
        found = None
    else:
        told = [None if each is None else each.to_dict() for each in vocabulary.read_as]
        found = list(vocabulary.thresholds) if field == "thresholds" else told
    return {
        "name": name,
        "stored": stored,
        "pack": base64.b64encode(content).decode(),
        field: found,
    }


def written() -> str:
    """The content of the file: a line for each question."""
    parts = []
    for name, cases in answers().items():
        lines = ",\n  ".join(json.dumps(case) for case in cases)
        parts.append(f' "{name}": [\n  {lines}\n ]')
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    CASES.write_text(written(), encoding="utf-8")
