"""What is exported: a checkpoint folder with what is known about it, or random weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from samclip_sdk.bundle.manifest import UNCALIBRATED, Calibration, Licence
from samclip_sdk.bundle.open import file_sha256
from samclip_sdk.errors import BundleError
from samclip_sdk.modeling.build import SamClipModel, build_model
from samclip_sdk.modeling.checkpoint import load_checkpoint, read_provenance
from samclip_sdk.modeling.config import PRESETS, ModelConfig

LICENCES = (
    Licence(part="weights", spdx="Apache-2.0", source="trained with this package; see NOTICE"),
    Licence(part="tokenizer and templates", spdx="MIT", source="https://github.com/openai/CLIP"),
)
"""Of a checkpoint whose provenance has no `licences` of its own."""

_NOTICE = Path(__file__).parents[1] / "NOTICE"


@dataclass(frozen=True)
class Source:
    """A model and what its bundle tells about it.

    Attributes:
        model: in eval mode, fp32.
        revision: says which weights these are.
        provenance: how the weights came about.
        calibration: scores and thresholds, `UNCALIBRATED` where there are none.
        random_weights: whether the model is held to numeric gates only.
        licences: of its parts.
        notice: the text of NOTICE.
        card: Markdown for the model card, with the figures that were measured; may be empty.
    """

    model: SamClipModel
    revision: str
    provenance: dict[str, Any]
    calibration: Calibration
    random_weights: bool
    licences: tuple[Licence, ...]
    notice: str
    card: str = ""


def read_source(folder: Path) -> Source:
    """Reads a checkpoint folder.

    Beside the checkpoint's own files it may hold `calibration.json` (the manifest's calibration),
    `card.md` (prose and measured figures for the model card) and `NOTICE`, which replaces this
    repository's. The provenance may say `random_weights` and `licences`.

    Raises:
        BundleError: the checkpoint or one of those files is missing or damaged.
    """
    model = load_checkpoint(folder)
    try:
        provenance = read_provenance(folder)
        calibration = _read(folder / "calibration.json")
        licences = TypeAdapter(tuple[Licence, ...]).validate_python(
            tuple(provenance.get("licences", ())) or LICENCES
        )
        return Source(
            model=model,
            revision=file_sha256(folder / "model.safetensors")[:16],
            provenance=provenance,
            calibration=Calibration.model_validate_json(calibration)
            if calibration
            else UNCALIBRATED,
            random_weights=not calibration or provenance.get("random_weights") is True,
            licences=licences,
            notice=_read(folder / "NOTICE") or _read(_NOTICE),
            card=_read(folder / "card.md"),
        )
    except (OSError, ValueError, KeyError, ValidationError) as error:
        raise BundleError(f"the checkpoint {folder} cannot be exported: {error}") from error


def random_source(config: ModelConfig, *, seed: int) -> Source:
    """A model with random weights: for tests of export and for timing a size never trained."""
    return Source(
        model=build_model(config, seed=seed),
        revision=f"random-{seed}",
        provenance={"random_weights": True, "seed": seed},
        calibration=UNCALIBRATED,
        random_weights=True,
        licences=LICENCES,
        notice=_read(_NOTICE),
    )


def find_source(name: str) -> Source:
    """Reads the checkpoint folder `name`, or builds a preset given as `random:vit_b`.

    Raises:
        BundleError: there is no such checkpoint or preset.
    """
    kind, _, preset = name.partition(":")
    if kind != "random" or not preset:
        return read_source(Path(name))
    if preset not in PRESETS:
        raise BundleError(f"there is no preset {preset}; known are {', '.join(sorted(PRESETS))}")
    return random_source(PRESETS[preset], seed=0)


def _read(path: Path) -> str:
    """The text of a file, empty where there is none."""
    return path.read_text(encoding="utf-8") if path.is_file() else ""
