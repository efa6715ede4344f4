"""The bundle's `manifest.json`: the only home of tensor names, sizes and thresholds.

Graphs are keyed by name; what exists at several resolutions carries its own behind an @:
`image_encoder@256`, `clip_head@256`, `text_encoder`, `prompt_encoder`, `mask_decoder`.
`contract_graphs` derives their inputs and outputs from the model config, and a manifest whose
graphs say otherwise is refused: exporters, sessions and tests all read the same table.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    model_validator,
)

from samclip_sdk.modeling.config import ModelConfig

SCHEMA_VERSION: Final = 1
MANIFEST_NAME = "manifest.json"
TOKENIZER_NAME = "tokenizer.json"
GOLDEN_INDEX = "golden/index.json"
GOLDEN_TENSORS = "golden/tensors.npz"
PER_RESOLUTION = ("image_encoder", "clip_head")

Runtime = Literal["onnx", "openvino", "coreml", "tensorrt"]
Precision = Literal["fp32", "fp16", "int8", "palette6"]
DType = Literal["uint8", "int32", "float32"]


def check_relative_path(path: str) -> str:
    """Returns `path` if it is relative, with forward slashes, and stays inside its folder.

    Raises:
        ValueError: it is absolute, climbs out, or means different things on different systems.
    """
    parts = path.split("/")
    if not path or any(part in ("", ".", "..") for part in parts) or re.search(r"[\\:\0]", path):
        raise ValueError(f"{path!r} is not a plain relative path inside the bundle")
    return path


RelativePath = Annotated[str, AfterValidator(check_relative_path)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Probability = Annotated[float, Field(gt=0, lt=1)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class StoredFile(_Part):
    """A file of the bundle."""

    path: RelativePath
    sha256: Sha256
    size_bytes: int = Field(ge=0)


class ImageSpec(_Part):
    """How a picture becomes the image encoder's input (whose normalisation is in the graph)."""

    patch_size: int = Field(gt=0)
    pad_colour: tuple[int, int, int] = (124, 116, 104)
    resize: Literal["bilinear_antialias"] = "bilinear_antialias"


class Task(_Part):
    """At which resolution a task runs, and what it sees of a picture."""

    resolution: int = Field(gt=0)
    crop: Literal["letterbox", "center_crop"] = "letterbox"


class Tasks(_Part):
    """Prompts and text-to-mask need the whole picture; classification of a raw one may crop."""

    segmentation: Task
    classification: Task

    @model_validator(mode="after")
    def _check(self) -> Tasks:
        if self.segmentation.crop != "letterbox":
            raise ValueError("segmentation sees the whole picture: its crop must be letterbox")
        return self


class TextSpec(_Part):
    """`logit_scale` multiplies the cosine (the exponential of CLIP's parameter)."""

    context_length: int = Field(gt=1)
    templates: tuple[Annotated[str, StringConstraints(pattern=r"^[^{}]*\{\}[^{}]*$")], ...] = Field(
        min_length=1
    )
    logit_scale: float = Field(gt=0)


class Calibration(_Part):
    """A label's score is s = scale * (cos - bias); thresholds are compared with sigmoid(s)."""

    scale: float = Field(gt=0)
    bias: float = Field(ge=-1, le=1)
    mask_threshold_score: Probability = Field(description="above it, a patch may give a point")
    presence_threshold: Probability = Field(description="below it, a label is absent")
    head_only_threshold: Probability = Field(description="the CLIP head's own masks, refine=False")


UNCALIBRATED = Calibration(
    scale=10.0,
    bias=0.0,
    mask_threshold_score=0.5,
    presence_threshold=0.5,
    head_only_threshold=0.5,
)
"""Stands in where nothing was calibrated; such a model says `random_weights`."""


class MaskSpec(_Part):
    """`mask_threshold` is a logit; more than `max_prompts` prompts are decoded in several calls."""

    mask_threshold: float = 0.0
    max_prompts: int = Field(default=16, gt=0)


class TensorSpec(_Part):
    """An input or output of a graph; a symbolic axis has a name instead of a size."""

    name: str = Field(min_length=1)
    dtype: DType
    shape: tuple[int | str, ...]


class Measurement(_Part):
    """A metric of an artifact against eager torch, and the bound it was accepted on."""

    metric: str = Field(min_length=1)
    measured: float
    bound: float
    better: Literal["lower", "higher"]

    @model_validator(mode="after")
    def _check(self) -> Measurement:
        low, high = sorted((self.measured, self.bound))
        if (self.better == "lower" and self.measured != low) or (
            self.better == "higher" and self.measured != high
        ):
            raise ValueError(f"{self.metric} is {self.measured}, beyond its bound {self.bound}")
        return self


