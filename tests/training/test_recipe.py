"""`all` makes what is exported: no stage that was trained is lost on the way."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from export.source import read_source
from samclip_sdk.errors import BundleError
from samclip_sdk.modeling.checkpoint import load_checkpoint, read_provenance
from tests.refusals import refused
from tests.source_tree import ROOT
from tests.training.photograph_files import annotation, rectangle, sample_image, write_set
from tests.training.text.wordnet_files import write_wordnet
from training.__main__ import app
from training.config_file import find_config, load_stage, stage_names
from training.stage import TrainedSettings
from training.stages.publish import PublishConfig
from training.tasks.part import MODULES

_PART = """
[{part}]
task = "part"
part = "{part}"
starts_from = "{start}"
wordnet = "{wordnet}"
[{part}.photographs]
source = "photographs"
root = "{root}"
resolution = 64
late_resolution = 64
batch = 2
prompts = 1
prompts_each = 4
labels = 1
[{part}.optimisation]
steps = 2
learning_rate = 1e-2
workers = 0
threads = 1
multipliers = {{ "{module}" = 1.0 }}
"""
_TAIL = """
[publish]
task = "publish"
checkpoint = "{start}"
parts = ["prompts", "cells"]

[calibrate]
task = "calibrate"
checkpoint = "publish"
photographs = {{ source = "photographs", root = "{root}" }}

[masks]
task = "calibrate"
checkpoint = "publish"
labels_stay = true
box_margin = 0.03
photographs = {{ source = "photographs", root = "{root}" }}
"""

IMAGES = [((90, 120, 150), "train"), ((10, 200, 30), "calibration")]


@pytest.fixture
def config(finished: Path, tmp_path: Path) -> Path:
    """The smallest recipe: two parts of a finished model, and what `all` makes of them."""
    root, wordnet = tmp_path / "sets", write_wordnet(tmp_path / "wordnet")
    thing = [annotation(1, rectangle(20, 20, 80, 70))]
    images = [(sample_image(*colour), thing, {"split": split}) for colour, split in IMAGES]
    write_set(root / "toys", images, info={"terms": "ours", "complete": True})
    told = {"root": root, "wordnet": wordnet}
    path = tmp_path / "own.toml"
    path.write_text(
        'model = "mobile"\n'
        + _PART.format(part="prompts", start=finished, module="mask_decoder", **told)
        + _PART.format(part="cells", start="prompts", module="clip_head.cells", **told)
        + _TAIL.format(start=finished, root=root)
    )
    return path


def train(stage: str, config: Path, *, fails: bool = False) -> str:
    runs = config.parent / "elsewhere"
    command = [stage, "--config", str(config), "--runs", str(runs)]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert done.exit_code == int(fails), done.output
    return " ".join(done.output.split())


def test_all_publishes_and_calibrates_what_was_trained(finished: Path, config: Path) -> None:
    told, runs = train("all", config), config.parent / "elsewhere" / "own"
    assert told.endswith(f"Next: python -m export {runs / 'publish'} my-bundle")
    assert read_provenance(runs / "cells")["starts_from"]["stage"] == "prompts"
    found = load_checkpoint(runs / "publish").state_dict()
    expected = load_checkpoint(finished).state_dict()
    for name in ("prompts", "cells"):
        state = load_checkpoint(runs / name).state_dict()
        modules = tuple(f"{module}." for module in MODULES[name])
        assert any(not torch.equal(expected[key], state[key]) for key in state), name
        expected |= {key: x for key, x in state.items() if key.startswith(modules)}
    for key, x in expected.items():
        assert torch.equal(found[key], x.half().float() if x.is_floating_point() else x), key
    source = read_source(runs / "publish")
    assert source.calibration is not None
    assert source.calibration.box_margin == 0.03
    assert {"prompts", "cells", "calibration", "mask_calibration"} <= set(source.provenance)
    assert train("all", config) == f"all stages of {config} are done"


def lacks(checkpoint: Path, *stages: str) -> None:
    refused(lambda: read_source(checkpoint), BundleError, ", ".join(stages))


def test_no_checkpoint_is_exported_that_lacks_a_stage(finished: Path, config: Path) -> None:
    train("prompts", config)
    run = config.parent / "elsewhere" / "own" / "prompts"
    lacks(run, "cells", "publish", "calibrate", "masks")
    (run / "stages.json").write_text("{}")
    lacks(run, "stages.json")
    (run / "stages.json").unlink()
    lacks(run, "stages.json")


def test_thresholds_that_were_never_chosen_do_not_stay(config: Path) -> None:
    for stage in ("prompts", "cells", "publish"):
        train(stage, config)
    published = config.parent / "elsewhere" / "own" / "publish"
    assert f"{published} has no calibration.json" in train("masks", config, fails=True)
    lacks(published, "calibrate", "masks")


def ancestors(name: str) -> Sequence[str]:
    settings = load_stage(find_config("mobile"), name)
    start = getattr(settings, "starts_from", None)
    return (name,) if start is None else (name, *ancestors(start))


def test_all_that_mobile_trains_is_in_what_it_publishes() -> None:
    path = find_config("mobile")
    names = stage_names(path)
    publish = load_stage(path, "publish")
    assert isinstance(publish, PublishConfig)
    assert publish.text_encoder is not None
    published = {
        each
        for name in (publish.checkpoint, publish.text_encoder, *publish.parts)
        for each in ancestors(name)
    }
    trained = {each for each in names if isinstance(load_stage(path, each), TrainedSettings)}
    assert published == trained
    for later, *earlier in map(ancestors, trained):
        assert all(names.index(each) < names.index(later) for each in earlier)
    assert names[-3:] == ["publish", "calibrate", "masks"]


def test_the_checkpoint_that_ships_tells_what_ran() -> None:
    folder = ROOT / "training/checkpoints/mobile/refinement"
    record = json.loads((folder / "stages.json").read_bytes())
    assert record["lacks"] == []
    assert set(stage_names(find_config("mobile"))) == set(record["ran"])
    assert {"outlines", "cells", "heads", "pictures", "prompts"} <= set(read_provenance(folder))
