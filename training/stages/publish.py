"""The stage that publishes: what was trained apart in one checkpoint, in fp16."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from samclip_sdk.modeling.checkpoint import read_provenance
from training.calibrate import CALIBRATION_NAME
from training.errors import TrainingError
from training.files import check_trained, write_json
from training.stage import Stage, StageSettings, start_folder
from training.student_file import PROPOSAL_HEAD
from training.tasks.part import MODULES
from training.teachers.text_encoder_file import copy_tokenizer
from training.teachers.weights import SETTINGS_NAME, WEIGHTS_NAME, read_weights, save_weights

_PREFIX = "text_encoder."
_SETTINGS = ("text_encoder", "embed_dim", "provenance")  # as `save_text_encoder` writes them


class PublishConfig(StageSettings):
    """One checkpoint of what was trained apart, with its weights in fp16.

    Args:
        checkpoint: the stage whose checkpoint gets the others' parts.
        text_encoder: the stage whose text encoder it gets; None keeps its own. A text encoder needs
            no image, and may be trained after the merge.
        parts: likewise, the stages of the task `part` whose parts it gets, in the order of their
            training: a later one replaces what it has of an earlier one.
    """

    one_process = True

    task: Literal["publish"]
    checkpoint: str
    text_encoder: str | None = None
    parts: tuple[str, ...] = ()

    def check(self, *, runs: Path) -> None:
        """Raises TrainingError if a stage has no result yet."""
        for name in (self.checkpoint, *filter(None, [self.text_encoder]), *self.parts):
            check_trained(start_folder(name, runs=runs))

    def run(self, stage: Stage) -> Path:
        """Publishes the checkpoint, into the folder of the run."""
        find = partial(start_folder, runs=stage.runs)
        publish(
            find(self.checkpoint),
            stage.run,
            text_encoder=None if self.text_encoder is None else find(self.text_encoder),
            parts=[find(name) for name in self.parts],
        )
        return stage.run


def publish(
    checkpoint: Path,
    target: Path,
    *,
    text_encoder: Path | None = None,
    parts: Sequence[Path] = (),
) -> None:
    """Copies a checkpoint with its weights in fp16, without its calibration.

    It gets another text encoder, and the parts that were trained further.

    Raises:
        TrainingError: a file is missing or damaged, the text encoder's folder is no text encoder's,
            or it embeds in another width.
    """
    state = read_weights(checkpoint / WEIGHTS_NAME)
    content = json.loads((checkpoint / SETTINGS_NAME).read_bytes())
    if text_encoder is not None:
        _replace_text_encoder(state, content, text_encoder)
    for folder in parts:
        _replace_part(state, content, folder)
    target.mkdir(parents=True, exist_ok=True)
    halves = {key: x.half() if x.is_floating_point() else x for key, x in state.items()}
    save_weights(halves, target / WEIGHTS_NAME)
    write_json(target / SETTINGS_NAME, content)
    copy_tokenizer(text_encoder or checkpoint, target)
    (target / CALIBRATION_NAME).unlink(missing_ok=True)  # it was of other weights


def _replace_text_encoder(state: dict[str, Tensor], content: dict[str, Any], folder: Path) -> None:
    """Replaces the text encoder in a checkpoint's weights and in its config.json."""
    path, model = folder / SETTINGS_NAME, content["model"]
    try:
        trained = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise TrainingError(f"{path} cannot be read: {error}") from error
    if missing := [each for each in _SETTINGS if each not in trained]:
        raise TrainingError(
            f"{path} has no {', '.join(missing)}: it is not of a text encoder; name the stage that "
            "trained one"
        )
    if trained["embed_dim"] != model["embed_dim"]:
        raise TrainingError(
            f"the text encoder in {folder} embeds in {trained['embed_dim']} dimensions, the "
            f"checkpoint in {model['embed_dim']}: train it with the same model"
        )
    for key in [key for key in state if key.startswith(_PREFIX)]:
        del state[key]
    state |= {f"{_PREFIX}{key}": x for key, x in read_weights(folder / WEIGHTS_NAME).items()}
    model["text_encoder"] = trained["text_encoder"]
    content["provenance"]["text_encoder"] = trained["provenance"]


def _replace_part(state: dict[str, Tensor], content: dict[str, Any], folder: Path) -> None:
    """Replaces one part in a checkpoint's weights, and tells so in its config.json."""
    provenance, path = read_provenance(folder), folder / WEIGHTS_NAME
    part = provenance.get("settings", {}).get("part")
    if part not in MODULES:
        raise TrainingError(f"{folder} is of the stage {provenance['stage']}, which trains no part")
    prefixes = tuple(f"{module}." for module in MODULES[part])
    weights = {key: x for key, x in read_weights(path).items() if key.startswith(prefixes)}
    own = {key: x.shape for key, x in state.items() if key.startswith(prefixes)}
    if not any(key.startswith(PROPOSAL_HEAD) for key in state):  # the part may have brought it
        new = {key: x.shape for key, x in weights.items() if key.startswith(PROPOSAL_HEAD)}
        own |= new
        content["model"]["image_encoder"] |= {"proposals": True} if new else {}
    if {key: x.shape for key, x in weights.items()} != own:
        raise TrainingError(f"{path} is of another model: train its {part} from the checkpoint")
    state |= weights
    provenance.pop("starts_from", None)  # it is the checkpoint itself
    content["provenance"][part] = provenance
