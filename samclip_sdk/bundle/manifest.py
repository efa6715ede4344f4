"""The bundle's `manifest.json`: the only home of tensor names, sizes and thresholds.

Graphs are keyed by name. A graph that exists at several resolutions has the resolution in its key:
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
WORDS_NAME = "words.json"
GOLDEN_INDEX = "golden/index.json"
GOLDEN_TENSORS = "golden/tensors.safetensors"
GOLDEN_LABELS = "golden/labels.safetensors"
MAX_MANIFEST_BYTES = 16 << 20

PAD_COLOUR: Final = (124, 116, 104)
"""The colour that fills a letterbox: the rounded mean of SAM's pixels. SAM pads with zeros after
normalising, which is the same."""

Crop: TypeAlias = Literal["letterbox", "center_crop"]
Level = Annotated[int, Field(ge=0, le=255)]
Probability = Annotated[float, Field(gt=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Multiplier = Annotated[float, Field(gt=0, le=1e4)]
Logit = Annotated[float, Field(ge=-1e4, le=1e4)]


class ImageSpec(Record):
    """The way from an image to the image encoder's input; normalisation is in the graph."""

    patch_size: int = Field(gt=0)
    pad_colour: tuple[Level, Level, Level] = PAD_COLOUR
    resize: Literal["bilinear_antialias"] = "bilinear_antialias"


class Task(Record):
    """The resolution at which a task runs, and the part of an image that it sees."""

    resolution: int = Field(gt=0)
    crop: Crop = "letterbox"


class Tasks(Record):
    """The tasks. Prompts and text-to-mask need the whole image; classification may crop."""

    segmentation: Task
    classification: Task

    @model_validator(mode="after")
    def _check(self) -> Tasks:
        if self.segmentation.crop != "letterbox":
            raise ValueError("segmentation sees the whole image: its crop must be letterbox")
        return self


class TextSpec(Record):
    """The settings with which texts are embedded and compared.

    `logit_scale` multiplies the cosine; it is the exponential of CLIP's parameter.
    """

    context_length: int = Field(gt=1)
    templates: tuple[Template, ...] = Field(min_length=1)
    logit_scale: Multiplier


class ObjectScore(Record):
    """The probability that an object of a label is right: that its IoU with a true one is .5.

    It is the sigmoid of a weighted sum: of the logit of how well the label fits, of the predicted
    IoU, of the stability score, and of `bias`.
    """

    label_score: Logit
    predicted_iou: Logit
    stability_score: Logit
    bias: Logit
    min_score: Probability = Field(description="by default, objects below it are not told")


class ProposedObjectScore(ObjectScore):
    """The same where objects are found by the boxes that the image encoder proposes, too.

    Two more numbers tell a whole thing from a part of one or from several: how well its box fits a
    proposed one, and which share of the label's cells it covers.
    """

    proposal_score: Logit
    label_share: Logit


class Calibration(Record):
    """A label's score is s = scale * (cos - bias); thresholds are compared with sigmoid(s).

    The bounds for masks without a label have the defaults of segment-anything.
    """

    scale: Multiplier
    bias: float = Field(ge=-1, le=1)
    mask_threshold_score: Probability = Field(description="above it, a patch is of a label's part")
    presence_threshold: Probability = Field(description="below it, a label is absent")
    head_only_threshold: Probability = Field(description="the CLIP head's own masks, refine=False")
    prompt_scale: Multiplier = Field(
        default=1.0, description="of the scores, as the mask decoder's mask prompt"
    )
    mask_bias: Logit = Field(default=0.0, description="added to the mask decoder's logits")
    pred_iou_thresh: Share = Field(
        default=0.88, description="of everything: what a mask's predicted IoU must exceed"
    )
    stability_score_thresh: Share = Field(
        default=0.95, description="of everything: what a mask's stability must reach"
    )
    objects: ObjectScore | None = Field(
        default=None, description="of the objects of labels; without it, a product of three scores"
    )
    proposed_objects: ProposedObjectScore | None = Field(
        default=None,
        description="the same; without it, no proposed box becomes an object of a label",
    )
    box_margin: Share | None = Field(
        default=None, description="of a box's sides: a box's mask ends there; without it, nowhere"
    )


UNCALIBRATED = Calibration(
    scale=10.0,
    bias=0.0,
    mask_threshold_score=0.5,
    presence_threshold=0.5,
    head_only_threshold=0.5,
)
"""The values of a model that was never calibrated: see `ModelInfo.calibrated`."""


class MaskSpec(Record):
    """The settings with which masks are decoded.

    `mask_threshold` is a logit; more than `max_prompts` prompts are decoded in several calls.
    """

    mask_threshold: float = 0.0
    max_prompts: int = Field(default=16, gt=0)


NOT_STATED = "not stated"


class Licence(Record):
    """The licence of a part of the bundle: weights, tokenizer or training data.

    `spdx` is "not stated" where nobody has named one.
    """

    part: Line
    spdx: Line
    source: Line


class ModelInfo(Record):
    """The description of a model, without its weights, in a bundle or in a checkpoint.

    `revision` names the weights and the architecture; `random_weights` says that the weights mean
    nothing, and that the model must pass numeric checks only.
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
        """Describes a checkpoint's model, with the sizes and resolutions of its config.

        Raises:
            ValidationError: a manifest may not hold one of the values.
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
        """Whether the scores and presence of texts mean something; nothing else needs this."""
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
    """The description of the graph `text_to_mask@S`, which computes less than the SDK does.

    `one_prompt`: each label has one prompt, of the box around its parts, its three best cells and
    its score map, as in the SDK. Specks and small holes stay.
    """

    edition: Literal["one_prompt"]


class Manifest(ModelInfo):
    """`manifest.json`. `files` belong to no graph: tokenizer, goldens, model card.

    They may hold `nouns.safetensors`, a vocabulary pack with the default names of
    `segment_everything`, and with thresholds of labels, and `words.json`, a table of what other
    texts mean among these nouns. A bundle without a text_encoder serves
    vocabulary packs only. A bundle may lack the graphs of apps; every other graph must be there.
    The field `text_to_mask` describes the graph of this name.
    """

    graphs: dict[str, GraphSpec]
    precision_plan: dict[str, tuple[Pin, ...]] = Field(
        default={},
        description="graph -> operations that its fp16 artifacts compute in fp32, on any runtime",
    )
    kept_in_float: dict[str, tuple[str, ...]] = Field(
        default={}, description="graph -> the layers that its int8 artifacts compute in float"
    )
    text_to_mask: TextToMaskSpec | None = None
    files: tuple[StoredFile, ...]
    licences: tuple[Licence, ...] = Field(min_length=1)

    @property
    def model_graphs(self) -> dict[str, GraphSpec]:
        """The graphs that the SDK runs: all but those for apps."""
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
