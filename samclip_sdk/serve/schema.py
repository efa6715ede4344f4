"""The fields of requests and answers, named as the arguments of `SamClip`'s verbs."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, create_model

from samclip_sdk.engine.queries import (
    EverythingQuery,
    InstanceQuery,
    PromptQuery,
    Query,
    TextQuery,
    options_of,
)
from samclip_sdk.serve.encoding import MaskFormat
from samclip_sdk.serve.settings import MAX_ASKED

Item = TypeVar("Item")
Listed: TypeAlias = Annotated[list[Item], Field(fail_fast=True)]
"""A list that is refused at its first wrong item: each error takes kilobytes of memory."""

Number = Annotated[float, Field(allow_inf_nan=False)]
READ_AS = "the labels that other words answer for, or that the model does not know"
Side = Annotated[int, Field(ge=1, le=8)]
Point: TypeAlias = Annotated[Listed[Number], Field(min_length=2, max_length=2)]
Box: TypeAlias = Annotated[Listed[Number], Field(min_length=4, max_length=4)]
PointLabel = Annotated[int, Field(ge=-1, le=3)]
Labels: TypeAlias = Annotated[Listed[str], Field(min_length=1)]
Tiles: TypeAlias = Annotated[Listed[Side], Field(min_length=2, max_length=2)]


class RequestModel(BaseModel):
    """A request. Unknown names are refused, so that a misspelt option is not ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ImageById(RequestModel):
    """An image that was uploaded to `/v1/images`."""

    id: str = Field(pattern="^[0-9a-f]{64}$", description="the id that `/v1/images` answered")


class ImageContent(RequestModel):
    """An image in the request."""

    base64: str = Field(min_length=1, description="the content of an image file")


class ImagesRequest(RequestModel):
    """The images. In `multipart/form-data` they are files in parts called `image`."""

    images: Listed[ImageById | ImageContent] = Field(
        default=[], description="one or more images; each gets an answer, in their order"
    )


class ClassifyRequest(ImagesRequest):
    """See `SamClip.classify`."""

    labels: Labels = Field(description="nouns such as `dog`")


class PointsRequest(ImagesRequest):
    """Points, boxes, or one of each for every prompt."""

    points: Listed[Point] | Listed[Listed[Point]] | None = Field(
        default=None, description="[n,2] for one prompt, [K,n,2] for many: (x, y) in pixels"
    )
    point_labels: Listed[PointLabel] | Listed[Listed[PointLabel]] | None = Field(
        default=None, description="as many as points: 1 foreground, 0 background, -1 no point"
    )
    boxes: Box | Listed[Box] | None = Field(
        default=None, description="[4] for one prompt, [K,4] for many: x0, y0, x1, y1 in pixels"
    )
    format: MaskFormat = Field(default="rle", description="the format of each `segmentation`")


class MasksRequest(ImagesRequest):
    """Any number of masks of each image."""

    labels: Labels | None = Field(default=None, description="the model's own nouns if not given")
    tiles: Tiles | None = Field(default=None, description="rows and columns to look into too")
    format: MaskFormat = Field(default="rle", description="the format of each `segmentation`")
    stream: bool = Field(
        default=False, description="answer in NDJSON: a line an annotation, image by image"
    )


class LabelsRequest(MasksRequest):
    """Labels to look for in the images."""

    labels: Labels = Field(description="nouns such as `dog`")


Base = TypeVar("Base", bound=ImagesRequest)


def request_of(query: type[Query], name: str, base: type[Base], *, verb: str) -> type[Base]:
    """A request with the options of a query, bounded by `MAX_ASKED` too.

    Args:
        query: what the verb is asked.
        name: the name of the request.
        base: has the fields that are no flags and no numbers.
        verb: the verb of `SamClip`.
    """
    own: dict[str, Any] = {}
    for field, known in options_of(query).items():
        about = known.option
        if about.in_python_only:
            continue
        bounds = Field(
            ge=about.minimum,
            le=MAX_ASKED.get(field, about.maximum),
            allow_inf_nan=False if known.kind is float else None,
        )
        kind = Annotated[known.kind, bounds]  # type: ignore[name-defined]  # known when it runs
        own[field] = (
            kind if known.hint is known.kind else kind | None,
            Field(default=known.default, description=about.help),
        )
    return create_model(name, __base__=base, __doc__=f"See `SamClip.{verb}`.", **own)


