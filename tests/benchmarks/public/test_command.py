"""The commands, with the real client on a tiny random model: what the fake promises is true."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.public.command import SETS
from benchmarks.public.detection import INSTANCES
from benchmarks.public.segmentation import SEMANTIC, load_at, source_at
from benchmarks.public.whole_pictures import RETRIEVAL
from benchmarks.table import Part, read_table
from samclip_sdk import SamClip
from tests.benchmarks.public.painted import (
    BLACK,
    BLUE,
    GREEN,
    RED,
    paint,
    paint_indices,
    write_json,
    write_lines,
)
from tests.fake_source import FakeSource

SIZE = (60, 40)


def imagenet(root: Path) -> Path:
    write_lines(root / "classnames.txt", "n00000000 red", "n00000001 green")
    paint(root / "val" / "n00000000" / "a.JPEG", RED, size=SIZE)
    paint(root / "val" / "n00000001" / "b.JPEG", GREEN, size=SIZE)
    return root


def flickr(root: Path) -> Path:
    paint(root / "images" / "a.jpg", BLUE, size=SIZE)
    image = {"filename": "a.jpg", "split": "test", "sentences": [{"raw": "blue " * 90}]}
    write_json(root / "dataset_flickr30k.json", {"images": [image]})
    return root


def ade(root: Path) -> Path:
    rows = [f"{i}\t0\t0\t0\t{name}" for i, name in enumerate(("wall", "sky"), start=1)]
    write_lines(root / "objectInfo150.txt", "Idx\tRatio\tTrain\tVal\tName", *rows)
    paint(root / "images" / "validation" / "a.jpg", RED, BLUE, BLACK, BLACK, size=SIZE)
    truth = np.kron([[1, 2], [0, 1]], np.ones((20, 30), int))
    paint_indices(root / "annotations" / "validation" / "a.png", truth)
    return root


def coco(root: Path) -> Path:
    paint(root / "val2017" / "1.jpg", RED, BLUE, BLACK, BLACK, size=SIZE)
    thing = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 30, 20]}
    polygon = {"segmentation": [[0, 0, 30, 0, 30, 20, 0, 20]], "area": 600, "iscrowd": 0}
    content = {
        "images": [{"id": 1, "file_name": "1.jpg", "width": 60, "height": 40}],
        "annotations": [thing | polygon],
        "categories": [{"id": 1, "name": "person"}],
    }
    write_json(root / "annotations" / "instances_val2017.json", content)
    box = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 30, 20], "score": 0.5}
    write_json(root / "boxes.json", [box, box | {"bbox": [25, 15, 35, 25]}])
    return root


def saco(root: Path) -> Path:
    paint(root / "images" / "a.jpg", RED, size=SIZE)
    image = {"id": 1, "file_name": "a.jpg", "text_input": "red", "width": 60, "height": 40}
    thing = {"image_id": 1, "segmentation": [[0, 0, 30, 0, 30, 20, 0, 20]]}
    content = {"images": [image, image | {"id": 2}], "annotations": [thing]}
    write_json(root / "gold_metaclip_merged_a_release_test.json", content)
    return root


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
    root = imagenet(tmp_path)
    found, lines = evaluate("imagenet", root, tiny_checkpoint, "--limit", "1")
    assert found.run.model is not None
    assert found.run.model.random_weights
    assert (found.run.settings["limit"], found.rows["imagenet", "", "top1"].n) == (1, 1)
    assert found.value("imagenet", "resolution_px") == 32
    assert any(line.endswith("| 1, limited | 72.4 at 336 px |") for line in lines), lines
    found, lines = evaluate("flickr30k", flickr(tmp_path), tiny_checkpoint)
    assert found.value("flickr30k", "r1", "text to image") == 1
    assert found.value("flickr30k", "cut", "text to image") == 1
    assert any("imagenet top1" in line for line in lines)  # earlier sets stay in the table


def test_semantic_segmentation(tmp_path: Path, tiny_checkpoint: Path) -> None:
    found, lines = evaluate("ade20k", ade(tmp_path), tiny_checkpoint)
    assert found.subjects == ["ade20k: clip_head", "ade20k: both_heads"]
    assert {found.value(each, "resolution_px") for each in found.subjects} == {64}
    assert "| mean miou of the eight sets: clip_head | 1 of 8 measured | | |" in lines
    found, _ = evaluate("ade20k", tmp_path, tiny_checkpoint, "--heads", "clip_head")
    assert found.subjects == ["ade20k: clip_head"]


def test_objects(tmp_path: Path, tiny_checkpoint: Path) -> None:
    """Random weights find something at a threshold of 0, and hardly what is there."""
    root = coco(tmp_path)
    boxes = ["--boxes", str(root / "boxes.json")]
    found, lines = evaluate("coco-instances", root, tiny_checkpoint, *boxes)
    assert found.value("coco-instances: from boxes", "boxes") == 2
    assert any(line.startswith("| coco-instances: from boxes ap_small | ") for line in lines)
    zero = ["--presence-threshold", "0"]
    found, _ = evaluate("coco-instances", root, tiny_checkpoint, *zero)
    subject = "coco-instances: one_model"
    assert found.value(subject, "categories") == 1
    assert (found.value(subject, "found") or 0) > 0
    assert (found.value(subject, "milliseconds") or 0) > 0
    found, lines = evaluate("sa-co", saco(tmp_path), tiny_checkpoint, *zero)
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
def test_a_folder_that_is_not_there(tmp_path: Path, dataset: str) -> None:
    more = ["--boxes", str(tmp_path / "boxes.json")] if dataset in INSTANCES else []
    output = tmp_path / "result.jsonl"
    code, lines = run(dataset, str(tmp_path / "none"), "--output", str(output), *more)
    assert (code, len(lines)) == (1, 1)
    assert f"error: {tmp_path / 'none'} is not a folder: expected one with" in lines[0]
    assert not output.exists()


@pytest.mark.parametrize("dataset", [*SEMANTIC, *RETRIEVAL, *INSTANCES, "places365", "sa-co"])
def test_an_empty_folder(tmp_path: Path, dataset: str) -> None:
    root = tmp_path / "empty"
    root.mkdir()
    more = ["--boxes", str(tmp_path / "boxes.json")] if dataset in INSTANCES else []
    code, lines = run(dataset, str(root), "--output", str(tmp_path / "result.jsonl"), *more)
    assert (code, len(lines)) == (1, 1)
    assert f"error: {root} has no f" in lines[0]


def test_what_cannot_be_read(tmp_path: Path, tiny_checkpoint: Path) -> None:
    broken = imagenet(tmp_path) / "val" / "n00000001" / "b.JPEG"
    broken.write_bytes(b"no picture")
    output = tmp_path / "result.jsonl"
    chosen = ["--runtime", "torch", "--model", str(tiny_checkpoint), "--output", str(output)]
    code, lines = run("imagenet", str(tmp_path), *chosen)
    assert code == 1
    assert lines[-1] == f"error: {broken} cannot be read as a picture"
    assert not output.exists()
    path = flickr(tmp_path) / "dataset_flickr30k.json"
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
