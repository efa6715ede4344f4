"""The source of an export: a checkpoint folder with the facts about it, or random weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from samclip_sdk.bundle.files import file_sha256
from samclip_sdk.bundle.manifest import (
    NOT_STATED,
    TOKENIZER_NAME,
    WORDS_NAME,
    Calibration,
    Licence,
)
from samclip_sdk.errors import BundleError, TextError, one_line
from samclip_sdk.modeling.build import SamClipModel, build_model
from samclip_sdk.modeling.checkpoint import load_checkpoint, read_config, read_provenance
from samclip_sdk.modeling.config import PRESETS, ModelConfig
from samclip_sdk.system.records import first_fault
from samclip_sdk.text.tokenizer import check_labels
from samclip_sdk.text.word_table import read_table

TOKENIZER_LICENCES = {
    "clip": Licence(
        part="tokenizer and templates", spdx="MIT", source="https://github.com/openai/CLIP"
    ),
    "bert": Licence(
        part="tokenizer",
        spdx="Apache-2.0",
        source="https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2",
    ),
}
"""Kind of text encoder -> the licence of its tokenizer."""
RANDOM_LICENCE = Licence(
    part="weights", spdx="Apache-2.0", source="drawn at random by this package"
)
_RANDOM = "random:"
_STAGES_NAME = "stages.json"
_OWN_SPDX, _OWN_SOURCE = "Apache-2.0", "trained with this package; see NOTICE"
_TEACHERS = {"sam": "weights (SAM teacher)", "clip": "weights (CLIP teacher)"}
_TEACHER_WEIGHTS = {"sam": "sam_checkpoint", "clip": "pretrained"}
_NOTICE = Path(__file__).parents[1] / "NOTICE"


@dataclass(frozen=True)
class Source:
    """A model and the facts about it for its bundle.

    Attributes:
        model: the model in eval mode, fp32.
        revision: an id of the weights.
        provenance: the origin of the weights.
        calibration: scores and thresholds; None if they were not chosen for this model.
        random_weights: whether the weights are random; then only numeric gates are checked.
        licences: the licences of its parts.
        notice: the text of NOTICE.
        card: Markdown for the model card, with the measured figures; may be empty.
        tokenizer: the `tokenizer.json` that the text encoder was trained with; None if CLIP's.
        nouns: names of things, whose embeddings are added to the bundle; may be empty.
        words: `words.json` and its content, what other texts mean among the nouns; may be empty.
        thresholds: noun -> 0..1, the presence from which it is in an image, if it has its own.
    """

    model: SamClipModel
    revision: str
    provenance: dict[str, Any]
    calibration: Calibration | None
    random_weights: bool
    licences: tuple[Licence, ...]
    notice: str
    card: str = ""
    tokenizer: Path | None = None
    nouns: tuple[str, ...] = ()
    words: Mapping[str, bytes] = field(default_factory=dict)
    thresholds: Mapping[str, float] = field(default_factory=dict)


def read_source(folder: Path) -> Source:
    """Reads a checkpoint folder.

    Beside the checkpoint's own files it may hold `calibration.json` (the manifest's calibration),
    `card.md` (prose and measured figures for the model card), `nouns.txt` (a noun in each line),
    `words.json` (what other texts mean among them, see `python -m training.word_table`),
    `thresholds.json` (an object with the threshold of nouns that have their own) and `NOTICE`,
    which replaces this repository's. What a training stage wrote has `stages.json`, too, with the
    stages of its config that ran and that lack. The provenance may have `random_weights`, and
    `licences` with the licences of the weights, see `weight_licences`.

    Raises:
        BundleError: the checkpoint is missing, lacks a stage of its config, or one of these files
            is damaged.
    """
    model = load_checkpoint(folder)
    try:
        provenance = read_provenance(folder)
        _check_stages(folder / _STAGES_NAME, trained="settings" in provenance)
        nouns = _read_nouns(folder / "nouns.txt")
        calibration = _read(folder / "calibration.json")
        tokenizer = folder / TOKENIZER_NAME
        return Source(
            model=model,
            revision=_revision(folder),
            provenance=provenance,
            calibration=Calibration.model_validate_json(calibration) if calibration else None,
            random_weights=provenance.get("random_weights") is True,
            licences=(
                *weight_licences(provenance),
                TOKENIZER_LICENCES[model.config.text_encoder.kind],
            ),
            notice=_read(folder / "NOTICE") or _read(_NOTICE),
            card=_read(folder / "card.md"),
            tokenizer=tokenizer if tokenizer.is_file() else None,
            nouns=nouns,
            words=_read_words(folder / WORDS_NAME),
            thresholds=_read_thresholds(folder / "thresholds.json", nouns=nouns),
        )
    except (OSError, ValueError, KeyError) as error:
        reason = first_fault(error) if isinstance(error, ValidationError) else one_line(error)
        raise BundleError(f"the checkpoint {folder} cannot be exported: {reason}") from error


def _check_stages(path: Path, *, trained: bool) -> None:
    """Raises ValueError if a checkpoint lacks a stage of its config, or does not tell."""
    if not path.is_file():
        if trained:
            raise ValueError(
                f"it has no {path.name}, which tells what stages of its config it lacks: export "
                "the folder that the training wrote"
            )
        return
    record = json.loads(path.read_bytes())
    match record:
        case {"config": str(config), "lacks": []}:
            return
        case {"config": str(config), "lacks": [*lacks]}:
            raise ValueError(
                f"it lacks {', '.join(map(one_line, lacks))}: run `python -m training all --config "
                f"{one_line(config)}`, and export the folder that it names at its end"
            )
    raise ValueError(f"{path.name} tells no config, or not which of its stages lack")


def _revision(folder: Path) -> str:
    """The same weights in another architecture are another revision.

    The architecture is read as it was written: a key that configs have got since, with a default,
    makes no other model.
    """
    weights = file_sha256(folder / "model.safetensors")
    content = json.loads((folder / "config.json").read_bytes())
    model = json.dumps(content["model"], separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(f"{weights} {model}".encode()).hexdigest()[:16]


def weight_licences(provenance: Mapping[str, Any]) -> tuple[Licence, ...]:
    """The licences of a model's weights: of its parts, or of a merged model's two teachers.

    Args:
        provenance: the checkpoint's provenance. Its `licences`, or those of a checkpoint that it
            started from, are a list with `part`, `spdx` and `source` of each part; or, of a merge,
            they hold an SPDX or other licence name for "sam" and for "clip".

    Returns:
        A licence for each part; or for each teacher, this repository's own for the small ones,
        which are trained here, and "not stated" if the provenance has none.
    """
    origins = list(_origins(provenance))
    stated: object = next((each["licences"] for each in origins if "licences" in each), {})
    if isinstance(stated, list) and all(isinstance(each, Mapping) for each in stated):
        return tuple(Licence.model_validate(each) for each in stated)
    if not isinstance(stated, Mapping):
        raise ValueError(
            f"provenance.licences must name parts, or sam and clip, not be {one_line(stated)}"
        )
    licences = []
    for teacher, part in _TEACHERS.items():
        source = _teacher(teacher, origins=origins)
        known = _OWN_SPDX if source == _OWN_SOURCE else NOT_STATED
        spdx = one_line(stated.get(teacher) or known, limit=150)
        licences.append(Licence(part=part, spdx=spdx, source=source))
    return tuple(licences)


def _origins(provenance: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The provenance of a checkpoint, then of the checkpoint that it started from, and so on."""
    origin: object = provenance
    while isinstance(origin, Mapping):
        yield origin
        origin = origin.get("starts_from")


