"""The bundle's goldens: inputs and reference outputs, for `samclip verify` on the device.

They come from eager torch in fp32, never from the artifact that they judge. `golden/index.json`
says what to run and what to expect; `golden/tensors.safetensors` holds the arrays, each stored once
and known by a key. Outputs are stored as every `step`-th value, in fp16, so that they stay small.

Each step that an app writes by itself has goldens of its own, so that a difference shows where it
begins.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from samclip_sdk.bundle.manifest import GOLDEN_INDEX, GOLDEN_TENSORS
from samclip_sdk.device.goldens.tasks import GoldenTasks
from samclip_sdk.errors import BundleError, one_line
from samclip_sdk.system.records import Record, RelativePath, check_values, first_fault

_DAMAGE = (
    OSError,
    ValueError,
    safetensors.SafetensorError,
    KeyError,  # a dtype that numpy does not have
)

Size = tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]]
"""Of a picture: height, width."""


class Sampled(Record):
    """Every `step`-th value of an array, flattened."""

    tensor: str
    step: int = Field(gt=0)


class Expected(Record):
    """What an output must be: every `step`-th of its values, flattened, is the tensor's."""

    tensor: str
    step: int = Field(gt=0)
    max_error: float = Field(gt=0, description="bound of `golden_error`, for fp32 artifacts")


class GoldenText(Record):
    """A text, cleaned, and its token ids, without the zeros that pad them."""

    text: str
    cleaned: str
    input_ids: tuple[int, ...]


class GoldenLetterbox(Record):
    """A picture uint8 [H,W,3] and the model's input uint8 [1,3,S,S]; levels may differ by one.

    The picture is `image`, or where that is None, `formula_picture` of `size`. `extent` are the
    rows and columns of the model's input that it covers.
    """

    image: str | None
    size: Size
    resolution: int = Field(gt=0)
    extent: Size
    output: Sampled


class GoldenGraph(Record):
    """One run of a graph: input name -> tensor, output name -> what it must be."""

    graph: str
    inputs: dict[str, str]
    outputs: dict[str, Expected]


class GoldenSegment(Record):
    """From picture to mask with one prompt, in image pixels; outputs have all four mask tokens."""

    image: str
    points: tuple[tuple[float, float], ...] = ()
    labels: tuple[int, ...] = ()
    box: tuple[float, float, float, float] | None = None
    low_res_masks: Expected
    iou_predictions: Expected


class GoldenClassEmbeddings(Record):
    """Class embeddings [K,E] of labels, over the manifest's templates."""

    labels: tuple[str, ...] = Field(min_length=1)
    expected: Expected


class GoldenImageEmbedding(Record):
    """The embedding [E] of a picture, as classification sees it."""

    image: str
    expected: Expected


class GoldenScoreMap(Record):
    """A label's scores [h,h] of a picture of `size`, and what the mask decoder is asked by them.

    Its presence; the points (x, y) in model pixels of its best cells, if it is taken as one part;
    and the mask prompt [4g,4g].
    """

    score_map: str
    size: Size
    resolution: int = Field(gt=0)
    presence: float
    points: tuple[tuple[float, float], ...]
    mask_input: Expected


class GoldenMask(Record):
    """Low-resolution logits [4g,4g] and the mask of a picture of `size`, as bits."""

    low_res: str
    size: Size
    resolution: int = Field(gt=0)
    mask: str


class GoldenTextToMask(Record):
    """What `text_to_mask@S` makes of a picture uint8 [H,W,3] and the K labels of a pack.

    `masks` are bits of bool [K,H,W]; a label whose presence is below the threshold has none.
    """

    image: str
    pack: RelativePath
    presence: tuple[float, ...]
    scores: tuple[float, ...]
    masks: str


