"""The commands, with the real client on a tiny random model: what the fake promises is true."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.public.command import SETS
from benchmarks.public.detection import INSTANCES
from benchmarks.public.segmentation import load_at, source_at
from benchmarks.table import Part, read_table
from samclip_sdk import SamClip
from tests.benchmarks.public.miniatures import (
    CAPTIONS,
    ade,
    coco,
    detected,
    flickr,
    gold,
    imagenet,
    quarters,
)
from tests.fake_source import FakeSource


def run(*arguments: str) -> tuple[int, list[str]]:
    done = CliRunner().invoke(app, ["evaluate", *arguments])
    return done.exit_code, done.output.splitlines()


def evaluate(dataset: str, root: Path, model: Path, *more: str) -> tuple[Part, list[str]]:
    """The figures, and what was printed."""
    output = root / "result.jsonl"
    chosen = ["--runtime", "torch", "--model", str(model), "--output", str(output)]
    code, lines = run(dataset, str(root), *chosen, *more)
    assert code == 0, lines
    return read_table(output).parts[-1], lines


def test_classification_and_retrieval(tmp_path: Path, tiny_checkpoint: Path) -> None:
    """The one caption is longer than the context: it is cut, without a word on the screen."""
    root = imagenet(tmp_path, names=["red", "green", "blue"])
    found, lines = evaluate("imagenet", root, tiny_checkpoint, "--limit", "1")
    assert found.run.model is not None
    assert found.run.model.random_weights
    assert (found.run.settings["limit"], found.rows["imagenet", "", "top1"].n) == (1, 1)
    assert found.value("imagenet", "resolution_px") == 32
    assert any(line.endswith("| 1, limited | 72.4 at 336 px |") for line in lines), lines
    found, lines = evaluate(
        "flickr30k", flickr(tmp_path, {"b.jpg": ["blue " * 90]}), tiny_checkpoint
    )
    assert found.value("flickr30k", "r1", "text to image") == 1
    assert found.value("flickr30k", "cut", "text to image") == 1
    assert any("imagenet top1" in line for line in lines)  # earlier sets stay in the table


def test_semantic_segmentation(tmp_path: Path, tiny_checkpoint: Path) -> None:
    found, lines = evaluate("ade20k", ade(tmp_path, quarters(1, 2, 0, 1)), tiny_checkpoint)
    assert found.subjects == ["ade20k: clip_head", "ade20k: both_heads"]
    assert {found.value(each, "resolution_px") for each in found.subjects} == {64}
    assert "| mean miou of the eight sets: clip_head | 1 of 8 measured | | |" in lines
    found, _ = evaluate("ade20k", tmp_path, tiny_checkpoint, "--heads", "clip_head")
    assert found.subjects == ["ade20k: clip_head"]


def test_objects(tmp_path: Path, tiny_checkpoint: Path) -> None:
    """Random weights find something at a threshold of 0, and hardly what is there."""
    root = coco(tmp_path)
    boxes = ["--boxes", str(detected(root))]
    found, lines = evaluate("coco-instances", root, tiny_checkpoint, *boxes)
    assert found.value("coco-instances: from boxes", "boxes") == 2
    assert any(line.startswith("| coco-instances: from boxes ap_medium | ") for line in lines)
    zero = ["--presence-threshold", "0"]
    found, _ = evaluate("coco-instances", root, tiny_checkpoint, *zero)
    subject = "coco-instances: one_model"
    assert found.value(subject, "categories") == 2
    assert (found.value(subject, "found") or 0) > 0
    assert (found.value(subject, "milliseconds") or 0) > 0
    found, lines = evaluate("sa-co", gold(tmp_path), tiny_checkpoint, *zero)
    assert found.rows["sa-co", "", "cgf1"].n == 2
    assert any(line.startswith("| sa-co cgf1 | ") for line in lines)


def test_every_set_tells_its_layout() -> None:
    done = CliRunner().invoke(app, ["evaluate", "--help"])
    for name in SETS:
        assert f"{name}: Reads" in done.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("imagenet", "--boxes", "a.json"), "--boxes is not of imagenet"),
        (("lvis", "--boxes", "a.json", "--heads", "both_heads"), "--heads is not of lvis"),
        (("imagenet", "--presence-threshold", "0.5"), "--presence-threshold is not of imagenet"),
        (("coco-instances", "--two-models"), "--two-models is not of coco-instances"),
        (("photographs", "--teachers", "runs/mobile"), "--teachers needs --two-models"),
        (("lvis", "--boxes", "a.json", "--presence-threshold", "0"), "--boxes goes without"),
        (("coco-instances", "--min-score", "0.5"), "--min-score is not of coco-instances"),
    ],
)
def test_options_of_other_sets_are_refused(
    arguments: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    name, *more = arguments
    code, lines = run(name, str(tmp_path), *more, "--output", str(tmp_path / "result.jsonl"))
    assert (code, len(lines)) == (1, 1)
    assert said in lines[0]


@pytest.mark.parametrize("dataset", SETS)
def test_a_folder_that_is_not_there_or_empty(tmp_path: Path, dataset: str) -> None:
    more = ["--boxes", str(tmp_path / "boxes.json")] if dataset in INSTANCES else []
    output = tmp_path / "result.jsonl"
    code, lines = run(dataset, str(tmp_path / "none"), "--output", str(output), *more)
    assert (code, len(lines)) == (1, 1)
    assert f"error: {tmp_path / 'none'} is not a folder: expected one with" in lines[0]
    assert not output.exists()
    if dataset not in ("imagenet", "imagenet-v2", "photographs"):  # which begin otherwise
        code, lines = run(dataset, str(tmp_path), "--output", str(output), *more)
        assert (code, len(lines)) == (1, 1)
        assert f"error: {tmp_path} has no f" in lines[0]


def test_what_cannot_be_read(tmp_path: Path, tiny_checkpoint: Path) -> None:
    broken = imagenet(tmp_path, names=["red", "green", "blue"]) / "val" / "n00000001" / "c.JPEG"
    broken.write_bytes(b"no picture")
    output = tmp_path / "result.jsonl"
    chosen = ["--runtime", "torch", "--model", str(tiny_checkpoint), "--output", str(output)]
    code, lines = run("imagenet", str(tmp_path), *chosen)
    assert code == 1
    assert lines[-1] == f"error: {broken} cannot be read as a picture"
    assert not output.exists()
    path = flickr(tmp_path, CAPTIONS) / "dataset_flickr30k.json"
    path.write_text("{", encoding="utf-8")
    code, lines = run("flickr30k", str(tmp_path), "--output", str(output))
    assert (code, len(lines)) == (1, 1)
    assert f"{path} is another file: Invalid JSON" in lines[0]


def test_the_clip_head_has_a_resolution_of_its_own(tmp_path: Path, tiny_checkpoint: Path) -> None:
    # The model is smaller than the paper's; it runs at 32 pixels, and not at 33.
    for at_most_px, expected in ((448, 64), (32, 32), (33, 64)):
        both, head = load_at("torch", at_most_px=at_most_px, model=tiny_checkpoint, precision=None)
        assert both.manifest.tasks.segmentation.resolution == 64
        assert head.manifest.tasks.segmentation.resolution == expected
    source = FakeSource(tmp_path)
    found = SamClip(source_at(source, resolution_px=32)).segment_text(
        np.zeros((32, 32, 3), np.uint8), ["dog"], refine=False
    )
    assert source.runs("image_encoder@32") == 1
    assert found.asked.score_maps.shape == (1, 2, 2)
