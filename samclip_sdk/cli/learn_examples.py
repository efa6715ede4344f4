"""A label learnt from examples on the command line, and looked for in each of them."""

from __future__ import annotations

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
from samclip_sdk.engine.regions import score_labels
from samclip_sdk.picture.masks import mask_to_model
from samclip_sdk.picture.upscale import sigmoid
from samclip_sdk.results.image_embedding import ImageEmbedding

Example = tuple[Path, list[float]]
"""A picture, and a box or a point in it, in pixels."""


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
        image: its picture.
        mask: bool [H,W], what is shown there.
        region: [E], the embedding of that.
    """

    name: str
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
    learned, calibration = teach(), samclip.manifest.calibration
    scores = [
        float(score_labels(each, text=LabelVectors.of(learned[None]), calibration=calibration)[0])
        for each in regions
    ]
    presence = [_presence(samclip, label, each) for each in examples]
    found = [_is_found(samclip, label, each) for each in examples]
    (default,) = samclip.label_thresholds(label)
    wrong = [told for told, seen in zip(presence[count:], found[count:], strict=True) if seen]
    between = threshold_between(presence[:count], wrong, default=default)
    if between is not None:
        teach(threshold=between)
        found = [_is_found(samclip, label, each) for each in examples]
    names = [each.name for each in examples]
    kinds = ["positive"] * count + ["negative"] * len(negatives)
    numbers = ([f"{each:.3f}" for each in column] for column in (scores, presence))
    said = ["yes" if each else "no" for each in found]
    still = [name for name, seen in zip(names[count:], found[count:], strict=True) if seen]
    return Told(
        [label],
        ("example", "", "score", "presence", "found"),
        list(zip(names, kinds, *numbers, said, strict=True)),
        _notes(label, default=default, raised=between, still=still),
        {
            "scores": scores,
            "presence": presence,
            "found": found,
            "threshold": default if between is None else between,
        },
    )


def _notes(label: str, *, default: float, raised: float | None, still: Sequence[str]) -> list[str]:
    """What a user should know of a label's threshold, and of negatives that are found."""
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
    return notes


def _look(samclip: SamClip, example: Example, *, image: ImageEmbedding) -> _Looked:
    path, at = example
    box, point = (at, None) if len(at) == 4 else (None, at)
    drawn = samclip.segment(image, boxes=box, points=None if point is None else [point]).best()
    region = samclip.embed_region(image, box=box, point=point)
    return _Looked(f"{path}:{','.join(f'{each:g}' for each in at)}", image, drawn[0].mask, region)


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


def _is_found(samclip: SamClip, label: str, looked: _Looked) -> bool:
    """Whether the mask of a label covers half of an example."""
    mask = samclip.segment_text(looked.image, label).mask(label)
    return bool(mask[looked.mask].mean() >= 0.5)
