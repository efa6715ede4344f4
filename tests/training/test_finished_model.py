"""Stages that go on from a finished model, as a person would run them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from export.source import read_source
from samclip_sdk.modeling.build import build_model
from samclip_sdk.modeling.checkpoint import load_checkpoint, read_provenance
from tests.own_things import write_things
from tests.refusals import refused
from tests.tiny_config import PYRAMID_STUDENT, STUDENT
from tests.training.photograph_files import annotation, rectangle, sample_image, write_set
from tests.training.text.wordnet_files import write_wordnet
from training.__main__ import app
from training.errors import TrainingError
from training.stages.joint import give_trained_parts
from training.student_file import PROPOSAL_HEAD
from training.teachers.efficientnet_lite import lite2_state
from training.teachers.text_teacher import load_text_teacher

PUBLISHED = Path(__file__).resolve().parents[2] / "training/checkpoints/mobile"

_CONFIG = """
model = "mobile"

[more]
task = "part"
part = "{part}"
starts_from = "{start}"
wordnet = "{wordnet}"

[more.photographs]
source = "photographs"
root = "{root}"
resolution = 64
late_resolution = 64
batch = 2
prompts = 1
prompts_each = 4
labels = 1

[more.optimisation]
steps = 2
learning_rate = 1e-3
workers = 0
threads = 1
multipliers = {{ "{module}" = 1.0 }}
"""


def changed(before: Path, after: Path) -> set[str]:
    """The weights that differ, or are new."""
    old, new = (load_checkpoint(folder).state_dict() for folder in (before, after))
    return {name for name, x in new.items() if name not in old or not torch.equal(x, old[name])}


def test_all_but_the_text_encoder_is_taken(finished: Path) -> None:
    student = build_model(PYRAMID_STUDENT, seed=2)
    own = {key: x.clone() for key, x in student.text_encoder.state_dict().items()}
    give_trained_parts(student, finished)
    theirs = load_checkpoint(finished).state_dict()
    for key, x in student.state_dict().items():
        name = key.removeprefix("text_encoder.")
        assert torch.equal(x, theirs[key] if name == key else own[name]), key
    other = build_model(STUDENT, seed=2)
    refused(lambda: give_trained_parts(other, finished), TrainingError, "model.safetensors")


@pytest.mark.parametrize(
    ("part", "module"),
    [
        ("pictures", "image_encoder.neck"),
        ("outlines", "image_encoder.mix"),
        ("prompts", "mask_decoder"),
        ("cells", "clip_head.cells"),
        ("proposals", "image_encoder.proposal_head"),
    ],
)
def test_one_part_learns(finished: Path, tmp_path: Path, part: str, module: str) -> None:
    things = [annotation(1, rectangle(20, 20, 80, 70))]
    write_set(tmp_path / "sets" / "toys", [(sample_image(), things, {})], info={"terms": "ours"})
    config, wordnet = tmp_path / "own.toml", write_wordnet(tmp_path / "wordnet")
    told = _CONFIG.format(
        start=finished, root=tmp_path / "sets", part=part, module=module, wordnet=wordnet
    )
    config.write_text(told)
    command = ["more", "--config", str(config), "--runs", str(tmp_path / "runs")]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    run = tmp_path / "runs" / "own" / "more"
    moved = changed(finished, run)
    new = {name for name in moved if name.startswith(PROPOSAL_HEAD)}
    assert bool(new) == (part in ("pictures", "outlines", "proposals"))
    assert any(name.startswith(f"{module}.") for name in moved)
    assert all(name.startswith(f"{module}.") for name in moved - new)
    provenance = read_provenance(run)
    assert provenance["starts_from"] == {"stage": "joint"}
    assert provenance["photographs"] == {"toys": "ours"}


@pytest.mark.slow
def test_published_weights_come_back_and_the_heads_answer_as_before(tmp_path: Path) -> None:
    things = [annotation(1, rectangle(20, 20, 80, 70))]
    write_set(tmp_path / "sets" / "toys", [(sample_image(), things, {})], info={"terms": "ours"})
    config, wordnet = tmp_path / "own.toml", write_wordnet(tmp_path / "wordnet")
    start, module = PUBLISHED / "refinement", "clip_head.cells"
    told = _CONFIG.format(
        start=start, root=tmp_path / "sets", part="heads", module=module, wordnet=wordnet
    )
    restored = f'restored = 0.75\ntext_teacher = "{PUBLISHED / "text_teacher"}"'
    config.write_text(told.replace('part = "heads"', f'part = "heads"\n{restored}'))
    command = ["more", "--config", str(config), "--runs", str(tmp_path / "runs")]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    run = tmp_path / "runs" / "own" / "more"
    before, after = (load_checkpoint(folder).state_dict() for folder in (start, run))
    published, key = lite2_state(), "blocks.6.0.conv_pw.weight"
    own = f"image_encoder.backbone.{key}"
    torch.testing.assert_close(after[own], 0.25 * before[own] + 0.75 * published[key])
    axes = load_text_teacher(PUBLISHED / "text_teacher").space.axes[..., None, None]
    own = "clip_head.project.weight"
    torch.testing.assert_close(after[own], 0.25 * before[own] + 0.75 * axes)
    moved = changed(start, run)
    assert any(name.startswith(f"{module}.") for name in moved)
    assert all(name.startswith(("image_encoder.backbone.", "clip_head.")) for name in moved)
    first = json.loads((run / "log.jsonl").read_text().splitlines()[0])
    assert first["joint/patches"] > 0.01  # of the model before, and not of the restored one
    assert first["joint/embeddings"] > 0.01


@pytest.mark.parametrize(("part", "word"), [("heads", "text_teacher"), ("cells", "backbone")])
def test_what_cannot_be_restored_is_told(
    finished: Path, tmp_path: Path, part: str, word: str
) -> None:
    config = tmp_path / "own.toml"
    told = _CONFIG.format(start=finished, root=tmp_path, part=part, module="x", wordnet=tmp_path)
    config.write_text(told.replace('task = "part"', 'task = "part"\nrestored = 0.5'))
    done = CliRunner().invoke(app, ["more", "--config", str(config)])
    assert done.exit_code == 1
    assert word in done.output


def finetuned(finished: Path, tmp_path: Path) -> tuple[Path, str]:
    """The folder of a finetuning of two steps, and what the command printed."""
    images = tmp_path / "own"
    images.mkdir()
    write_things(images, images=10)
    options = ("--coco", str(images / "own.json"), "--images", str(images))
    options += ("--runs", str(tmp_path / "runs"), "--set", f'checkpoint="{finished}"')
    command = ["finetune", *options, "--set", "optimisation.steps=2", "--set", "batch=2"]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return tmp_path / "runs" / "finetune" / "finetune", done.stdout


def test_of_own_things_the_heads_learn(finished: Path, tmp_path: Path) -> None:
    run, told = finetuned(finished, tmp_path)
    assert "item 17" in told
    assert f"python -m export {run}" in told
    moved = changed(finished, run)
    assert any(name.startswith("clip_head.cells.") for name in moved)
    assert all(name.startswith(("clip_head.cells.", "mask_decoder.")) for name in moved)
    assert (run / "nouns.txt").read_text() == "dog\ncat\nitem 17\n"
    for name in ("calibration.json", "words.json"):
        assert (run / name).read_text() == (finished / name).read_text()
    assert read_provenance(run)["starts_from"] == {"stage": "joint"}
    report = json.loads((run / "report.json").read_text())
    assert report["before"]["item 17"]["images"] == report["after"]["item 17"]["images"] == 1
    thresholds = json.loads((run / "thresholds.json").read_text())
    assert 0 < thresholds["item 17"] < 1
    assert report["thresholds"] == thresholds
    assert "threshold" in told
    assert "--threshold" not in told
    assert read_source(run).thresholds == thresholds


def test_without_nouns_no_bundle_holds_the_thresholds_of_own_things(
    finished: Path, tmp_path: Path
) -> None:
    (finished / "nouns.txt").unlink()
    run, told = finetuned(finished, tmp_path)
    assert "--threshold" in told
    assert read_source(run).thresholds == {}


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


def test_elsewhere_than_in_a_checkout_the_finished_model_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = write_things(tmp_path, images=2)
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["finetune", "--coco", str(own), "--images", str(tmp_path)])
    assert done.exit_code == 1
    told = " ".join(done.output.split())
    assert f"in {tmp_path}: run this in a checkout" in told
    assert "to its end first" not in told
