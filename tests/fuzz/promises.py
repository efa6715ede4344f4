"""What every call promises, whatever it is given: an answer that holds, or one line of refusal."""

from __future__ import annotations

import fnmatch
import json
import os
import shutil
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import event

from samclip_sdk import (
    Classification,
    ImageEmbedding,
    Instances,
    Masks,
    NamedMasks,
    PreparedImage,
    SamClip,
    SamClipError,
    SamClipWarning,
    TextMasks,
)
from tests.drawings import TINY_BUNDLE
from tests.fuzz.cases import noise

SIZE = (96, 130)
"""Height and width of the image that most is asked about."""

LONGEST_MESSAGE = 1000  # letters; a path alone may have 300 of them
UNIT_TOLERANCE = 1e-3


def open_tiny(bundle: Path) -> SamClip:
    """Opens a bundle on one thread, without the user's cache of texts."""
    return SamClip.load("onnx", model=bundle, threads=1, text_cache=False)


class World:
    """What cases are run in: a small model that is open, an image, and a folder of their own.

    Args:
        folder: empty; all that a case can write, caches among it.

    Attributes:
        work: for the files that a case is given; the current folder.
        bundle: a copy of the model's bundle, which cases change and put back.
        model: samclip-tiny on onnxruntime.
        image: uint8 [H,W,3], of `SIZE`.
        embedding: of the image.
        ends: how many cases have ended in an answer, or in a refusal.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.work, self.bundle = folder, folder / "work", folder / "bundle"
        self.ends: Counter[str] = Counter()
        self.work.mkdir()
        shutil.copytree(TINY_BUNDLE, self.bundle)
        self.model = open_tiny(self.bundle)
        self.image = noise(0, *SIZE)
        self.embedding = self.model.encode_image(self.image)

    def fresh_model(self) -> SamClip:
        """A model that was taught nothing yet."""
        return SamClip(self.model.source)

    def judge(self, call: Callable[[], object], **promised: Any) -> None:
        """Makes a call, and notes how it ends; see `judge`."""
        end = judge(call, folder=self.folder, **promised)
        event(end)  # for `--hypothesis-show-statistics`
        self.ends[end] += 1


OPTIMIZED_GRAPHS = "*/samclip-sdk/onnxruntime/*"
"""A graph that is opened for the first time may be kept, whatever comes of the question."""


def judge(
    call: Callable[[], object],
    *,
    folder: Path,
    check: Callable[[Any], object] = lambda answer: None,
    writes: Sequence[str] = (),
    keeps: Sequence[str] = (),
) -> str:
    """Makes a call, and removes what it has written.

    Args:
        call: to make.
        folder: with all files that it can write.
        check: raises AssertionError for an answer that breaks a promise.
        writes: patterns of the files, from the folder on, that an answer may leave behind.
        keeps: of those that may be left behind in any case, such as what a cache is for.

    Returns:
        "answer" or "refusal".

    Raises:
        Exception: it breaks a promise; what has escaped itself, or an AssertionError.
    """
    before = _files(folder)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            end = _end_of(call, check)
        finally:
            left = sorted(_files(folder) - before)
            for path in left:
                _remove(folder / path)
    stray = [each for each in caught if not _documented(each)]
    assert not stray, f"warns: {stray[0].category.__name__}: {stray[0].message}"
    allowed = (OPTIMIZED_GRAPHS, *keeps, *(writes if end == "answer" else ()))
    for path in left:
        assert any(fnmatch.fnmatch(path, each) for each in allowed), f"leaves {path} behind"
        assert not path.endswith((".partial", ".lock")), f"leaves {path} behind"
    return end


def _end_of(call: Callable[[], object], check: Callable[[Any], object]) -> str:
    try:
        check(call())
    except SamClipError as error:
        check_message(str(error))
        return "refusal"
    except (Exception, KeyboardInterrupt):
        raise
    except BaseException as error:  # Rust's panics are no Exception.
        raise AssertionError(f"{type(error).__name__}: {error}") from error
    return "answer"


def check_message(message: str) -> None:
    """Of an error: one line of a few words."""
    assert message.isprintable(), f"more than a line: {message!r}"
    assert len(message) <= LONGEST_MESSAGE, f"a long message: {message}"
    assert " " in message, f"a wordless message: {message}"


def _documented(warning: warnings.WarningMessage) -> bool:
    """The package's own warnings, what Pillow says of damaged metadata, and Ray of itself."""
    ours = issubclass(warning.category, SamClipWarning)
    return ours or not {"PIL", "ray"}.isdisjoint(Path(warning.filename).parts)


def _files(folder: Path) -> set[str]:
    return {
        os.path.relpath(os.path.join(parent, name), folder)
        for parent, _, names in os.walk(folder)
        for name in names
    }


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    for cache in [parent for parent in path.parents if parent.name == "bundles"]:
        shutil.rmtree(cache, ignore_errors=True)  # an unpacked .zip goes as a whole


def holds(answer: object, *, size: tuple[int, int] | None = None) -> None:
    """Checks an answer of any verb, or several: finite, of the promised shapes and frame.

    Args:
        answer: of SamClip's.
        size: height and width of the image, if all answers are of one.
    """
    match answer:
        case list() | tuple():
            for each in answer:
                holds(each, size=size)
        case np.ndarray():
            assert answer.dtype == np.float32, answer.dtype
            lengths = np.linalg.norm(answer.astype(np.float64), axis=-1)
            assert (np.abs(lengths - 1) < UNIT_TOLERANCE).all(), f"lengths {lengths}"
        case PreparedImage() | ImageEmbedding():
            frame = answer.frame
            assert size in (None, (frame.height_px, frame.width_px)), frame
            _check_finite(answer)
        case Classification() | Masks() | TextMasks() | Instances() | NamedMasks():
            _check_result(answer, size=size)
        case _:
            raise AssertionError(f"{type(answer).__name__} is no answer")


def _check_result(answer: Any, *, size: tuple[int, int] | None) -> None:
    _check_finite(answer)
    json.loads(answer.to_json(), parse_constant=refuse_constant)
    if isinstance(answer, Classification):
        assert abs(float(answer.probs.sum()) - 1) < UNIT_TOLERANCE, answer.probs
        assert ((answer.presence >= 0) & (answer.presence <= 1)).all(), answer.presence
        return
    assert size in (None, answer.size), f"size {answer.size} of an image {size}"
    height, width = answer.size
    boxes = answer.xyxy
    assert (boxes >= 0).all(), boxes
    assert (boxes <= np.array([width, height, width, height])).all(), boxes
    if isinstance(answer, TextMasks):
        presence = answer.asked.presence
        assert ((presence >= 0) & (presence <= 1)).all(), presence
        assert -1 <= answer.class_map.min() <= answer.class_map.max() < len(answer.asked.labels)
    if isinstance(answer, Instances | NamedMasks):
        assert not any(each.empty for each in answer.masks.packed)


def _check_finite(answer: Any) -> None:
    assert is_dataclass(answer)
    for field in fields(answer):
        value = getattr(answer, field.name)
        for array in value if isinstance(value, tuple) else (value,):
            if isinstance(array, np.ndarray) and field.name != "origin":
                assert np.isfinite(array).all(), f"{field.name} is not finite"


def refuse_constant(name: str) -> None:
    """Of JSON: NaN and Infinity, which are none."""
    raise AssertionError(f"{name} in the JSON")
