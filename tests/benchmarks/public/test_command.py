"""The commands, with the real client on a tiny random model: what the fake promises is true."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.public.command import SETS
from benchmarks.public.detection import INSTANCES
from benchmarks.public.record import (
    PUBLISHED,
    Detections,
    Evaluation,
    Instances,
    Segmentation,
    render,
)
from benchmarks.public.segmentation import SEMANTIC, load_at, source_at
from benchmarks.public.whole_pictures import RETRIEVAL
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
    annotation = {
        "id": 1,
        "image_id": 1,
        "category_id": 1,
        "segmentation": [[0, 0, 30, 0, 30, 20, 0, 20]],
        "area": 600,
        "bbox": [0, 0, 30, 20],
        "iscrowd": 0,
    }
    content = {
        "images": [{"id": 1, "file_name": "1.jpg", "width": 60, "height": 40}],
        "annotations": [annotation],
        "categories": [{"id": 1, "name": "person"}],
    }
    write_json(root / "annotations" / "instances_val2017.json", content)
    box = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 30, 20], "score": 0.5}
    write_json(root / "boxes.json", [box, box | {"bbox": [25, 15, 35, 25]}])
    return root


def run(*arguments: str) -> tuple[int, list[str]]:
    done = CliRunner().invoke(app, ["evaluate", *arguments])
    return done.exit_code, done.output.splitlines()


def evaluate(dataset: str, root: Path, model: Path, *more: str) -> Evaluation:
    output = root / "result.json"
    chosen = ["--runtime", "torch", "--model", str(model), "--output", str(output)]
    code, lines = run(dataset, str(root), *chosen, *more)
    assert code == 0, lines
    return Evaluation.model_validate_json(output.read_bytes())


def test_classification(tmp_path: Path, tiny_checkpoint: Path) -> None:
    found = evaluate("imagenet", imagenet(tmp_path), tiny_checkpoint, "--limit", "1")
    assert found.model.random_weights
    assert (found.dataset, found.limit) == ("imagenet", 1)
    (figures,) = found.figures
    assert (figures.kind, figures.pictures, figures.resolution_px) == ("accuracy", 1, 32)


def test_retrieval(tmp_path: Path, tiny_checkpoint: Path) -> None:
    """One picture and one caption, longer than the context: cut, without a word on the screen."""
    (figures,) = evaluate("flickr30k", flickr(tmp_path), tiny_checkpoint).figures
    assert figures.kind == "retrieval"
    assert (figures.text_to_image.r1, figures.cut) == (1, 1)


def test_semantic_segmentation(tmp_path: Path, tiny_checkpoint: Path) -> None:
    root = ade(tmp_path)
    found = evaluate("ade20k", root, tiny_checkpoint)
    assert [(each.kind, each.resolution_px) for each in found.figures] == [
        ("segmentation", 64),
        ("segmentation", 64),
    ]
    (figures,) = evaluate("ade20k", root, tiny_checkpoint, "--heads", "clip_head").figures
    assert isinstance(figures, Segmentation)
    assert (figures.heads, figures.resolution_px) == ("clip_head", 64)


def test_instance_segmentation(tmp_path: Path, tiny_checkpoint: Path) -> None:
    root = coco(tmp_path)
    found = evaluate("coco-instances", root, tiny_checkpoint, "--boxes", str(root / "boxes.json"))
    (figures,) = found.figures
    assert isinstance(figures, Instances)
    assert (figures.boxes, figures.pictures) == (2, 1)
    assert "| AP, medium | " in render(found)


def test_objects_by_the_names_of_the_categories(tmp_path: Path, tiny_checkpoint: Path) -> None:
    """Random weights find something at a threshold of 0, and hardly what is there."""
    root = coco(tmp_path)
    found = evaluate("coco-instances", root, tiny_checkpoint, "--presence-threshold", "0")
    (figures,) = found.figures
    assert isinstance(figures, Detections)
    assert (figures.method, figures.pictures, figures.categories) == ("one_model", 1, 1)
    assert figures.found > 0
    assert figures.milliseconds > 0
    assert "| AP50 (boxes, one model) | " in render(found)


def test_every_set_tells_its_layout() -> None:
    done = CliRunner().invoke(app, ["evaluate", "--help"])
    assert set(PUBLISHED) <= set(SETS)
    for name in SETS:
        assert f"{name}: Reads" in done.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("imagenet", "--boxes", "a.json"), "--boxes is not of imagenet"),
        (("lvis", "--boxes", "a.json", "--heads", "both_heads"), "--heads is not of lvis"),
        (("imagenet", "--presence-threshold", "0.5"), "--presence-threshold is not of imagenet"),
        (("coco-instances", "--two-models"), "--two-models is not of coco-instances"),
        (("photographs", "--boxes", "a.json"), "--boxes is not of photographs"),
        (("photographs", "--teachers", "runs/mobile"), "--teachers needs --two-models"),
        (
            ("lvis", "--boxes", "a.json", "--presence-threshold", "0.5"),
            "--boxes and --presence-threshold: a box is always segmented",
        ),
    ],
)
def test_options_of_other_sets_are_refused(
    arguments: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    output = tmp_path / "result.json"
    name, *more = arguments
    code, lines = run(name, str(tmp_path), *more, "--output", str(output))
    assert (code, len(lines)) == (1, 1)
    assert said in lines[0]


@pytest.mark.parametrize("dataset", SETS)
def test_a_folder_that_is_not_there(tmp_path: Path, dataset: str) -> None:
    more = ["--boxes", str(tmp_path / "boxes.json")] if dataset in INSTANCES else []
    output = tmp_path / "result.json"
    code, lines = run(dataset, str(tmp_path / "none"), "--output", str(output), *more)
    assert code == 1
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert f"{tmp_path / 'none'} is not a folder: expected one with" in lines[0]
    assert not output.exists()


@pytest.mark.parametrize("dataset", [*SEMANTIC, *RETRIEVAL, *INSTANCES, "places365"])
def test_an_empty_folder(tmp_path: Path, dataset: str) -> None:
    root = tmp_path / "empty"
    root.mkdir()
    more = ["--boxes", str(tmp_path / "boxes.json")] if dataset in INSTANCES else []
    code, lines = run(dataset, str(root), "--output", str(tmp_path / "result.json"), *more)
    assert (code, len(lines)) == (1, 1)
    assert f"error: {root} has no f" in lines[0]


def test_a_picture_that_cannot_be_read(tmp_path: Path, tiny_checkpoint: Path) -> None:
    broken = imagenet(tmp_path) / "val" / "n00000001" / "b.JPEG"
    broken.write_bytes(b"no picture")
    output = tmp_path / "result.json"
    chosen = ["--runtime", "torch", "--model", str(tiny_checkpoint), "--output", str(output)]
    code, lines = run("imagenet", str(tmp_path), *chosen)
    assert code == 1
    assert lines[-1] == f"error: {broken} cannot be read as a picture"
    assert not output.exists()


def test_a_damaged_annotation_file(tmp_path: Path) -> None:
    path = flickr(tmp_path) / "dataset_flickr30k.json"
    path.write_text("{", encoding="utf-8")
    code, lines = run("flickr30k", str(tmp_path))
    assert (code, len(lines)) == (1, 1)
    assert f"{path} is another file: Invalid JSON" in lines[0]


def test_a_result_that_cannot_be_written(tmp_path: Path) -> None:
    code, lines = run("imagenet", str(tmp_path), "--output", str(tmp_path / "none" / "a.json"))
    assert (code, len(lines)) == (1, 1)


def test_an_interrupted_run_leaves_nothing(
    tmp_path: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(SamClip, "embed_image", interrupt)
    output = tmp_path / "result.json"
    chosen = ["--runtime", "torch", "--model", str(tiny_checkpoint), "--output", str(output)]
    code, _ = run("imagenet", str(imagenet(tmp_path)), *chosen)
    assert code != 0
    assert [each.name for each in tmp_path.iterdir()] == ["classnames.txt", "val"]


def test_the_clip_head_has_a_resolution_of_its_own(tmp_path: Path, tiny_checkpoint: Path) -> None:
    chosen = {"model": tiny_checkpoint, "precision": None}
    # The model is smaller than the paper's; it runs at 32 pixels, and not at 33.
    for at_most_px, expected in ((448, 64), (32, 32), (33, 64)):
        both, head = load_at("torch", at_most_px=at_most_px, **chosen)
        assert both.manifest.tasks.segmentation.resolution == 64
        assert head.manifest.tasks.segmentation.resolution == expected
    source = FakeSource(tmp_path)
    found = SamClip(source_at(source, resolution_px=32)).segment_text(
        np.zeros((32, 32, 3), np.uint8), ["dog"], refine=False
    )
    assert source.runs("image_encoder@32") == 1
    assert found.asked.score_maps.shape == (1, 2, 2)
