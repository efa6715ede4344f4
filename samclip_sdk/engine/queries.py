"""What each verb is asked: a frozen value that checks its fields.

An option's default, bounds and help stand here once. REST's schema, the command line's options and
the settings of `annotate` are made of them, and a test holds the signatures of `SamClip` to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Annotated, Any, NamedTuple, TypeAlias, get_args, get_type_hints

from numpy.typing import ArrayLike

from samclip_sdk.bundle.manifest import ModelInfo
from samclip_sdk.engine.class_map import MAX_LABELS
from samclip_sdk.image.image_prompts import ImagePrompts, image_prompts
from samclip_sdk.image.tiles import MAX_OVERLAP, MIN_OVERLAP, TILE_OVERLAP, Tiling
from samclip_sdk.system.arguments import check_flag, integer_within, number_within
from samclip_sdk.text.tokenizer import check_labels

MAX_INSTANCES = 50
"""The default for the most objects in a result."""

POINTS_PER_SIDE = 32
"""Of the grid of `segment_everything`, for a model that proposes no boxes."""

POINTS_PER_CLASS = 3
"""The default for the most points that the mask decoder gets for a label."""


@dataclass(frozen=True)
class Option:
    """What a query says of a flag or a number, in its `Annotated`.

    Attributes:
        help: one line.
        minimum: the lowest value; None for no bound.
        maximum: the highest value.
        in_python_only: whether neither the server nor the command line has it.
    """

    help: str
    minimum: float | None = None
    maximum: float | None = None
    in_python_only: bool = False


@dataclass(frozen=True)
class OptionField:
    """A flag or a number that a query has.

    Attributes:
        kind: bool, int or float.
        hint: its type: `kind`, or `kind | None` if the bundle has a default.
        default: the default.
        option: the bounds and the help.
    """

    kind: type
    hint: Any
    default: Any
    option: Option

    def checked(self, value: Any, *, name: str) -> bool | int | float | None:
        """The value as a plain one of its kind; raises PromptError if it is out of bounds."""
        if value is None and self.hint is not self.kind:
            return None
        if self.kind is bool:
            return check_flag(value, name=name)
        within = integer_within if self.kind is int else number_within
        return within(value, name=name, minimum=self.option.minimum, maximum=self.option.maximum)


def options_of(query: type[Query]) -> dict[str, OptionField]:
    """The flags and numbers of a query by their names, in the order of its fields."""
    return _options(query)  # type: ignore[arg-type]  # mypy takes the class for an instance


@cache
def _options(query: type[Any]) -> dict[str, OptionField]:
    hints = get_type_hints(query, include_extras=True)
    found = {}
    for each in fields(query):
        hint, *more = get_args(hints[each.name]) or (None,)
        if each.init and more and isinstance(more[0], Option):
            kind = next(iter(get_args(hint)), hint)
            found[each.name] = OptionField(kind, hint, each.default, more[0])
    return found


AllowUnknown = Annotated[bool, Option("find labels that the model does not know, as it may")]
MaskThreshold = Annotated[
    float | None, Option("the logit that a pixel must exceed; by default the bundle's")
]
MaxInstances = Annotated[int, Option("objects of an image, at most; the best ones stay", 1)]
MinScore = Annotated[
    float | None, Option("leave out objects below it; by default the bundle's", 0, 1)
]
Exclusive = Annotated[bool, Option("give no pixel two labels; the likelier one keeps it")]
Tiles: TypeAlias = "tuple[int, int] | int | None"
TileOverlap = Annotated[
    float | None,
    Option(
        f"with tiles: the overlap of neighbours, as a share; by default {TILE_OVERLAP}",
        MIN_OVERLAP,
        MAX_OVERLAP,
    ),
]


@dataclass(frozen=True, kw_only=True, eq=False)
class Query:
    """What a verb is asked of an image. Plain, it asks nothing more than the verb says.

    Raises:
        PromptError: a flag or a number is none, or out of its bounds.
        TextError: there is no label, or one cannot be.
    """

    def __post_init__(self) -> None:
        for name, option in options_of(type(self)).items():
            self._set(name, option.checked(getattr(self, name), name=name))

    def asked(self) -> dict[str, Any]:
        """The arguments of the verb."""
        return {each.name: getattr(self, each.name) for each in fields(self) if each.init}

    def _set(self, name: str, value: object) -> None:
        """Puts what was checked in the place of what a caller gave."""
        object.__setattr__(self, name, value)


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassifyQuery(Query):
    """What `SamClip.classify` is asked."""

    labels: Sequence[str]

    def __post_init__(self) -> None:
        self._set("labels", check_labels(self.labels))


@dataclass(frozen=True, kw_only=True, eq=False)
class PromptQuery(Query):
    """What `SamClip.segment` is asked.

    Attributes:
        prompts: the points, boxes and masks, checked as far as possible without an image.
    """

    points: ArrayLike | None = None
    point_labels: ArrayLike | None = None
    boxes: ArrayLike | None = None
    mask_input: ArrayLike | None = None
    multimask_output: Annotated[
        bool | None,
        Option(
            "three masks a prompt, or one; by default three of a lone point, and the best of three "
            "of several points, or of points and a box"
        ),
    ] = None
    mask_threshold: MaskThreshold = None
    prompts: ImagePrompts = field(init=False)

    def __post_init__(self) -> None:
        points = {"point_labels": self.point_labels, "mask_input": self.mask_input}
        self._set("prompts", image_prompts(self.points, boxes=self.boxes, **points))
        super().__post_init__()


@dataclass(frozen=True, kw_only=True, eq=False)
class TiledQuery(Query):
    """A question about an image and, if there are any, its tiles.

    Attributes:
        tiling: how an image is cut into tiles; None for the whole image alone.
    """

    tiles: Tiles = None
    tile_overlap: TileOverlap = None
    tiling: Tiling | None = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set("tiling", Tiling.asked(self.tiles, overlap=self.tile_overlap))


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelQuery(TiledQuery):
    """A question about labels, whose masks are drawn."""

    labels: Sequence[str]
    threshold: Annotated[
        float | None, Option("presence below which a label is absent; by default its own", 0, 1)
    ] = None
    allow_unknown: AllowUnknown = False
    mask_threshold: MaskThreshold = None
    points_per_class: Annotated[
        int | None, Option(f"points of a label, at most; by default {POINTS_PER_CLASS}", 1)
    ] = None
    refine: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        self._set("labels", check_labels(self.labels, max_labels=MAX_LABELS))
        super().__post_init__()


@dataclass(frozen=True, kw_only=True, eq=False)
class TextQuery(LabelQuery):
    """What `SamClip.segment_text` is asked."""

    refine: Annotated[
        bool, Option("let the mask decoder draw the masks, or the CLIP head alone")
    ] = True
    exclusive: Exclusive = False
    return_soft_masks: Annotated[
        bool, Option("answer the probabilities of pixels, too", in_python_only=True)
    ] = False


@dataclass(frozen=True, kw_only=True, eq=False)
class InstanceQuery(LabelQuery):
    """What `SamClip.segment_instances` is asked."""

    max_instances: MaxInstances = MAX_INSTANCES
    min_score: MinScore = None
    exclusive: Exclusive = False


@dataclass(frozen=True, kw_only=True, eq=False)
class StreamQuery(LabelQuery):
    """What `SamClip.stream` is asked."""

    points_per_class: int | None = field(default=None, init=False)
    max_instances: MaxInstances = MAX_INSTANCES
    min_score: MinScore = None
    encode_every: Annotated[
        int, Option("segment every nth frame; masks follow the motion in between", 1)
    ] = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class EverythingQuery(TiledQuery):
    """What `SamClip.segment_everything` is asked."""

    labels: Sequence[str] | None = None
    allow_unknown: AllowUnknown = False
    points_per_side: Annotated[
        int | None,
        Option(
            "points on a side of a grid, whose square is the number of prompts; by default the "
            f"boxes that the model proposes, or {POINTS_PER_SIDE} points",
            1,
            1024,
        ),
    ] = None
    pred_iou_thresh: Annotated[
        float | None,
        Option("the predicted IoU that a mask must exceed; by default the bundle's", 0, 1),
    ] = None
    stability_score_thresh: Annotated[
        float | None, Option("the stability that a mask must reach; by default the bundle's", 0, 1)
    ] = None
    stability_score_offset: Annotated[
        float, Option("the shift of the threshold that measures stability, a logit", 0)
    ] = 1.0
    box_nms_thresh: Annotated[
        float,
        Option("the IoU with a better mask, or of the boxes, above which one is dropped", 0, 1),
    ] = 0.7

    def __post_init__(self) -> None:
        if self.labels is not None:
            self._set("labels", check_labels(self.labels))
        super().__post_init__()

    def grid(self, info: ModelInfo) -> int | None:
        """The points on a side of the grid; None for the boxes that the model proposes."""
        if self.points_per_side is None and not info.model.proposes:
            return POINTS_PER_SIDE
        return self.points_per_side

    def minimum(self, info: ModelInfo) -> GoodEnough:
        """The bounds of a good mask: what was asked, or else the bundle's, or none of proposals."""
        own = GoodEnough(0.0, 0.0)
        if self.grid(info) is not None:
            tuned = info.calibration
            own = GoodEnough(tuned.pred_iou_thresh, tuned.stability_score_thresh)
        iou, stability = self.pred_iou_thresh, self.stability_score_thresh
        return GoodEnough(
            own.predicted_iou if iou is None else iou,
            own.stability_score if stability is None else stability,
        )


class GoodEnough(NamedTuple):
    """The predicted IoU that a mask must exceed, and the stability that it must reach."""

    predicted_iou: float
    stability_score: float
