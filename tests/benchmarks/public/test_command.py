"""The commands, with the real client on a tiny random model: what the fake promises is true."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.public.command import SETS
from benchmarks.public.segmentation import load_at, source_at
from benchmarks.table import Part
from samclip_sdk import SamClip
from tests.benchmarks.measured import found_by, run
from tests.benchmarks.public.miniatures import ade, coco, detected, flickr, gold, imagenet, quarters
from tests.fake_source import FakeSource


def evaluate(dataset: str, root: Path, model: Path, *more: str) -> Part:
    words = ("evaluate", dataset, root, "--runtime", "torch", "--model", model, *more)
    return found_by(root / "found.jsonl", *words)


def test_classification_and_retrieval(tmp_path: Path, tiny_checkpoint: Path) -> None:
    """The one caption is longer than the context: it is cut."""
    root = imagenet(tmp_path, names=["red", "green", "blue"])
    found = evaluate("imagenet", root, tiny_checkpoint, "--limit", "1")
    assert found.run.model.random_weights
    assert (found.run.settings["limit"], found.rows["imagenet", "", "top1"].n) == (1, 1)
    assert found.value("imagenet", "resolution_px") == 32
    root = flickr(tmp_path, {"b.jpg": ["blue " * 90]})
    found = evaluate("flickr30k", root, tiny_checkpoint)
    assert found.value("flickr30k", "r1", "text to image") == 1
    assert found.value("flickr30k", "cut", "text to image") == 1


def test_semantic_segmentation(tmp_path: Path, tiny_checkpoint: Path) -> None:
    root = ade(tmp_path, quarters(1, 2, 0, 1))
    found = evaluate("ade20k", root, tiny_checkpoint)
    assert found.subjects == ["ade20k: clip_head", "ade20k: both_heads"]
    found = evaluate("ade20k", root, tiny_checkpoint, "--heads", "clip_head")
    assert found.subjects == ["ade20k: clip_head"]


def test_objects(tmp_path: Path, tiny_checkpoint: Path) -> None:
    """Random weights find something at a threshold of 0, and hardly what is there."""
    root = coco(tmp_path)
    found = evaluate("coco-instances", root, tiny_checkpoint, "--boxes", str(detected(root)))
    assert found.value("coco-instances: from boxes", "boxes") == 2
    zero = ["--presence-threshold", "0"]
    found = evaluate("coco-instances", root, tiny_checkpoint, *zero)
    subject = "coco-instances: one_model"
    assert found.value(subject, "categories") == 2
    assert found.value(subject, "found") > 0
    found = evaluate("sa-co", gold(tmp_path), tiny_checkpoint, *zero)
    assert found.rows["sa-co", "", "cgf1"].n == 2


def test_every_set_tells_its_layout() -> None:
    _, said = run("evaluate", "--help")
    for name in SETS:
        assert f"{name}: Reads" in said


def test_the_clip_head_has_a_resolution_of_its_own(tmp_path: Path, tiny_checkpoint: Path) -> None:
    # The model is smaller than the paper's; it runs at 32 pixels, and not at 33.
    for max_px, expected in ((448, 64), (32, 32), (33, 64)):
        both, head = load_at("torch", max_px=max_px, model=tiny_checkpoint)
        assert both.manifest.tasks.segmentation.resolution == 64
        assert head.manifest.tasks.segmentation.resolution == expected
    source = FakeSource(tmp_path)
    found = SamClip(source_at(source, resolution_px=32)).segment_text(
        np.zeros((32, 32, 3), np.uint8), ["dog"], refine=False
    )
    assert source.runs("image_encoder@32") == 1
    assert found.asked.score_maps.shape == (1, 2, 2)
