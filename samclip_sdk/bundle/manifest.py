"""The bundle's `manifest.json`: the only home of tensor names, sizes and thresholds.

Graphs are keyed by name; what exists at several resolutions carries its own behind an @:
`image_encoder@256`, `clip_head@256`, `text_encoder`, `prompt_encoder`, `mask_decoder`.
`contract_graphs` derives their inputs and outputs from the model config, and a manifest whose
graphs say otherwise is refused: exporters, sessions and tests all read the same table.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import Field, JsonValue, model_validator

from samclip_sdk.bundle.contract import (
    APP_GRAPHS,
    PER_RESOLUTION,
    contract_app_graphs,
    contract_graphs,
    graph_key,
)
from samclip_sdk.bundle.graph_spec import GraphSpec, Pin, StoredFile
from samclip_sdk.errors import one_line
from samclip_sdk.modeling.config import ModelConfig, Template
from samclip_sdk.system.records import Line, Record

SCHEMA_VERSION: Final = 1
MANIFEST_NAME = "manifest.json"
SIGNATURE_NAME = "manifest.sig"
TOKENIZER_NAME = "tokenizer.json"
NOUNS_NAME = "nouns.safetensors"
GOLDEN_INDEX = "golden/index.json"
GOLDEN_TENSORS = "golden/tensors.safetensors"
GOLDEN_LABELS = "golden/labels.safetensors"
MAX_MANIFEST_BYTES = 16 << 20

PAD_COLOUR: Final = (124, 116, 104)
"""Fills a letterbox: the rounded mean of SAM's pixels, since it pads zeros after normalising."""

