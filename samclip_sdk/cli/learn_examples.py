"""A label learnt from examples on the command line, and looked for in each of them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from samclip_sdk.client import Array, SamClip
from samclip_sdk.engine.label_search import find_parts
from samclip_sdk.engine.label_vectors import LabelVectors
from samclip_sdk.engine.learning import threshold_between
from samclip_sdk.engine.learning.coco_file import Labelled
from samclip_sdk.engine.learning.given_regions import fit_to_given, pieces_at, takes_the_whole
from samclip_sdk.engine.learning.lesson import MAX_IMAGES
from samclip_sdk.engine.regions import score_labels
from samclip_sdk.errors import UnknownWordWarning
from samclip_sdk.image.masks import mask_to_model
from samclip_sdk.image.upscale import sigmoid
from samclip_sdk.results.image_embedding import ImageEmbedding

Example = tuple[Path, list[float]]
"""An image, and a box or a point in it, in pixels."""


@dataclass(frozen=True)
class Told:
    """What is told of labels that were learnt: a table and notes, or JSON.

    Attributes:
        labels: those that were learnt.
        columns: the table's.
        rows: the table's.
        notes: lines below the table.
        facts: the same for JSON.
    """

    labels: Sequence[str]
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str]
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class _Looked:
    """An example, looked at.

    Attributes:
        name: what the user wrote.
        box: what was given, if it is a box.
        image: its image.
        mask: bool [H,W], what is shown there.
        region: [E], the embedding of that.
    """

    name: str
    box: Labelled | None
    image: ImageEmbedding
    mask: NDArray[np.bool_]
    region: Array


def learn_examples(
    samclip: SamClip,
    label: str,
    positives: Sequence[Example],
    negatives: Sequence[Example],
    *,
    score: float,
) -> Told:
    """Teaches a model a label.

    If a negative is found, the label gets a threshold above it that no positive is below; without
    one, the negative is named.

    Args:
        samclip: the model.
        label: the label's name.
        positives: one or more examples.
        negatives: examples of other things.
        score: as in `SamClip.learn_label`.

    Raises:
        SamClipError: as `SamClip.embed_region` and `SamClip.learn_label`.
    """
    paths = dict.fromkeys(path for path, _ in [*positives, *negatives])
    encoded = {path: samclip.encode_image(path) for path in paths}
    examples = [_look(samclip, each, image=encoded[each[0]]) for each in [*positives, *negatives]]
    count, regions = len(positives), [each.region for each in examples]
    teach = partial(
        samclip.learn_label, label, regions[:count], negatives=regions[count:], score=score
    )
    find = partial(_find, samclip, label)
    before = list(map(find, examples))
    scores = _scores(samclip, teach(), regions=regions)
    presence = [_presence(samclip, label, each) for each in examples]
    after = list(map(find, examples))
    (default,) = samclip.label_thresholds(label)
    wrong = [told for told, now in zip(presence[count:], after[count:], strict=True) if now.found]
    between = threshold_between(presence[:count], wrong, default=default)
    if between is not None:
        teach(threshold=between)
        after = list(map(find, examples))
    names = [each.name for each in examples]
    kinds = ["positive"] * count + ["negative"] * len(negatives)
    numbers = ([f"{each:.3f}" for each in column] for column in (scores, presence))
    said = ["yes" if each.found else "no" for each in after]
    still = [name for name, now in zip(names[count:], after[count:], strict=True) if now.found]
    fits = [(then.fit, now.fit) for then, now in zip(before, after, strict=True)]
    whole = _is_whole(after[:count])
    notes = _notes(label, default=default, raised=between, still=still, whole=whole)
    return Told(
        [label],
        ("example", "", "score", "presence", "found", "IoU with the box"),
        list(zip(names, kinds, *numbers, said, [_change(*each) for each in fits], strict=True)),
        notes,
        {
            "scores": scores,
            "presence": presence,
            "found": [each.found for each in after],
            "box_ious": [{"before": then, "after": now} for then, now in fits],
            "whole": whole,
            "threshold": default if between is None else between,
        },
    )


def _scores(samclip: SamClip, learned: Array, *, regions: Sequence[Array]) -> list[float]:
    """The score of a label [E] in each region."""
    calibration = samclip.manifest.calibration
    asked = [
        score_labels(each, text=LabelVectors.of(learned[None]), calibration=calibration)
        for each in regions
    ]
    return [float(scores[0]) for scores in asked]


def whole_note(label: str, *, images: str, same_as: str | None) -> str:
    """What a user should know of a label that learnt a whole thing instead of a part.

    Args:
        label: the label.
        images: which ones were looked at, such as "held-out images".
        same_as: the taught word that masks the same, if one does.
    """
    same = f", as that of {same_as!r} does" if same_as else ""
    return (
        f"{label} learnt the whole thing, not the part: in most {images} its mask covers what "
        f"you gave, and at least twice as much{same}; for the part, segment it by a box, or train "
        "the model with `python -m training finetune`"
    )


def _is_whole(found: Sequence[_Found]) -> bool:
    """Whether a label takes the whole thing in most boxes in which it is found."""
    boxed = [each.whole for each in found if each.found and each.fit is not None]
    return sum(boxed) > MAX_IMAGES * len(boxed)


def _notes(
    label: str, *, default: float, raised: float | None, still: Sequence[str], whole: bool
) -> list[str]:
    """What a user should know of a label's threshold, of found negatives, and of a whole."""
    notes = []
    if raised is not None:
        notes.append(
            f"the threshold of {label} is {raised:.2f} instead of {default:.2f}, so that no "
            "negative is found; less is found elsewhere, too"
        )
    if still:
        notes.append(
            f"still found: {', '.join(still)}; to this model it is the same thing, or it touches "
            "what you want: give more examples of both"
        )
    if whole:
        notes.append(whole_note(label, images="examples", same_as=None))
    return notes


