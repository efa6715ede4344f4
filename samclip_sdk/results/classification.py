"""The result of classification: how well each label describes an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.image.loading import ImageOrigin
from samclip_sdk.results.frozen import freeze_array
from samclip_sdk.results.overlay import COLOURS, draw_captions
from samclip_sdk.results.result_base import (
    Labelled,
    check_asked,
    counted,
    described,
    import_supervision,
    named,
)
from samclip_sdk.results.row_items import LabelProb
from samclip_sdk.text.word_table import Reading, readings_dict

if TYPE_CHECKING:
    import supervision


@dataclass(frozen=True, eq=False, repr=False)
class Classification(Labelled[LabelProb]):
    """How well each label describes the image; an item for each label, in the order asked.

    Attributes:
        labels: K texts.
        probs: float32 [K], the softmax over the labels asked: with one label it is always 1.
        logits: float32 [K], cosine times the logit scale.
        presence: float32 [K], 0..1: whether each label is in the image, independent of the others.
        speed: milliseconds by step.
        origin: the source of the image.
        read_as: the labels that other words answer for, or that the model does not know.
    """

    ROWS: ClassVar[tuple[str, ...]] = ("labels", "probs", "logits", "presence")

    labels: Sequence[str]
    probs: NDArray[np.float32]
    logits: NDArray[np.float32]
    presence: NDArray[np.float32]
    speed: Mapping[str, float] = field(default_factory=dict)
    origin: ImageOrigin | None = field(default=None, kw_only=True)
    read_as: Mapping[str, Reading] = field(default_factory=dict, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "labels", tuple(self.labels))
        for name in ("probs", "logits", "presence"):
            freeze_array(self, name, dtype="float32", shape=(len(self.labels),))

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        best = named(self.top(len(self)))
        said = f"{counted(len(self), 'label')}: {best}"
        return described("Classification", said, speed=self.speed)

    def top(self, count: int = 5) -> list[tuple[str, float]]:
        """The `count` most likely labels and their probabilities, the best first."""
        order = np.argsort(-self.probs, kind="stable")[:count]
        return [(self.labels[index], float(self.probs[index])) for index in order]

    def to_dict(self) -> dict[str, Any]:
        """The labels with their probs, logits and presence, in the order asked."""
        return {
            "labels": list(self.labels),
            "probs": self.probs.tolist(),
            "logits": self.logits.tolist(),
            "presence": self.presence.tolist(),
            "read_as": readings_dict(self.read_as),
            "speed": dict(self.speed),
        }

    def to_supervision(self) -> supervision.Classifications:
        """Converts to supervision's `Classifications`; `class_id` is the index in `labels`."""
        order = np.argsort(-self.probs, kind="stable")
        result: supervision.Classifications = import_supervision().Classifications(
            class_id=order, confidence=self.probs[order]
        )
        return result

    def _item(self, index: int) -> LabelProb:
        numbers = (self.probs, self.logits, self.presence)
        return LabelProb(self.labels[index], *(float(each[index]) for each in numbers))

    def _check_label(self, label: str) -> None:
        check_asked(label, labels=self.labels)

    def _draw(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Writes the five most likely labels into the top left corner."""
        captions = [(f"{label} {prob:.2f}", (0.0, 0.0), COLOURS[1]) for label, prob in self.top()]
        return draw_captions(pixels, captions=captions)
