"""Flickr30k and COCO captions in miniature; pictures and captions meet by colour."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.public import whole_pictures
from benchmarks.public.files import DatasetError
from benchmarks.public.record import Retrieval
from benchmarks.public.whole_pictures import (
    CaptionedPictures,
    measure_retrieval,
    ranks_of_own,
    read_coco_captions,
    read_flickr30k,
)
from samclip_sdk.errors import TextTruncatedWarning
from tests.benchmarks.public.painted import (
    BLUE,
    GREEN,
    RED,
    Painted,
    paint,
    write_json,
)

CAPTIONS = {"r.jpg": ["a red one"], "g.jpg": ["green", "yellow"], "b.jpg": ["some red thing"]}


def measure(data: CaptionedPictures, model: Any = None) -> Retrieval:
    return measure_retrieval(model or Painted(), data)


def karpathy(captions: dict[str, list[str]], **more: str) -> dict[str, Any]:
    return {
        "images": [
            {
                "filename": name,
                "split": "train" if name == "t.jpg" else "test",
                "sentences": [{"raw": text} for text in texts],
                **more,
            }
            for name, texts in captions.items()
        ]
    }


def flickr(root: Path, captions: dict[str, list[str]]) -> Path:
    for name, colour in (("r.jpg", RED), ("g.jpg", GREEN), ("b.jpg", BLUE)):
        paint(root / "flickr30k-images" / name, colour)
    content = karpathy(captions | {"t.jpg": ["red", "green", "blue"]})
    write_json(root / "dataset_flickr30k.json", content)
    return root


def test_flickr30k(tmp_path: Path) -> None:
    """By hand, a tie counting against: the training picture's captions are no candidates.

    Of the pictures, red's own caption ties with blue's, green's is first, and blue's scores 0 as
    the three others do. Of the captions, red's and green's find their pictures; yellow ties
    between red and green; blue's finds red first, and green ties.
    """
    found = measure(read_flickr30k(flickr(tmp_path, CAPTIONS)))
    assert (found.pictures, found.captions, found.cut) == (3, 4, 0)
    assert found.image_to_text.r1 == pytest.approx(1 / 3)
    assert found.text_to_image.r1 == 0.5
    assert found.image_to_text.r5 == found.text_to_image.r5 == found.text_to_image.r10 == 1


def test_swapped_captions_change_the_figure(tmp_path: Path) -> None:
    swapped = CAPTIONS | {"r.jpg": CAPTIONS["g.jpg"], "g.jpg": CAPTIONS["r.jpg"]}
    found = measure(read_flickr30k(flickr(tmp_path, swapped)))
    assert found.image_to_text.r1 == found.text_to_image.r1 == 0


def test_coco_of_karpathy(tmp_path: Path) -> None:
    content = karpathy({"a.jpg": ["red"]}, filepath="val2014")
    write_json(tmp_path / "dataset_coco.json", content)
    paint(tmp_path / "val2014" / "a.jpg", RED)
    assert measure(read_coco_captions(tmp_path)).text_to_image.r1 == 1


@pytest.mark.parametrize("year", ["2014", "2017"])
def test_coco_takes_five_captions_of_each_picture(tmp_path: Path, year: str) -> None:
    captions = [{"image_id": 7, "id": 10 - i, "caption": f"red {i}"} for i in range(6)]
    images = [{"id": 7, "file_name": "7.jpg"}]
    path = tmp_path / "annotations" / f"captions_val{year}.json"
    write_json(path, {"images": images, "annotations": captions})
    picture = paint(tmp_path / f"val{year}" / "7.jpg", RED)
    data = read_coco_captions(tmp_path)
    assert data.pictures == ((picture, ("red 5", "red 4", "red 3", "red 2", "red 1")),)


def test_captions_that_were_cut_are_counted(tmp_path: Path) -> None:
    class Short(Painted):
        def embed_text(self, texts: Any) -> Any:
            if "yellow" in texts[0]:
                warnings.warn("cut", TextTruncatedWarning, stacklevel=1)
            return super().embed_text(texts)

    assert measure(read_flickr30k(flickr(tmp_path, CAPTIONS)), Short()).cut == 1


def test_ranks_in_parts_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    pictures, captions = (rng.standard_normal((n, 4)).astype(np.float32) for n in (7, 16))
    owners = np.sort(np.concatenate([np.arange(7), rng.integers(0, 7, 9)]))
    scores = pictures @ captions.T
    by_picture = [
        min(
            int((np.delete(scores[n], np.flatnonzero(owners == n)) > scores[n, m]).sum())
            for m in np.flatnonzero(owners == n)
        )
        for n in range(7)
    ]
    by_caption = [int((scores[:, m] > scores[owners[m], m]).sum()) for m in range(16)]
    for rows in (3, 256):
        monkeypatch.setattr(whole_pictures, "_ROWS", rows)
        found = ranks_of_own(pictures, captions, asked=np.arange(7), given=owners)
        assert found.tolist() == by_picture
        found = ranks_of_own(captions, pictures, asked=owners, given=np.arange(7))
        assert found.tolist() == by_caption


def test_another_file_is_refused(tmp_path: Path) -> None:
    flickr(tmp_path, CAPTIONS)
    write_json(tmp_path / "dataset_flickr30k.json", {"images": [{"filename": "r.jpg"}]})
    with pytest.raises(DatasetError, match=r"30k\.json is another file: images\.0\.split"):
        read_flickr30k(tmp_path)
