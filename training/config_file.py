"""A TOML file of settings: a model, and a table for each stage. Any value can be overridden.

A file may name another one as its `base`, and then has only the values that differ.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from samclip_sdk.modeling.config import PRESETS, ModelConfig
from training.errors import TrainingError
from training.stage import StageSettings
from training.stages.calibrate import CalibrateConfig
from training.stages.distill import DistillConfig
from training.stages.embeddings import EmbeddingsConfig
from training.stages.finetune import FinetuneConfig
from training.stages.joint import JointConfig
from training.stages.lexicon import LexiconConfig
from training.stages.part import PartConfig
from training.stages.publish import PublishConfig
from training.stages.small_teachers import ClipTeacherConfig, SamTeacherConfig
from training.stages.text_encoder import TextEncoderTrainingConfig
from training.stages.text_teacher import TextTeacherConfig

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CONFIGS = Path(__file__).parent / "configs"

_MODEL, _BASE = "model", "base"
_SHARED = "merge"  # the table that stages of these tasks share
_MERGES = ("distill", "embeddings", "joint")
_MAX_FAULTS = 3  # in a message

_AnyStage = Annotated[
    ClipTeacherConfig
    | SamTeacherConfig
    | TextTeacherConfig
    | LexiconConfig
    | TextEncoderTrainingConfig
    | EmbeddingsConfig
    | DistillConfig
    | JointConfig
    | FinetuneConfig
    | PartConfig
    | PublishConfig
    | CalibrateConfig,
    Field(discriminator="task"),
]
_ADAPTER: TypeAdapter[StageSettings] = TypeAdapter(_AnyStage)


def find_config(name: str) -> Path:
    """Returns the path of a config by its name, or of a TOML file; raises TrainingError without."""
    path = Path(name) if name.endswith(".toml") else CONFIGS / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(sorted(each.stem for each in CONFIGS.glob("*.toml")))
        raise TrainingError(f"there is no config {name!r}: give one of {known}, or a TOML file")
    return path


def config_name(path: Path) -> str:
    """What `find_config` finds a config by."""
    return path.stem if path.parent == CONFIGS else str(path)


def load_model(path: Path) -> ModelConfig:
    """Reads the model of a TOML file: a preset's name, or a table of `preset` and differences.

    Raises:
        TrainingError: there is no such preset, a key is unknown, or sizes do not fit together.
    """
    model = _read(path).get(_MODEL, {})
    changes = {"preset": model} if isinstance(model, str) else dict(model)
    preset = changes.pop("preset", None)
    if preset not in PRESETS:
        raise TrainingError(
            f"{path.name}: model.preset is {preset!r}, not one of {', '.join(PRESETS)}"
        )
    try:
        return ModelConfig.model_validate(_join(PRESETS[preset].model_dump(), changes))
    except ValidationError as error:
        raise TrainingError(f"{path.name}, model: {_describe(error, changes)}") from error


def stage_names(path: Path) -> list[str]:
    """Returns the names of the stages of a TOML file, in their order."""
    return list(_tables(path)[1])


def load_stage(path: Path, stage: str, *, overrides: tuple[str, ...] = ()) -> StageSettings:
    """Reads the settings of one stage. Those in the table `merge` hold for all stages of a merge.

    An override is `dotted.key=value`, the value in TOML's syntax.

    Raises:
        TrainingError: there is no such stage, a key is unknown, or a value is out of range.
    """
    shared, tables = _tables(path)
    if stage not in tables:
        raise TrainingError(f"{path.name} has no stage {stage!r}; it has {', '.join(tables)}")
    table = tables[stage]
    if not isinstance(table, dict):
        raise TrainingError(f"{path.name}: {stage} is no table")
    if table.get("task") in _MERGES:
        table = _join(shared, table)
    for override in overrides:
        _override(table, override)
    try:
        return _ADAPTER.validate_python(table)
    except ValidationError as error:
        raise TrainingError(f"{path.name}, stage {stage}: {_describe(error, table)}") from error


def _read(path: Path) -> dict[str, Any]:
    """Reads a TOML file; what it does not have comes from its base."""
    tables = _parse(path)
    if (base := tables.pop(_BASE, None)) is None:
        return tables
    shared = _parse(find_config(str(base)))
    if _BASE in shared:
        raise TrainingError(
            f"{path.name}: its base {base} has a base itself, {shared[_BASE]}: name that one"
        )
    return _join(shared, tables)


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # of the syntax, or of the bytes
        raise TrainingError(f"{path} is no TOML file: {error}") from error


def _tables(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the table that merges share, and the tables of the stages by name."""
    tables = _read(path)
    tables.pop(_MODEL, None)
    return tables.pop(_SHARED, {}), tables


def _override(table: dict[str, Any], override: str) -> None:
    """Sets one value, `dotted.key=value`."""
    key, equals, text = override.partition("=")
    if not key or not equals:
        raise TrainingError(
            f"--set {override}: give it as KEY=VALUE, such as optimisation.steps=100"
        )
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError as error:
        raise TrainingError(
            f"--set {override}: {text!r} is no value in TOML's syntax, where a text has quotes: "
            f"'{key}=\"{text}\"'"
        ) from error
    *parents, leaf = key.split(".")
    for parent in parents:
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            raise TrainingError(f"--set {override}: {parent} is no table")
    table[leaf] = value


def _describe(error: ValidationError, table: Any) -> str:
    """Returns what is wrong with which keys of a table, in one line."""
    found = error.errors(include_url=False)
    told = []
    for each in found[:_MAX_FAULTS]:
        key = _dotted(each["loc"], table)
        match each["type"]:
            case "extra_forbidden":
                told.append(f"there is no key {key}")
            case "missing":
                told.append(f"{key} is missing")
            case "value_error":
                told.append(each["msg"].removeprefix("Value error, "))
            case _:
                told.append(f"{key} is {each['input']!r}: {each['msg']}")
    more = len(found) - len(told)
    return "; ".join(told) + (f"; and {more} more" if more else "")


def _dotted(location: tuple[str | int, ...], table: Any) -> str:
    """Returns the dotted key of a place in a table.

    A place also has the kind of each table that is one of several kinds. Kinds are left out.
    """
    keys = []
    for position, part in enumerate(location, start=1):
        inside = isinstance(part, int) or (isinstance(table, dict) and part in table)
        if inside or position == len(location):
            keys.append(str(part))
            table = table[part] if inside else None
    return ".".join(keys)


def _join(shared: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Joins two tables and the tables inside them. Own values replace shared ones."""
    joined = dict(shared)
    for key, value in own.items():
        both = isinstance(value, dict) and isinstance(shared.get(key), dict)
        joined[key] = _join(shared[key], value) if both else value
    return joined
