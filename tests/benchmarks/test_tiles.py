"""Large images of small ones, and what is counted of the answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.tiles import compose
from tests.benchmarks.measured import found_by
from tests.benchmarks.quality.painted_photographs import COLOURS, LEFT, RIGHT, VAL, painted
from tests.drawings import TINY_BUNDLE
from tests.training.photograph_files import annotation, write_set

DOG = np.zeros((20, 40), bool)
DOG[5:15, 10:30] = True


def test_photographs_lie_side_by_side() -> None:
    wide = np.full((20, 40, 3), 9, np.uint8)
    cells: Any = [(wide, [("dog", DOG)]), (wide, []), (wide, []), (wide, [("dog", DOG)])]
    large = compose(cells, absent=["cat"], cell_px=80)
    assert large.image.shape == (160, 160, 3)
    assert (large.image[:40, :80] == 9).all()
    assert not (large.image[40:80] == 9).any()  # paper below an image that is not as high
    (first, second) = (mask for _, mask in large.objects)
    assert first[12:28, 22:58].all()
    assert second[92:108, 102:138].all()
    assert not (first & second).any()
    np.testing.assert_array_equal(large.labels["dog"], first | second)


def test_the_command(tmp_path: Path) -> None:
    """Of five photographs four make an image: it has two labels of four, and eight objects."""
    both = [annotation(1, LEFT), annotation(2, RIGHT)]
    images = [(painted(red=LEFT, green=RIGHT), both, VAL)] * 5
    write_set(tmp_path / "sets/a", images, categories=tuple(COLOURS), info={"complete": True})
    asked = ["--side", "2", "--tiles", "2x2", "--model", TINY_BUNDLE]
    found = found_by(tmp_path / "a.jsonl", "tiles", tmp_path / "sets", *asked)
    assert found.subjects == ["whole", "2, 2"]
    for way in found.subjects:
        figures = found.metrics(way)
        counts = [figures[each].n for each in ("found", "miou", "false", "objects_found", "rows")]
        assert counts == [2, 2, 2, 8, 1]
        assert figures["instances_ms"].value > 0
