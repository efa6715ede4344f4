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
from samclip_sdk.picture.packed_masks import PackedMask
from samclip_sdk.text.known_words import KnownWords
from samclip_sdk.text.vocabulary import PackMetadata, Vocabulary

CASES = Path(__file__).resolve().parents[1] / "examples" / "label_cases.json"

SIZE = (12, 16)
"""Height and width of the pictures in which masks compete."""

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

WORDS = ("dog", "cat", "car", "cell phone")
COSINES = [
    ("zog", [0.5, 0.5, 0.3, 0.1]),
    ("red car", [0.0, 0.1, 0.72, 0.3]),
    ("Red  car", [0.0, 0.1, 0.95, 0.2]),
    ("red cart", [0.0, 0.1, 0.95, 0.2]),
    ("cars", [0.0, 0.1, 0.94, 0.3]),
    ("the bound", [0.1, 0.75, 0.2, 0.1]),
    (" Cell  Phone", [0.4, 0.3, 0.2, 0.1]),
    (" Phone", [0.1, 0.2, 0.1, 0.92]),
    ("hone", [0.1, 0.2, 0.1, 0.92]),
]

SPELLED = {
    " Cel  Phone": WORDS,
    "boatimg": ("boating", "boat", "boatings"),
    "goating": ("boating", "coating", "oat"),
    "wattle bear": ("water bottle", "teddy bear", "bear"),
    "telphoen": ("telephone", "phone", "microphone"),
    "umbrela": ("umbrella", "zebra", "cobra"),
    "ÿak": ("yak", "ÿake", "ox"),
    "okra": ("opera", "dog", "cat"),
}
"""Labels that mean what no word does, and the words, some of which are spelled like them."""

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


def answers() -> dict[str, Any]:
    """The questions, each with this package's answer."""
    rng = np.random.default_rng(0)
    drawn = [
        (f"drawn {place}", [(round(float(odds), 2), _drawn_box(rng)) for odds in rng.random(5)])
        for place in range(6)
    ]
    return {
        "exclusive": [_competing(name, masks) for name, masks in [*COMPETING, *drawn]],
        "words": [
            *(_known(label, cosines) for label, cosines in COSINES),
            *(_known(label, [0.5, 0.3, 0.1], words=words) for label, words in SPELLED.items()),
        ],
        "thresholds": [_packed(name, stored) for name, stored in THRESHOLDS],
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
        size=SIZE,
    )
    owners = np.full(SIZE, ".")
    for each in kept:
        pixels = np.zeros(SIZE, bool)
        each.mask.draw(pixels)
        owners[pixels] = str(each.place)
    return {
        "name": name,
        "size": SIZE,
        "presence": [each for each, _ in masks],
        "boxes": [box for _, box in masks],
        "kept": sorted(each.place for each in kept),
        "owners": ["".join(row) for row in owners],
    }


def _rectangle(box: list[int]) -> PackedMask:
    left, top, right, bottom = box
    return PackedMask.pack(np.ones((bottom - top, right - left), bool), top=top, left=left)


def _known(label: str, cosines: list[float], *, words: tuple[str, ...] = WORDS) -> dict[str, Any]:
    """The words are axes, and the label has a further one, so that it has unit length."""
    rest = np.sqrt(max(0.0, 1 - float(np.square(cosines).sum())))
    embedding = np.array([*cosines, *[0.0] * (len(words) - len(cosines)), rest], np.float32)
    rows = np.eye(len(words) + 1, dtype=np.float32)[: len(words)]
    known = KnownWords(words, rows)
    return {
        "words": words,
        "embeddings": rows.tolist(),
        "label": label,
        "embedding": embedding.tolist(),
        "nearest": known.nearest(embedding),
        "warning": known.why_unknown(label, embedding),
    }


def _packed(name: str, stored: str | None) -> dict[str, Any]:
    """`pack` is the file in base64; `thresholds` are null if it must be refused."""
    rows = np.eye(len(PACKED), 4, dtype=np.float32)
    metadata = {
        "format": "samclip labels",
        "schema_version": "1",
        "model": "cases",
        "revision": "1",
        "labels": json.dumps(PACKED),
        **({} if stored is None else {"thresholds": stored}),
    }
    entry = {"dtype": "F32", "shape": rows.shape, "data_offsets": [0, rows.nbytes]}
    header = json.dumps({"__metadata__": metadata, "embeddings": entry}).encode()
    content = struct.pack("<Q", len(header)) + header + rows.tobytes()
    try:
        thresholds = Vocabulary(PackMetadata.model_validate(metadata), rows).thresholds
    except ValueError:
        thresholds = None
    return {
        "name": name,
        "stored": stored,
        "pack": base64.b64encode(content).decode(),
        "thresholds": thresholds,
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
