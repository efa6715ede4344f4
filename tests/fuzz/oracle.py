"""What every call promises, whatever it is given: an answer that holds, or one line of refusal."""

from __future__ import annotations

import fnmatch
import json
import os
import shutil
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from samclip_sdk import (
    Classification,
    ImageEmbedding,
    Instances,
    Masks,
    PreparedImage,
    SamClipError,
    SamClipWarning,
    TextMasks,
)

LONGEST_MESSAGE = 1000  # letters; a path alone may have 300 of them
UNIT_TOLERANCE = 1e-3


def no_promise(answer: object) -> None:
    """Of an answer that is only to come."""


@dataclass(frozen=True)
class Case:
    """One call.

    Attributes:
        what: it is given, in words, for who reads the report.
        run: the call.
        check: raises AssertionError for an answer that breaks a promise.
        writes: patterns of the files that it may leave behind if it is answered, from the world's
            folder on.
        keeps: of those that it may leave behind in any case, such as what a cache is for.
    """

    what: str
    run: Callable[[], object]
    check: Callable[[Any], None] = no_promise
    writes: Sequence[str] = ()
    keeps: Sequence[str] = ()


@dataclass(frozen=True)
class Verdict:
    """How a case ended; `why` of a failure or a refusal is one line."""

    kind: Literal["answer", "refusal", "failure"]
    why: str = ""


def judge(case: Case, *, folder: Path) -> Verdict:
    """Runs a case, and removes what it has written.

    Args:
        case: to run.
        folder: with all files that a case can see; caches, too.
    """
    before = _files(folder)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        verdict = _run(case)
    left = sorted(_files(folder) - before)
    for path in left:
        _remove(folder / path)
    stray = [each for each in caught if not _documented(each)]
    allowed = (*case.keeps, *(case.writes if verdict.kind == "answer" else ()))
    unexpected = [
        path
        for path in left
        if path.endswith((".partial", ".lock"))
        or not any(fnmatch.fnmatch(path, pattern) for pattern in allowed)
    ]
    if verdict.kind != "failure" and stray:
        return Verdict("failure", f"warns: {stray[0].category.__name__}: {stray[0].message}")
    if verdict.kind != "failure" and unexpected:
        return Verdict("failure", f"leaves {unexpected[0]} behind after: {verdict.why}")
    return verdict


def _documented(warning: warnings.WarningMessage) -> bool:
    """The package's own warnings, what Pillow says of damaged metadata, and Ray of itself."""
    ours = issubclass(warning.category, SamClipWarning)
    return ours or not {"PIL", "ray"}.isdisjoint(Path(warning.filename).parts)


def _run(case: Case) -> Verdict:
    try:
        case.check(case.run())
    except SamClipError as error:
        message = str(error)
        plain = message.isprintable() and len(message) <= LONGEST_MESSAGE and " " in message
        return Verdict("refusal" if plain else "failure", f"{type(error).__name__}: {message!r}")
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # Rust's panics are no Exception.
        return Verdict(
            "failure", f"{type(error).__name__}: {str(error)[:300]!r} at {_place(error)}"
        )
    return Verdict("answer")


def _place(error: BaseException) -> str:
    """The innermost lines of the project's own code."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f"{Path(f.filename).name}:{f.lineno}" for f in frames if "samclip_sdk" in f.filename]
    return " < ".join(own[::-1][:3]) or "the check"


def _files(folder: Path) -> set[str]:
    return {
        os.path.relpath(os.path.join(place, name), folder)
        for place, _, names in os.walk(folder)
        for name in names
    }


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    unpacked = [parent for parent in path.parents if parent.name == "bundles"]
    for cache in unpacked:  # an unpacked .zip goes as a whole
        shutil.rmtree(cache, ignore_errors=True)


def holds(answer: object, *, size: tuple[int, int] | None = None) -> None:
    """Checks an answer of any verb, or several: finite, of the promised shapes and frame.

    Args:
        answer: of SamClip's.
        size: height and width of the picture, if all answers are of one.
    """
    match answer:
        case list() | tuple():
            for each in answer:
                holds(each, size=size)
        case np.ndarray():
            _check_embeddings(answer)
        case PreparedImage() | ImageEmbedding():
            frame = answer.frame
            assert size in (None, (frame.height_px, frame.width_px)), frame
            _check_finite(answer)
        case Classification() | Masks() | TextMasks() | Instances():
            _check_result(answer, size=size)
        case _:
            raise AssertionError(f"{type(answer).__name__} is no answer")


def _check_embeddings(rows: np.ndarray) -> None:
    assert rows.dtype == np.float32, rows.dtype
    lengths = np.linalg.norm(rows.astype(np.float64), axis=-1)
    assert (np.abs(lengths - 1) < UNIT_TOLERANCE).all(), f"lengths {lengths}"


def _check_result(answer: Any, *, size: tuple[int, int] | None) -> None:
    _check_finite(answer)
    json.loads(answer.to_json(), parse_constant=_refuse_constant)
    if isinstance(answer, Classification):
        assert abs(float(answer.probs.sum()) - 1) < UNIT_TOLERANCE, answer.probs
        assert ((answer.presence >= 0) & (answer.presence <= 1)).all(), answer.presence
        return
    assert size in (None, answer.size), f"size {answer.size} of a picture {size}"
    height, width = answer.size
    boxes = answer.xyxy
    assert (boxes >= 0).all(), boxes
    assert (boxes <= np.array([width, height, width, height])).all(), boxes
    if isinstance(answer, TextMasks):
        presence = answer.asked.presence
        assert ((presence >= 0) & (presence <= 1)).all(), presence
        assert -1 <= answer.class_map.min() <= answer.class_map.max() < len(answer.asked.labels)
    if isinstance(answer, Instances):
        assert not any(each.empty for each in answer.masks.packed)


def _check_finite(answer: Any) -> None:
    assert is_dataclass(answer)
    for field in fields(answer):
        value = getattr(answer, field.name)
        arrays = value if isinstance(value, tuple) else (value,)
        for array in arrays:
            if isinstance(array, np.ndarray) and field.name != "origin":
                assert np.isfinite(array).all(), f"{field.name} is not finite"


def _refuse_constant(name: str) -> None:
    raise AssertionError(f"{name} in the JSON")