class GoldenIndex(Record):
    """`golden/index.json`."""

    texts: tuple[GoldenText, ...]
    letterbox: tuple[GoldenLetterbox, ...]
    graphs: tuple[GoldenGraph, ...]
    segment: tuple[GoldenSegment, ...]
    class_embeddings: tuple[GoldenClassEmbeddings, ...]
    image_embeddings: tuple[GoldenImageEmbedding, ...]
    score_maps: tuple[GoldenScoreMap, ...]
    masks: tuple[GoldenMask, ...]
    text_to_mask: tuple[GoldenTextToMask, ...] = Field(
        description="none of random weights, which find nothing"
    )
    tasks: GoldenTasks | None = Field(
        default=None, description="none of random weights, which answer nothing of meaning"
    )

    def tensors(self) -> Iterator[str]:
        """The keys of all tensors that it refers to; some come twice."""
        for letterbox in self.letterbox:
            yield from filter(None, (letterbox.image, letterbox.output.tensor))
        for graph in self.graphs:
            yield from graph.inputs.values()
            yield from (expected.tensor for expected in graph.outputs.values())
        for prompt in self.segment:
            yield prompt.image
            yield from (prompt.low_res_masks.tensor, prompt.iou_predictions.tensor)
        for classes in self.class_embeddings:
            yield classes.expected.tensor
        for embedded in self.image_embeddings:
            yield from (embedded.image, embedded.expected.tensor)
        for scores in self.score_maps:
            yield from (scores.score_map, scores.mask_input.tensor)
        for mask in self.masks:
            yield from (mask.low_res, mask.mask)
        for whole in self.text_to_mask:
            yield from (whole.image, whole.masks)
        if self.tasks is not None:
            yield from self.tasks.tensors()


def golden_error(output: NDArray[np.generic], *, expected: NDArray[np.generic], step: int) -> float:
    """The largest difference of an output, relative to the largest value that was expected.

    Args:
        output: any shape.
        expected: flat, every `step`-th value of the reference.
        step: of the subsampling.

    Returns:
        The error; infinite where the number of values differs or any is not finite.
    """
    found = output.reshape(-1)[::step].astype(np.float64)
    wanted = expected.reshape(-1).astype(np.float64)
    if found.shape != wanted.shape or not np.isfinite(found).all():
        return float("inf")
    scale = max(float(np.abs(wanted).max(initial=0.0)), 1e-12)
    return float(np.abs(found - wanted).max(initial=0.0)) / scale


def min_cosine(
    output: NDArray[np.generic], expected: NDArray[np.generic], *, vectors: bool
) -> float:
    """The cosine between an output and its reference.

    Args:
        output: any shape.
        expected: of the same shape.
        vectors: whether the last axis holds vectors, of whose cosines the least is taken; else
            both are one vector.

    Returns:
        The cosine, at most 1; -1 where the shapes differ or a number is not finite. A vector of
        zeros is like itself alone.
    """
    if output.shape != expected.shape or not np.isfinite(output).all():
        return -1.0
    rows = output.shape[-1] if vectors else output.size
    found, wanted = (array.astype(np.float64).reshape(-1, rows) for array in (output, expected))
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(wanted, axis=1)
    products = (found * wanted).sum(axis=1)
    same = (found == wanted).all(axis=1)
    cosines = np.where(lengths > 0, products / np.maximum(lengths, 1e-300), same)
    return float(np.clip(cosines, -1.0, 1.0).min())


def read_goldens(
    folder: str | Path,
) -> tuple[GoldenIndex, Mapping[str, NDArray[np.generic]]]:
    """Reads an unpacked bundle's goldens; fp16 tensors are widened to fp32.

    Raises:
        BundleError: they are missing or damaged, refer to a tensor that is not there, or hold a
            number that is not finite: with such a one nothing can be compared.
    """
    root = Path(folder)
    try:
        content = (root / GOLDEN_INDEX).read_bytes()
        check_values(content)
        index = GoldenIndex.model_validate_json(content)
        stored = safetensors.numpy.load((root / GOLDEN_TENSORS).read_bytes())
        tensors = {
            name: array.astype(np.float32) if array.dtype == np.float16 else array
            for name, array in stored.items()
            if array.dtype.kind in "fiu"
        }
    except _DAMAGE as error:
        reason = first_fault(error) if isinstance(error, ValidationError) else one_line(error)
        raise BundleError(f"the goldens of {root} cannot be read: {reason}") from error
    for key in index.tensors():
        if key not in tensors:
            raise BundleError(f"the goldens of {root} have no tensor {one_line(key)}")
        if not np.isfinite(tensors[key]).all():
            raise BundleError(f"the golden {one_line(key)} of {root} holds NaN or infinity")
    return index, tensors