def _teacher(teacher: str, *, origins: list[Mapping[str, Any]]) -> str:
    """The name of a teacher in the provenance, or "not stated"."""
    for origin in origins:
        found = origin.get(teacher)
        if isinstance(found, str):
            weights = origin.get(_TEACHER_WEIGHTS[teacher])
            return one_line(f"{found} {weights}" if weights else found, limit=150)
        if f"{teacher}_teacher" in origin:
            return _OWN_SOURCE
    return NOT_STATED


def random_source(config: ModelConfig, *, seed: int) -> Source:
    """Makes a model with random weights, to test an export or to time a size before training."""
    return Source(
        model=build_model(config, seed=seed),
        revision=f"random-{seed}",
        provenance={"random_weights": True, "seed": seed},
        calibration=None,
        random_weights=True,
        licences=(RANDOM_LICENCE, TOKENIZER_LICENCES[config.text_encoder.kind]),
        notice=_read(_NOTICE),
    )


def is_random(name: str) -> bool:
    """Whether `find_source` draws this model's weights at random."""
    return name.startswith(_RANDOM)


def find_source(name: str) -> Source:
    """Reads the checkpoint folder `name`, or builds a preset given as `random:vit_b`.

    Raises:
        BundleError: there is no such checkpoint or preset.
    """
    preset = _preset(name)
    return read_source(Path(name)) if preset is None else random_source(preset, seed=0)


def find_config(name: str) -> ModelConfig:
    """Reads the config of the model that `find_source` finds, without its weights.

    Raises:
        BundleError: there is no such checkpoint or preset.
    """
    return _preset(name) or read_config(name)


def _preset(name: str) -> ModelConfig | None:
    """The config of a preset with random weights; None for the name of a folder."""
    if not is_random(name):
        return None
    preset = name.removeprefix(_RANDOM)
    if preset not in PRESETS:
        known = ", ".join(sorted(PRESETS))
        raise BundleError(f"there is no preset {one_line(preset)}; known are {known}")
    return PRESETS[preset]


def _read_nouns(path: Path) -> tuple[str, ...]:
    """The nouns of a file; empty if there is no file."""
    lines = [line.strip() for line in _read(path).splitlines()]
    try:
        return check_labels([line for line in lines if line]) if any(lines) else ()
    except TextError as error:
        raise ValueError(f"{path.name}: {error}") from error


def _read_words(path: Path) -> dict[str, bytes]:
    """A table of words by its name, checked; empty if there is no file.

    Raises:
        BundleError: it is no such table.
    """
    if not path.is_file():
        return {}
    read_table(path)
    return {path.name: path.read_bytes()}


def _read_thresholds(path: Path, *, nouns: Sequence[str]) -> dict[str, float]:
    """The thresholds of a file; none if there is no file."""
    found = json.loads(_read(path) or "{}")
    if not isinstance(found, dict):
        raise ValueError(f"{path.name} is no object of a threshold for each noun")
    for noun, own in found.items():
        if noun not in nouns:
            raise ValueError(f"{path.name}: {one_line(noun)!r} is not in nouns.txt")
        if isinstance(own, bool) or not isinstance(own, int | float) or not 0 <= own <= 1:
            raise ValueError(f"{path.name}: {noun!r} has {one_line(own)}; it must be from 0 to 1")
    return found


def _read(path: Path) -> str:
    """The text of a file; empty if there is no file."""
    return path.read_text(encoding="utf-8") if path.is_file() else ""
