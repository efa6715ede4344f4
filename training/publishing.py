"""What the repository keeps of trainings: copies in fp16."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from samclip_sdk.system.atomic_file import atomic_file
from training.calibrate import CALIBRATION_NAME
from training.config import PublishConfig
from training.errors import TrainingError
from training.teachers.teacher_pair import SETTINGS_NAME, WEIGHTS_NAME
from training.teachers.text_encoder_file import copy_tokenizer
from training.teachers.weights import read_weights, save_weights

_PREFIX = "text_encoder."


def publish_results(settings: PublishConfig, *, results: Path, target: Path) -> None:
    """Publishes what the stage names, of the stages in `results`, into folders of `target`."""
    text_encoder = None if settings.text_encoder is None else results / settings.text_encoder
    for name in settings.results:
        publish(results / name, target / name, text_encoder=text_encoder)


def publish(result: Path, target: Path, *, text_encoder: Path | None = None) -> None:
    """Copies a teacher or a checkpoint, its weights rounded to fp16, without calibration.

    A checkpoint with a text encoder gets that of the folder `text_encoder`, if one is given.

    Raises:
        TrainingError: a file is missing or damaged, or the text encoder embeds in another width.
    """
    state = read_weights(result / WEIGHTS_NAME)
    content = json.loads((result / SETTINGS_NAME).read_bytes())
    if text_encoder is not None and any(key.startswith(_PREFIX) for key in state):
        _replace_text_encoder(state, content, text_encoder)
    else:
        text_encoder = None
    target.mkdir(parents=True, exist_ok=True)
    halves = {key: x.half() if x.is_floating_point() else x for key, x in state.items()}
    save_weights(halves, target / WEIGHTS_NAME)
    with atomic_file(target / SETTINGS_NAME) as file:
        file.write(f"{json.dumps(content, indent=2)}\n".encode())
    copy_tokenizer(text_encoder or result, target)
    (target / CALIBRATION_NAME).unlink(missing_ok=True)  # it was of other weights


def _replace_text_encoder(state: dict[str, Tensor], content: dict[str, Any], folder: Path) -> None:
    """Gives a checkpoint's weights and config.json another text encoder, of sizes of its own."""
    trained, model = json.loads((folder / SETTINGS_NAME).read_bytes()), content["model"]
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
