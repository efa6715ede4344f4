"""The images of the examples are what the files beside them say.

The pages show each example, and tests/docs runs what they show; tests/test_demo.py runs the demo.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

IMAGES = Path(__file__).parents[1] / "examples" / "images"
SAMPLE = Path(__file__).parents[1] / "samclip_sdk" / "serve" / "page" / "sample.jpg"


def test_every_image_has_labels_and_a_licence() -> None:
    with (IMAGES / "LICENSES.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(all(row.values()) for row in rows)
    labels = json.loads((IMAGES / "labels.json").read_text(encoding="utf-8"))
    images = sorted(path.name for path in IMAGES.glob("*.jpg"))
    assert sorted(row["file"] for row in rows) == sorted(labels) == images
    assert sum((IMAGES / name).stat().st_size for name in images) < 1_500_000
    for row in labels.values():
        assert row["present"]
        assert not set(row["present"]) & set(row["absent"])


def test_the_sample_of_the_servers_page_is_one_of_them_that_asks_for_no_name() -> None:
    assert SAMPLE.read_bytes() == (IMAGES / "cup.jpg").read_bytes()
    with (IMAGES / "LICENSES.csv").open(encoding="utf-8", newline="") as file:
        licences = {row["file"]: row["licence"] for row in csv.DictReader(file)}
    assert licences["cup.jpg"] == "CC0-1.0"