def _look(samclip: SamClip, example: Example, *, image: ImageEmbedding) -> _Looked:
    path, at = example
    box, point = (at, None) if len(at) == 4 else (None, at)
    drawn = samclip.segment(image, boxes=box, points=None if point is None else [point]).best()
    region = samclip.embed_region(image, box=box, point=point)
    name = f"{path}:{','.join(f'{each:g}' for each in at)}"
    given = None if box is None else Labelled(boxes=[(box[0], box[1], box[2], box[3])])
    return _Looked(name, given, image, drawn[0].mask, region)


def _presence(samclip: SamClip, label: str, looked: _Looked) -> float:
    """The highest score of the patches of an example, and of the parts of the label they are in."""
    frame, calibration = looked.image.frame, samclip.manifest.calibration
    (score_map,) = samclip.segment_text(looked.image, label, refine=False).asked.score_maps
    shares = cv2.resize(
        mask_to_model(looked.mask, frame=frame), score_map.shape, interpolation=cv2.INTER_AREA
    )
    own = shares >= min(0.5, shares.max())
    parts = find_parts(
        score_map, frame=frame, threshold=calibration.mask_threshold_score, presence_threshold=0.0
    )
    own |= np.isin(parts, parts[own & (parts > 0)])
    return float(sigmoid(score_map[own].max()))


@dataclass(frozen=True)
class _Found:
    """How the mask of a label fits an example.

    Attributes:
        found: whether it covers half of what is shown.
        fit: 0..1, the IoU of its pieces there with the given box; None of a point.
        whole: whether it takes a whole thing instead of the part in the box.
    """

    found: bool
    fit: float | None
    whole: bool


def _find(samclip: SamClip, label: str, looked: _Looked) -> _Found:
    with warnings.catch_warnings():  # that the label is unknown is why it is taught
        warnings.simplefilter("ignore", UnknownWordWarning)
        mask = samclip.segment_text(looked.image, label).mask(label)
    found = bool(mask[looked.mask].mean() >= 0.5)
    if looked.box is None:
        return _Found(found, None, whole=False)
    fit = fit_to_given(pieces_at(mask, looked.box), looked.box)
    return _Found(found, fit, whole=takes_the_whole(mask, looked.box))


def _change(before: float | None, after: float | None) -> str:
    return (
        "-" if before is None or after is None else f"{100 * before:.0f} % -> {100 * after:.0f} %"
    )
