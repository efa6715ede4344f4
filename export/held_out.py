"""Pictures that no training saw: some to calibrate artifacts on, others to accept them on.

`python -m benchmarks held-out` composed them. Nothing is measured against the truth here: only
against what eager torch answers.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.goldens.task_metrics import TaskPicture
from samclip_sdk.image import open_image

_HELD_OUT = Path(__file__).with_name("held_out")
_CALIBRATION = Path(__file__).with_name("calibration_set")


def held_out_pictures() -> tuple[tuple[TaskPicture, ...], tuple[str, ...]]:
    """The pictures to accept artifacts on, and the vocabulary that they are classified with.

    Each is asked for the masks of what is in it, and of one word that is not.
    """
    index = _index(_HELD_OUT)
    vocabulary = tuple(index["vocabulary"])
    pictures = tuple(
        TaskPicture(
            image=_read(_HELD_OUT / entry["file"]),
            boxes=np.array(entry["boxes"], dtype=np.float32),
            labels=(*entry["labels"], _absent(number, vocabulary, present=entry["labels"])),
        )
        for number, entry in enumerate(index["pictures"])
    )
    return pictures, vocabulary


def held_out_files() -> dict[str, bytes]:
    """Their files, by the paths that they have in a bundle, in order."""
    names = [entry["file"] for entry in _index(_HELD_OUT)["pictures"]]
    return {f"golden/held_out/{name}": (_HELD_OUT / name).read_bytes() for name in names}


def calibration_pictures() -> tuple[tuple[NDArray[np.uint8], ...], tuple[str, ...]]:
    """Pictures uint8 [H,W,3] to take ranges from, and names of what is in them."""
    index = _index(_CALIBRATION)
    pictures = tuple(_read(_CALIBRATION / entry["file"]) for entry in index["pictures"])
    return pictures, tuple(index["vocabulary"])


def _index(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    return content


def _read(path: Path) -> NDArray[np.uint8]:
    pixels: NDArray[np.uint8] = np.array(open_image(path).convert("RGB"))
    return pixels


def _absent(number: int, vocabulary: tuple[str, ...], *, present: list[str]) -> str:
    """A word that is not in the picture, another one for each picture."""
    others = [word for word in vocabulary if word not in present]
    return others[7 * number % len(others)]