class Parity(_Part):
    """How an artifact compares with eager torch.

    `measured_on` is None where the machine that exported could not run the artifact at all.
    `on_target` is False where something else than its runtime ran it: a reference interpreter of a
    Core ML program tells what the program computes, not what a Neural Engine or a GPU makes of it.
    That only `samclip verify` on the device tells.
    """

    measured_on: str | None
    on_target: bool = True
    measurements: tuple[Measurement, ...]

    @model_validator(mode="after")
    def _check(self) -> Parity:
        if self.measured_on is not None and not self.measurements:
            raise ValueError("parity names a machine and holds no measurement")
        return self


class Artifact(StoredFile):
    """A graph as one runtime reads it.

    Its path is the file that the runtime is pointed at; of a Core ML package, which is a folder,
    its Manifest.json. `weights` are the further files that it refers to; several artifacts may
    share one. `axes` are the symbolic axes that have one length in it; where there are several
    artifacts of a runtime and precision, each is for other lengths.
    """

    runtime: Runtime
    precision: Precision
    target: str = Field(default="any", min_length=1)
    axes: dict[str, Annotated[int, Field(gt=0)]] = {}
    weights: tuple[StoredFile, ...] = ()
    parity: Parity


class Pin(_Part):
    """An operation that a reduced-precision artifact computes in fp32.

    `operation` is the submodule's path and the operator's name, "layers.3.attn:softmax" for
    instance; `peak` is the largest magnitude seen among its inputs and outputs. `reason` says what
    asks for it: the contract (coordinates, the last normalisation), numbers that fp16 may not hold,
    or a metric that is lost without it.
    """

    operation: str = Field(min_length=1)
    reason: Literal["contract", "overflow", "task"]
    peak: float = Field(ge=0)


class GraphSpec(_Part):
    """Inputs and outputs of a graph, bound by name, and its artifacts, the preferred one first."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    artifacts: tuple[Artifact, ...] = ()


class Licence(_Part):
    """What a part of the bundle (weights, tokenizer, training data) may be used under."""

    part: str = Field(min_length=1)
    spdx: str = Field(min_length=1)
    source: str = Field(min_length=1)


class ModelInfo(_Part):
    """What there is to know about a model beside its weights, in a bundle or in a checkpoint.

    `revision` names the weights; `random_weights` says that they mean nothing, and that the model
    is held to numeric gates only.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    name: str = Field(min_length=1)
    revision: str = Field(min_length=1)
    random_weights: bool = False
    model: ModelConfig
    image: ImageSpec
    tasks: Tasks
    text: TextSpec
    calibration: Calibration
    masks: MaskSpec = MaskSpec()
    provenance: dict[str, JsonValue]

    @model_validator(mode="after")
    def _check_sizes(self) -> ModelInfo:
        model, tasks = self.model, self.tasks
        if self.image.patch_size != model.image_encoder.patch_size:
            raise ValueError("image.patch_size is not the model's")
        if self.text.context_length != model.text_encoder.context_length:
            raise ValueError("text.context_length is not the model's")
        if tasks.segmentation.resolution != model.segmentation_resolution:
            raise ValueError("tasks.segmentation.resolution is not the model's")
        model.check_resolution(tasks.classification.resolution)
        return self


class Manifest(ModelInfo):
    """`manifest.json`. `files` are those that belong to no graph: tokenizer, goldens, model card.

    A bundle without a text_encoder serves vocabulary packs only; every other graph must be there.
    """

    graphs: dict[str, GraphSpec]
    precision_plan: dict[str, tuple[Pin, ...]] = Field(
        default={}, description="graph -> what its fp16 artifacts compute in fp32, on any runtime"
    )
    kept_in_float: dict[str, tuple[str, ...]] = Field(
        default={}, description="graph -> the layers that its int8 artifacts compute in float"
    )
    files: tuple[StoredFile, ...]
    licences: tuple[Licence, ...] = Field(min_length=1)

    def stored_files(self) -> tuple[StoredFile, ...]:
        """Every file of the bundle except the manifest, each path once."""
        artifacts = [each for graph in self.graphs.values() for each in graph.artifacts]
        weights = [each for artifact in artifacts for each in artifact.weights]
        by_path = {each.path: each for each in (*self.files, *artifacts, *weights)}
        return tuple(by_path.values())

    @model_validator(mode="after")
    def _check_graphs(self) -> Manifest:
        tasks = self.tasks
        needed = {graph_key(part, tasks.classification.resolution) for part in PER_RESOLUTION}
        needed |= {graph_key(part, tasks.segmentation.resolution) for part in PER_RESOLUTION}
        for name in sorted(needed | {"prompt_encoder", "mask_decoder"}):
            if name not in self.graphs:
                raise ValueError(f"the graph {name} is missing")
        if "text_encoder" in self.graphs and TOKENIZER_NAME not in {f.path for f in self.files}:
            raise ValueError(f"there is a text_encoder and no {TOKENIZER_NAME}")
        self._check_contract()
        self._check_paths()
        return self

    def _check_contract(self) -> None:
        resolutions = {int(name.partition("@")[2] or 0) for name in self.graphs if _KEY.match(name)}
        contract = contract_graphs(self.model, resolutions=resolutions - {0})
        for name, graph in self.graphs.items():
            expected = contract.get(name)
            if expected is None:
                raise ValueError(f"there is no graph {name} in the contract")
            for side in ("inputs", "outputs"):
                found, wanted = getattr(graph, side), getattr(expected, side)
                if found != wanted:
                    raise ValueError(f"the {side} of {name} are not the contract's: {wanted}")
            if not graph.artifacts:
                raise ValueError(f"the graph {name} has no artifact")

    def _check_paths(self) -> None:
        artifacts = [each for graph in self.graphs.values() for each in graph.artifacts]
        weights = {(f.path, f.sha256, f.size_bytes) for each in artifacts for f in each.weights}
        paths = [f.path for f in (*self.files, *artifacts)] + [path for path, _, _ in weights]
        # Compared without case: on macOS and Windows one file would overwrite the other.
        folded = [path.casefold() for path in [*paths, MANIFEST_NAME]]
        for path in paths:
            if folded.count(path.casefold()) > 1:
                raise ValueError(f"two files of the bundle are called {path}")


