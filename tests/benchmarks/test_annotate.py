"""What annotation costs, with a fake of its workers: Ray's own are in tests/annotate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import annotate
from samclip_sdk.annotate.annotator import annotate_images
from tests.benchmarks.measured import found_by, run
from tests.drawings import TINY_BUNDLE


class Here:
    """Workers that are this process; `spoilt` ones answer with nothing."""

    spoilt = False

    def __init__(self, opening: Any, **options: Any) -> None:
        self.annotator = opening()

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *error: object) -> None: ...

    def join(self) -> None: ...

    def annotate(self, images: Any) -> Any:
        for image, answer in annotate_images(self.annotator, images):
            yield image, answer | ({"annotations": []} if self.spoilt else {})


WORDS = ["annotate", "--images", 2, "--labels", 3, "--workers", 2, "--model", TINY_BUNDLE]


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(annotate, "RayWorkers", Here)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")


def test_images_labels_and_workers_are_timed(tmp_path: Path) -> None:
    part = found_by(tmp_path / "found.jsonl", *WORDS)
    assert part.splits("one process") == [
        "3 labels, 1 images",
        "3 labels, 2 images",
        "10 labels, 2 images",
    ]
    assert part.get("2 workers", "seconds", "10 labels, 2 images").n == 2


def test_workers_that_answer_otherwise_are_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Here, "spoilt", True)
    code, said = run(*WORDS, "--output", tmp_path / "found.jsonl")
    assert (code, "2 workers" in said) == (1, True)
    assert not (tmp_path / "found.jsonl").exists()