SegmentRequest = request_of(PromptQuery, "SegmentRequest", PointsRequest, verb="segment")
TextRequest = request_of(TextQuery, "TextRequest", LabelsRequest, verb="segment_text")
InstancesRequest = request_of(
    InstanceQuery, "InstancesRequest", LabelsRequest, verb="segment_instances"
)
EverythingRequest = request_of(
    EverythingQuery, "EverythingRequest", MasksRequest, verb="segment_everything"
)


class ResponseModel(BaseModel):
    """An answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class StoredImage(ResponseModel):
    """An image that later requests may name by its id."""

    id: str = Field(description="the sha256 of the file's content")
    width: int = Field(description="the width of the upright image, in pixels")
    height: int


class StoredImages(ResponseModel):
    """In the order of the images."""

    answers: list[StoredImage]


class Reading(ResponseModel):
    """What a label was taken for."""

    kind: Literal["read_as", "unknown"]
    words: list[str] = Field(
        description="the words that answer for it; of an unknown one the nearest"
    )
    cosine: float | None = Field(default=None, description="of an unknown label to that word")


class Classified(ResponseModel):
    """How well each label describes an image, in the order of the request."""

    labels: list[str]
    probs: list[float] = Field(description="the softmax over the labels")
    logits: list[float]
    presence: list[float]
    read_as: dict[str, Reading] = Field(description=READ_AS)
    speed: dict[str, float] = Field(description="milliseconds by step")


class ClassifiedImages(ResponseModel):
    """In the order of the images."""

    answers: list[Classified]


class ImageSize(ResponseModel):
    """The image, as COCO lists it."""

    id: int
    file_name: str
    height: int = Field(description="in pixels, of the upright image")
    width: int


class Category(ResponseModel):
    """A label, as COCO lists it; of prompts "object"."""

    id: int
    name: str


class Annotation(ResponseModel):
    """A mask, in the fields of COCO."""

    id: int
    image_id: int
    category_id: int
    iscrowd: int
    score: float
    bbox: list[float] = Field(description="x, y, width, height in pixels")
    area: int = Field(description="the number of pixels")
    segmentation: Any = Field(
        description="RLE `{size, counts}`; a list of polygons; or a PNG in base64"
    )


class PromptAnnotation(Annotation):
    """A mask of a prompt."""

    prompt_index: int


class LabelAnnotation(Annotation):
    """The mask of a label that is present in the image."""

    label: str
    presence: float
    points: list[list[float]]


class ObjectAnnotation(Annotation):
    """The mask of an object; of `everything`, its `score` is SAM's predicted IoU."""

    label: str
    label_score: float
    predicted_iou: float
    stability_score: float


class Masks(ResponseModel):
    """The masks of an image: a data set that readers of COCO load."""

    images: list[ImageSize] = Field(description="this image alone")
    categories: list[Category]
    annotations: list[PromptAnnotation | LabelAnnotation | ObjectAnnotation]
    speed: dict[str, float] = Field(description="milliseconds by step")
    labels: list[str] | None = Field(default=None, description="without `instances`: the labels")
    presence: list[float] | None = Field(default=None, description="their presence, 0..1")
    read_as: dict[str, Reading] | None = Field(default=None, description=f"of labels: {READ_AS}")


class MaskedImages(ResponseModel):
    """In the order of the images."""

    answers: list[Masks]


class Problem(ResponseModel):
    """Why a request was not answered."""

    error: str = Field(description="the class of the error")
    message: str = Field(description="one line: which value was wrong, and what to do")
    request_id: str = Field(description="the id in the header X-Request-ID and in the logs")


class Health(ResponseModel):
    """Whether the server can answer requests now."""

    status: Literal["ready", "not ready"]
    workers_ready: int
    workers: int
    waiting: int = Field(description="images that wait for a worker")


class Model(ResponseModel):
    """The model, as the workers opened it."""

    name: str
    revision: str
    runtime: str
    precision: str
    resolution: int = Field(description="the resolution of segmentation, in pixels")
    random_weights: bool
    warnings: list[str] = Field(description="the warnings when it was opened")


class Models(ResponseModel):
    """The model of the server, in a list of one."""

    models: list[Model]
    limits: dict[str, int] = Field(description="its limits, see `samclip serve --help`")