_KEY = re.compile(r"^(?:image_encoder|clip_head)@[1-9][0-9]*$")


def graph_key(name: str, resolution: int | None) -> str:
    """The key of a graph: `image_encoder` at 256 px is `image_encoder@256`.

    Graphs that exist once only are known by their names alone, whatever the resolution.

    Raises:
        ValueError: the graph exists at several resolutions, and none is given.
    """
    if name not in PER_RESOLUTION:
        return name
    if resolution is None:
        raise ValueError(f"{name} exists at several resolutions: say which")
    return f"{name}@{resolution}"


def contract_graphs(model: ModelConfig, *, resolutions: Iterable[int]) -> dict[str, GraphSpec]:
    """The inputs and outputs of every graph of a model, without artifacts.

    Args:
        model: the config.
        resolutions: pixels; those at which image_encoder and clip_head exist.

    Returns:
        Key -> graph. Axes `num_texts`, `num_prompts` (K) and `num_points` (P) are symbolic.

    Raises:
        ValueError: the model does not run at one of the resolutions.
    """
    graphs: dict[str, GraphSpec] = {}
    for resolution in sorted(set(resolutions)):
        model.check_resolution(resolution)
        encoder, head = _image_graphs(model, resolution)
        graphs[graph_key("image_encoder", resolution)] = encoder
        graphs[graph_key("clip_head", resolution)] = head
    ids = _tensor("input_ids", "num_texts", model.text_encoder.context_length, dtype="int32")
    graphs["text_encoder"] = GraphSpec(
        inputs=(ids,), outputs=(_tensor("text_embeddings", "num_texts", model.embed_dim),)
    )
    return graphs | _mask_graphs(model)


def _image_graphs(model: ModelConfig, resolution: int) -> tuple[GraphSpec, GraphSpec]:
    grid = resolution // model.image_encoder.patch_size
    patches = (grid // model.token_pooling(resolution)) ** 2
    tokens = _tensor("image_tokens", 1, model.image_encoder.embed_dim, grid, grid)
    embeddings = _tensor("image_embeddings", 1, model.mask_decoder.embed_dim, grid, grid)
    encoder = GraphSpec(
        inputs=(_tensor("image", 1, 3, resolution, resolution, dtype="uint8"),),
        outputs=(tokens, embeddings),
    )
    head = GraphSpec(
        inputs=(tokens, _tensor("token_mask", 1, grid, grid)),
        outputs=(
            _tensor("patch_embeddings", 1, patches, model.embed_dim),
            _tensor("image_embedding", 1, model.embed_dim),
        ),
    )
    return encoder, head


def _mask_graphs(model: ModelConfig) -> dict[str, GraphSpec]:
    grid = model.segmentation_resolution // model.image_encoder.patch_size
    dim, side = model.mask_decoder.embed_dim, 4 * grid
    many, points = "num_prompts", "num_points"
    sparse = _tensor("sparse_embeddings", many, points, dim)
    sparse_mask = _tensor("sparse_mask", many, points)
    dense = _tensor("dense_embeddings", many, dim, grid, grid)
    return {
        "prompt_encoder": GraphSpec(
            inputs=(
                _tensor("point_coords", many, points, 2),
                _tensor("point_labels", many, points, dtype="int32"),
                _tensor("mask_input", many, 1, side, side),
                _tensor("has_mask_input", many),
            ),
            outputs=(sparse, sparse_mask, dense),
        ),
        "mask_decoder": GraphSpec(
            inputs=(
                _tensor("image_embeddings", 1, dim, grid, grid),
                sparse,
                sparse_mask,
                dense,
            ),
            outputs=(
                _tensor("low_res_masks", many, 4, side, side),
                _tensor("iou_predictions", many, 4),
            ),
        ),
    }


def _tensor(name: str, *shape: int | str, dtype: DType = "float32") -> TensorSpec:
    return TensorSpec(name=name, dtype=dtype, shape=shape)
