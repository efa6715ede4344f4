"""Other settings of onnxruntime, on the model in the package."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.tried import AS_IT_SHIPS, CHANGES, IN_A_BATCH
from tests.benchmarks.measured import found_by


@pytest.mark.slow
def test_every_setting_is_tried(tmp_path: Path) -> None:
    part = found_by(tmp_path / "tried.jsonl", "tried", "--rounds", 1)
    assert part.subjects == [AS_IT_SHIPS, *CHANGES, IN_A_BATCH]
    assert part.get(IN_A_BATCH, "ratio", "image_encoder").n == 1
