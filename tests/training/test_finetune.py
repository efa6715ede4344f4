"""A short training on one's own things, as a person would run it, on a tiny model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from samclip_sdk.modeling.checkpoint import load_checkpoint, read_provenance
from tests.own_things import write_things
from training.__main__ import app


def test_heads_learn_and_the_backbone_stays(finished: Path, tmp_path: Path) -> None:
    pictures = tmp_path / "own"
    pictures.mkdir()
    write_things(pictures, pictures=10)
    options = ("--coco", str(pictures / "own.json"), "--images", str(pictures))
    options += ("--runs", str(tmp_path / "runs"), "--set", f'checkpoint="{finished}"')
    command = ["finetune", *options, "--set", "optimisation.steps=2", "--set", "batch=2"]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "item 17" in done.stdout
    run = tmp_path / "runs" / "finetune" / "finetune"
    assert f"python -m export {run}" in done.stdout
    before, after = load_checkpoint(finished).state_dict(), load_checkpoint(run).state_dict()
    changed = {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}
    assert any(name.startswith("clip_head.cells.") for name in changed)
    assert all(name.startswith(("clip_head.cells.", "mask_decoder.")) for name in changed)
    assert (run / "nouns.txt").read_text() == "dog\ncat\nitem 17\n"
    assert (run / "calibration.json").read_text() == (finished / "calibration.json").read_text()
    assert read_provenance(run)["starts_from"] == {"stage": "joint"}
    report = json.loads((run / "report.json").read_text())
    assert report["before"]["item 17"]["pictures"] == report["after"]["item 17"]["pictures"] == 1


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["finetune"], "--coco"),
        (["finetune", "--coco", "none.json", "--images", "."], "none.json"),
        (["stage1", "--coco", "none.json"], "finetune"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, arguments: list[str], word: str) -> None:
    done = CliRunner().invoke(app, [*arguments, "--runs", str(tmp_path / "runs")])
    assert done.exit_code == 1
    assert word in done.output
    assert not (tmp_path / "runs").exists()