Crop: TypeAlias = Literal["letterbox", "center_crop"]
Level = Annotated[int, Field(ge=0, le=255)]
Probability = Annotated[float, Field(gt=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Multiplier = Annotated[float, Field(gt=0, le=1e4)]
Logit = Annotated[float, Field(ge=-1e4, le=1e4)]


class ImageSpec(Record):
    """How a picture becomes the image encoder's input (whose normalisation is in the graph)."""

    patch_size: int = Field(gt=0)
    pad_colour: tuple[Level, Level, Level] = PAD_COLOUR
    resize: Literal["bilinear_antialias"] = "bilinear_antialias"


class Task(Record):
    """At which resolution a task runs, and what it sees of a picture."""

    resolution: int = Field(gt=0)
    crop: Crop = "letterbox"


class Tasks(Record):
    """Prompts and text-to-mask need the whole picture; classification of a raw one may crop."""

    segmentation: Task
    classification: Task

    @model_validator(mode="after")
    def _check(self) -> Tasks:
        if self.segmentation.crop != "letterbox":
            raise ValueError("segmentation sees the whole picture: its crop must be letterbox")
        return self


class TextSpec(Record):
    """How texts are embedded and compared.

    `logit_scale` multiplies the cosine; it is the exponential of CLIP's parameter.
    """

    context_length: int = Field(gt=1)
    templates: tuple[Template, ...] = Field(min_length=1)
    logit_scale: Multiplier


class Calibration(Record):
    """A label's score is s = scale * (cos - bias); thresholds are compared with sigmoid(s).

    The last two are of masks without a label, and segment-anything's own where a bundle says
    nothing.
    """

    scale: Multiplier
    bias: float = Field(ge=-1, le=1)
    mask_threshold_score: Probability = Field(description="above it, a patch is of a label's part")
    presence_threshold: Probability = Field(description="below it, a label is absent")
    head_only_threshold: Probability = Field(description="the CLIP head's own masks, refine=False")
    prompt_scale: Multiplier = Field(
        default=1.0, description="of the scores, as the mask decoder's mask prompt"
    )
    map_weight: float = Field(
        default=0.0, ge=0, le=1e4, description="of the scores, added to the mask decoder's logits"
    )
    mask_bias: Logit = Field(default=0.0, description="added to the mask decoder's logits, too")
    pred_iou_thresh: Share = Field(
        default=0.88, description="of everything: what a mask's predicted IoU must exceed"
    )
    stability_score_thresh: Share = Field(
        default=0.95, description="of everything: what a mask's stability must reach"
    )


UNCALIBRATED = Calibration(
    scale=10.0,
    bias=0.0,
    mask_threshold_score=0.5,
    presence_threshold=0.5,
    head_only_threshold=0.5,
)
"""Stands in where nothing was calibrated: see `ModelInfo.calibrated`."""


class MaskSpec(Record):
    """How masks are decoded.

    `mask_threshold` is a logit; more than `max_prompts` prompts are decoded in several calls.
    """

    mask_threshold: float = 0.0
    max_prompts: int = Field(default=16, gt=0)


NOT_STATED = "not stated"


class Licence(Record):
    """What a part of the bundle (weights, tokenizer, training data) may be used under.

    Where nobody has said so, `spdx` is "not stated".
    """

    part: Line
    spdx: Line
    source: Line


class ModelInfo(Record):
    """What there is to know about a model beside its weights, in a bundle or in a checkpoint.

    `revision` names the weights; `random_weights` says that they mean nothing, and that the model
    is held to numeric gates only.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    name: Line
    revision: Line
    random_weights: bool = False
    model: ModelConfig
    image: ImageSpec
    tasks: Tasks
    text: TextSpec
    calibration: Calibration
    masks: MaskSpec = MaskSpec()
    provenance: dict[str, JsonValue]

    def mask_side(self, resolution: int) -> int:
        """4g: the side of mask prompts and of low-resolution masks at a resolution S = 16 g."""
        return 4 * resolution // self.image.patch_size

    @classmethod
    def of_checkpoint(
        cls,
        model: ModelConfig,
        *,
        revision: str,
        templates: tuple[str, ...],
        logit_scale: float,
        calibration: Calibration | None,
        random_weights: bool,
        provenance: dict[str, JsonValue],
        classification_crop: Crop = "letterbox",
    ) -> ModelInfo:
        """Describes a checkpoint's model: sizes and resolutions are those of its config.

        Raises:
            ValidationError: a value is none that a manifest may hold.
        """
        crop = classification_crop
        return cls(
            name=model.name,
            revision=revision,
            random_weights=random_weights,
            model=model,
            image=ImageSpec(patch_size=model.image_encoder.patch_size),
            tasks=Tasks(
                segmentation=Task(resolution=model.segmentation_resolution),
                classification=Task(resolution=model.classification_resolution, crop=crop),
            ),
            text=TextSpec(
                context_length=model.text_encoder.context_length,
                templates=templates,
                logit_scale=logit_scale,
            ),
            calibration=calibration or UNCALIBRATED,
            provenance=provenance,
        )

    @property
    def calibrated(self) -> bool:
        """Whether the scores and presence of texts mean something; the rest needs none of it."""
        return self.calibration != UNCALIBRATED

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


class TextToMaskSpec(Record):
    """What the graph `text_to_mask@S` computes, which is less than the SDK does.

    `one_prompt`: each label is asked for once, by the box around its parts, its three best cells
    and its score map, as the SDK asks. Specks and small holes stay.
    """

    edition: Literal["one_prompt"]


class Manifest(ModelInfo):
    """`manifest.json`. `files` are those that belong to no graph: tokenizer, goldens, model card.

    Among them may be `nouns.safetensors`, a vocabulary pack that names what nobody gave names for.
    A bundle without a text_encoder serves vocabulary packs only. It may lack the graphs of apps, of
    which `text_to_mask` says what the one of this name computes; every other graph must be there.
    """

    graphs: dict[str, GraphSpec]
    precision_plan: dict[str, tuple[Pin, ...]] = Field(
        default={}, description="graph -> what its fp16 artifacts compute in fp32, on any runtime"
    )
    kept_in_float: dict[str, tuple[str, ...]] = Field(
        default={}, description="graph -> the layers that its int8 artifacts compute in float"
    )
    text_to_mask: TextToMaskSpec | None = None
    files: tuple[StoredFile, ...]
    licences: tuple[Licence, ...] = Field(min_length=1)

    @property
    def model_graphs(self) -> dict[str, GraphSpec]:
        """The graphs that the SDK runs: all but those of apps."""
        return {
            name: graph
            for name, graph in self.graphs.items()
            if name.partition("@")[0] not in APP_GRAPHS
        }

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
        if bool(self.text_to_mask) != any(name.startswith("text_to_mask@") for name in self.graphs):
            raise ValueError("text_to_mask must say what the graph of this name computes")
        self._check_contract()
        self._check_paths()
        return self

    def _check_contract(self) -> None:
        resolutions = {int(name.partition("@")[2] or 0) for name in self.graphs if _KEY.match(name)}
        contract = contract_graphs(self.model, resolutions=resolutions - {0})
        contract |= contract_app_graphs(self.model, resolutions=resolutions - {0})
        for name, graph in self.graphs.items():
            expected = contract.get(name)
            if expected is None:
                raise ValueError(f"there is no graph {one_line(name)} in the contract")
            for side in ("inputs", "outputs"):
                found, wanted = getattr(graph, side), getattr(expected, side)
                if found != wanted:
                    raise ValueError(
                        f"the {side} of {name} are not the contract's: {one_line(wanted)}"
                    )
            if not graph.artifacts:
                raise ValueError(f"the graph {name} has no artifact")

    def _check_paths(self) -> None:
        artifacts = [each for graph in self.graphs.values() for each in graph.artifacts]
        weights = {(f.path, f.sha256, f.size_bytes) for each in artifacts for f in each.weights}
        paths = [f.path for f in (*self.files, *artifacts)] + [path for path, _, _ in weights]
        # Compared without case: on macOS and Windows one file would overwrite the other.
        times = Counter(path.casefold() for path in [*paths, MANIFEST_NAME, SIGNATURE_NAME])
        for path in paths:
            if times[path.casefold()] > 1:
                raise ValueError(f"two files of the bundle are called {one_line(path)}")


_KEY = re.compile(r"^(?:image_encoder|clip_head)@[1-9][0-9]{0,4}$")
