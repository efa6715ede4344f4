"""The bundle's goldens: inputs and reference outputs, for `samclip verify` on the device.

They come from eager torch in fp32, never from the artifact that they check. `golden/index.json`
lists the runs and the expected outputs. `golden/tensors.safetensors` holds the arrays, each stored
once under a key. Of an output only every `step`-th value is stored, in fp16, to save space.

Each step that an app implements itself has its own goldens, so that an error is found in the step
where it begins.
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
"""Height and width of an image."""


class Sampled(Record):
    """Every `step`-th value of an array, flattened."""

    tensor: str
    step: int = Field(gt=0)


class Expected(Record):
    """An expected output: every `step`-th of its values, flattened, is in the tensor."""

    tensor: str
    step: int = Field(gt=0)
    max_error: float = Field(gt=0, description="the bound of `golden_error` for fp32 artifacts")


class GoldenText(Record):
    """A text, the cleaned text, and its token ids without the zeros of the padding."""

    text: str
    cleaned: str
    input_ids: tuple[int, ...]


class GoldenLetterbox(Record):
    """An image uint8 [H,W,3] and the model's input uint8 [1,3,S,S]; levels may differ by one.

    The image is `image`, or `formula_image` of `size` if that is None. `extent` is the number of
    rows and columns of the model's input that the image covers.
    """

    image: str | None
    size: Size
    resolution: int = Field(gt=0)
    extent: Size
    output: Sampled


class GoldenGraph(Record):
    """One run of a graph: input name -> tensor, output name -> expected output."""

    graph: str
    inputs: dict[str, str]
    outputs: dict[str, Expected]


class GoldenSegment(Record):
    """One prompt in image pixels, from image to mask; the outputs have all four mask tokens."""

    image: str
    points: tuple[tuple[float, float], ...] = ()
    labels: tuple[int, ...] = ()
    box: tuple[float, float, float, float] | None = None
    low_res_masks: Expected
    iou_predictions: Expected


class GoldenClassEmbeddings(Record):
    """The class embeddings [K,E] of labels, with the manifest's templates."""

    labels: tuple[str, ...] = Field(min_length=1)
    expected: Expected


class GoldenImageEmbedding(Record):
    """The embedding [E] of an image, as classification uses it."""

    image: str
    expected: Expected


class GoldenScoreMap(Record):
    """A label's score map [h,h] in an image of `size`, and the prompts that are made from it.

    These are the label's presence; the points (x, y) of its best cells in model pixels, if it is
    taken as one part; and the mask prompt [4g,4g].
    """

    score_map: str
    size: Size
    resolution: int = Field(gt=0)
    presence: float
    points: tuple[tuple[float, float], ...]
    mask_input: Expected


class GoldenMask(Record):
    """Low-resolution logits [4g,4g] and the mask of an image of `size`, as bits."""

    low_res: str
    size: Size
    resolution: int = Field(gt=0)
    mask: str


class GoldenTextToMask(Record):
    """The outputs of `text_to_mask@S` for an image uint8 [H,W,3] and the K labels of a pack.

    `masks` are the bits of bool [K,H,W]; a label whose presence is below the threshold has an
    empty mask.
    """

    image: str
    pack: RelativePath
    presence: tuple[float, ...]
    scores: tuple[float, ...]
    masks: str


class GoldenIndex(Record):
    """The content of `golden/index.json`."""

    texts: tuple[GoldenText, ...]
    letterbox: tuple[GoldenLetterbox, ...]
    graphs: tuple[GoldenGraph, ...]
    segment: tuple[GoldenSegment, ...]
    class_embeddings: tuple[GoldenClassEmbeddings, ...]
    image_embeddings: tuple[GoldenImageEmbedding, ...]
    score_maps: tuple[GoldenScoreMap, ...]
    masks: tuple[GoldenMask, ...]
    text_to_mask: tuple[GoldenTextToMask, ...] = Field(
        description="empty for random weights, which find nothing"
    )
    tasks: GoldenTasks | None = Field(
        default=None, description="None for random weights, whose answers have no meaning"
    )
    rectangular_tasks: GoldenTasks | None = Field(
        default=None,
        description="the same, for graphs that take images without their padding to a square",
    )

    def tensors(self) -> Iterator[str]:
        """The keys of all tensors that the index refers to; some occur twice."""
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
        for tasks in filter(None, (self.tasks, self.rectangular_tasks)):
            yield from tasks.tensors()


def golden_error(output: NDArray[np.generic], *, expected: NDArray[np.generic], step: int) -> float:
    """The largest error of an output, relative to the largest expected value.

    Args:
        output: any shape.
        expected: flat, every `step`-th value of the reference.
        step: the step of the subsampling.

    Returns:
        The error; infinite if the number of values differs or a value is not finite.
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
        vectors: if True, the last axis holds vectors, and the result is their smallest cosine; if
            False, each whole array is one vector.

    Returns:
        The cosine, at most 1; -1 if the shapes differ or a number is not finite. The cosine of two
        zero vectors is 1, of a zero vector and any other it is 0.
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
    """Reads an unpacked bundle's goldens; fp16 tensors are converted to fp32.

    Raises:
        BundleError: they are missing or damaged, refer to a tensor that is missing, or hold a
            number that is not finite, with which nothing can be compared.
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
