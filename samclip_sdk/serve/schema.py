"""The fields of requests and answers, named as the arguments of `SamClip`'s verbs."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from samclip_sdk.engine.queries import MAX_INSTANCES
from samclip_sdk.picture.tiles import LEAST_OVERLAP, MOST_OVERLAP
from samclip_sdk.serve.encoding import MaskFormat

Item = TypeVar("Item")
Listed: TypeAlias = Annotated[list[Item], Field(fail_fast=True)]
"""A list that is refused at its first wrong item: each error takes kilobytes of memory."""

Number = Annotated[float, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
ALLOW_UNKNOWN = "labels that the model does not know may be found without a `threshold`"
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
    """A picture that was uploaded to `/v1/images`."""

    id: str = Field(pattern="^[0-9a-f]{64}$", description="the id that `/v1/images` answered")


class ImageContent(RequestModel):
    """A picture in the request."""

    base64: str = Field(min_length=1, description="the content of a picture file")


class ImagesRequest(RequestModel):
    """The pictures. In `multipart/form-data` they are files in parts called `image`."""

    images: Listed[ImageById | ImageContent] = Field(
        default=[], description="one or more pictures; each gets an answer, in their order"
    )


class ClassifyRequest(ImagesRequest):
    """See `SamClip.classify`."""

    labels: Labels = Field(description="nouns such as `dog`")


class SegmentRequest(ImagesRequest):
    """See `SamClip.segment`: points, boxes, or one of each for every prompt."""

    points: Listed[Point] | Listed[Listed[Point]] | None = Field(
        default=None, description="[n,2] for one prompt, [K,n,2] for many: (x, y) in pixels"
    )
    point_labels: Listed[PointLabel] | Listed[Listed[PointLabel]] | None = Field(
        default=None, description="as many as points: 1 foreground, 0 background, -1 no point"
    )
    boxes: Box | Listed[Box] | None = Field(
        default=None, description="[4] for one prompt, [K,4] for many: x0, y0, x1, y1 in pixels"
    )
    multimask_output: bool | None = Field(
        default=None,
        description="three masks a prompt, or one; by default three of a lone point, and the best "
        "of three of several points, or of points and a box",
    )
    mask_threshold: Number | None = Field(default=None, description="the logit to exceed")
    format: MaskFormat = Field(default="rle", description="the format of each `segmentation`")


class LabelsRequest(ImagesRequest):
    """Labels to look for in the pictures."""

    labels: Labels = Field(description="nouns such as `dog`")
    threshold: Share | None = Field(default=None, description="presence below which one is absent")
    allow_unknown: bool = Field(default=False, description=ALLOW_UNKNOWN)
    mask_threshold: Number | None = Field(default=None, description="the logit to exceed")
    points_per_class: Annotated[int, Field(ge=1, le=15)] | None = None


class MasksRequest(ImagesRequest):
    """Any number of masks of each picture."""

    tiles: Tiles | None = Field(default=None, description="rows and columns to look into too")
    tile_overlap: Annotated[float, Field(ge=LEAST_OVERLAP, le=MOST_OVERLAP)] | None = None
    format: MaskFormat = Field(default="rle", description="the format of each `segmentation`")
    stream: bool = Field(
        default=False, description="answer in NDJSON: a line an annotation, picture by picture"
    )


class TextRequest(MasksRequest, LabelsRequest):
    """See `SamClip.segment_text`."""

    refine: bool = Field(default=True, description="the mask decoder draws, or the CLIP head alone")
    exclusive: bool = Field(default=False, description="no pixel has two labels")


class InstancesRequest(MasksRequest, LabelsRequest):
    """See `SamClip.segment_instances`."""

    max_instances: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=MAX_INSTANCES, description="how many objects are told at most, the best ones"
    )
    min_score: Share | None = Field(default=None, description="objects below it are left out")
    exclusive: bool = Field(default=False, description="no pixel and no object has two labels")


class EverythingRequest(MasksRequest):
    """See `SamClip.segment_everything`."""

    labels: Labels | None = Field(default=None, description="the model's own nouns if not given")
    allow_unknown: bool = Field(default=False, description=ALLOW_UNKNOWN)
    points_per_side: Annotated[int, Field(ge=1, le=1024)] = 32
    pred_iou_thresh: Share | None = None
    stability_score_thresh: Share | None = None
    stability_score_offset: Annotated[Number, Field(ge=0)] = 1.0
    box_nms_thresh: Share = 0.7


class ResponseModel(BaseModel):
    """An answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class StoredImage(ResponseModel):
    """A picture that later requests may name by its id."""

    id: str = Field(description="the sha256 of the file's content")
    width: int = Field(description="the width of the upright picture, in pixels")
    height: int


class StoredImages(ResponseModel):
    """In the order of the pictures."""

    answers: list[StoredImage]


class Reading(ResponseModel):
    """What a label was taken for."""

    kind: Literal["read_as", "unknown"]
    words: list[str] = Field(
        description="the words that answer for it; of an unknown one the nearest"
    )
    cosine: float | None = Field(default=None, description="of an unknown label to that word")


class Classified(ResponseModel):
    """How well each label describes a picture, in the order of the request."""

    labels: list[str]
    probs: list[float] = Field(description="the softmax over the labels")
    logits: list[float]
    presence: list[float]
    read_as: dict[str, Reading] = Field(description=READ_AS)
    speed: dict[str, float] = Field(description="milliseconds by step")


class ClassifiedImages(ResponseModel):
    """In the order of the pictures."""

    answers: list[Classified]


class PictureSize(ResponseModel):
    """The picture, as COCO lists it."""

    id: int
    file_name: str
    height: int = Field(description="in pixels, of the upright picture")
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
    """The mask of a label that is present in the picture."""

    label: str
    presence: float
    points: list[list[float]]


class ObjectAnnotation(Annotation):
    """The mask of an object."""

    label: str
    label_score: float
    predicted_iou: float
    stability_score: float


class Masks(ResponseModel):
    """The masks of a picture: a data set that readers of COCO load."""

    images: list[PictureSize] = Field(description="this picture alone")
    categories: list[Category]
    annotations: list[PromptAnnotation | LabelAnnotation | ObjectAnnotation]
    speed: dict[str, float] = Field(description="milliseconds by step")
    labels: list[str] | None = Field(default=None, description="without `instances`: the labels")
    presence: list[float] | None = Field(default=None, description="their presence, 0..1")
    read_as: dict[str, Reading] | None = Field(default=None, description=f"of labels: {READ_AS}")


class MaskedImages(ResponseModel):
    """In the order of the pictures."""

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
    waiting: int = Field(description="pictures that wait for a worker")


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
