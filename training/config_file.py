"""A TOML file of settings: a model, and a table for each stage; any value can be overridden."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from samclip_sdk.modeling.config import PRESETS, ModelConfig
from training.config import StageConfig
from training.errors import TrainingError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CONFIGS = Path(__file__).parent / "configs"

_MODEL = "model"
_SHARED = "merge"  # the table that stages of these tasks share
_MERGES = ("distill", "embeddings")
_SHARED_WITH_CALIBRATE = ("sources", "index")  # of the pictures in it
_TASKS = (
    "clip_teacher",
    "sam_teacher",
    "text_teacher",
    "lexicon",
    "classifier_clip",
    "text_encoder",
    "embeddings",
    "distill",
    "joint",
    "publish",
    "calibrate",
)
_KINDS = ("small", "foundation", "composed", "shards", "sa1b", "photographs", "mixed")
"""Of teachers, pictures and scenes."""
_MOST_FAULTS = 3  # that a message tells

_ADAPTER: TypeAdapter[StageConfig] = TypeAdapter(StageConfig)


def find_config(name: str) -> Path:
    """A config by its name in training/configs, or by the path of a TOML file.

    Raises:
        TrainingError: there is no such config.
    """
    path = Path(name) if name.endswith(".toml") else CONFIGS / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(sorted(each.stem for each in CONFIGS.glob("*.toml")))
        raise TrainingError(f"there is no config {name!r}: give one of {known}, or a TOML file")
    return path


def load_model(path: Path) -> ModelConfig:
    """Reads the model of a TOML file: a preset's name, or a table of `preset` and what differs.

    Raises:
        TrainingError: no such preset, an unknown key, or sizes that do not go together.
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
        raise TrainingError(f"{path.name}, model: {_describe(error)}") from error


def stage_names(path: Path) -> list[str]:
    """The stages that a TOML file has a table for."""
    return list(_tables(path)[1])


def load_stage(path: Path, stage: str, *, overrides: tuple[str, ...] = ()) -> StageConfig:
    """Reads one stage's table of a TOML file; what `merge` has goes for every stage of the merge.

    Args:
        path: the file, one table a stage.
        stage: the table's name.
        overrides: `dotted.key=value`, the value in TOML's syntax.

    Raises:
        TrainingError: no such stage, an unknown key, or a value out of range.
    """
    shared, tables = _tables(path)
    if stage not in tables:
        raise TrainingError(f"{path.name} has no stage {stage!r}; it has {', '.join(tables)}")
    table = tables[stage]
    if not isinstance(table, dict):
        raise TrainingError(f"{path.name}: {stage} is no table")
    if table.get("task") in _MERGES:
        table = _join(shared, table)
    elif table.get("task") == "calibrate" and "pictures" in table:
        pictures = shared.get("pictures", {})
        kept = {key: pictures[key] for key in _SHARED_WITH_CALIBRATE if key in pictures}
        table = _join({"pictures": kept}, table)
    for override in overrides:
        _override(table, override)
    try:
        return _ADAPTER.validate_python(table)
    except ValidationError as error:
        raise TrainingError(f"{path.name}, stage {stage}: {_describe(error)}") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        tables: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # of the syntax, or of the bytes
        raise TrainingError(f"{path} is no TOML file: {error}") from error
    return tables


def _tables(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The table that merges share, and the tables of the stages by name."""
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


def _describe(error: ValidationError) -> str:
    """What is wrong with which keys, in one line."""
    found = error.errors(include_url=False)
    told = []
    for each in found[:_MOST_FAULTS]:
        keys = [str(part) for part in each["loc"]]
        # Beside keys, a place has of which kind a stage is, and a table of it.
        keys = keys[1:] if keys and keys[0] in _TASKS else keys
        key = ".".join(keys[:1] + keys[2:] if len(keys) > 1 and keys[1] in _KINDS else keys)
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


def _join(shared: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Tables put together, those inside them too; where both have a value, it is the own one."""
    joined = dict(shared)
    for key, value in own.items():
        both = isinstance(value, dict) and isinstance(shared.get(key), dict)
        joined[key] = _join(shared[key], value) if both else value
    return joined
