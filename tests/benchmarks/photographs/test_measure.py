"""The whole run on drawn-by-hand photographs, with a model that sees through their colours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.photographs.command import draw_evenly
from benchmarks.photographs.measure import choose_pictures, measure_photographs
from benchmarks.photographs.naming import of_folder, of_imagenet
from benchmarks.photographs.record import PhotographFigures, PhotographQuality, PhotographSettings
from benchmarks.public.files import DatasetError, evenly
from benchmarks.record import read_record
from samclip_sdk.bundle.open import DEFAULT_MODEL
from samclip_sdk.picture.image import load_image
from tests.training.photograph_files import (
    HEIGHT,
    WIDTH,
    annotation,
    encode,
    picture,
    rectangle,
    write_set,
)
from training.data_config import Photographs as Settings
from training.real.photograph_questions import objects_of
from training.real.photographs import Photographs

COLOURS = {"red": (220, 0, 0), "green": (0, 220, 0), "blue": (0, 0, 220), "grey": (70, 70, 70)}
VAL = {"split": "val"}
LEFT, RIGHT = rectangle(0, 0, 64, 96), rectangle(64, 0, 128, 96)
LARGE, MIDDLE = rectangle(0, 0, 64, 32), rectangle(0, 40, 24, 64)  # 17 % and 5 % of a picture
SMALL, DUST = rectangle(80, 0, 90, 10), rectangle(120, 90, 125, 95)  # .8 % and .2 %
SETTINGS = PhotographSettings(
    sets=("a", "b"), complete=("a",), limit=None, held_out=None, resamples=20
)


class FakeSamClip:
    """Boxes are masks, points the whole picture; a text finds what is its colour.

    Both heads find a colour's pixels, the CLIP head alone says that everything is everywhere.
    Presence is the colour's share of the picture; of grey it is one.
    """

    manifest = SimpleNamespace(calibration=SimpleNamespace(presence_threshold=0.25))
    source = None

    def encode_image(self, source: np.ndarray) -> np.ndarray:
        return source

    def classify(self, image: np.ndarray, labels: Sequence[str]) -> Any:
        shares = [self._mask(image, label).mean() for label in labels]
        return SimpleNamespace(logits=np.array(shares, np.float32))

    def segment(
        self,
        image: np.ndarray,
        *,
        multimask_output: bool,
        boxes: np.ndarray | None = None,
        points: np.ndarray | None = None,
    ) -> Any:
        assert not multimask_output
        count = len(points if boxes is None else boxes)
        masks = np.ones((count, *image.shape[:2]), bool)
        if boxes is not None:
            for mask, (x0, y0, x1, y1) in zip(masks, boxes.astype(int), strict=True):
                mask[:] = False
                mask[y0:y1, x0:x1] = True
        return SimpleNamespace(masks=masks, scores=np.ones(count), prompt_index=np.arange(count))

    def segment_text(
        self, image: np.ndarray, labels: Sequence[str], *, threshold: float, refine: bool
    ) -> Any:
        masks = [self._mask(image, label) for label in labels]
        presence = [
            1.0 if label == "grey" else mask.mean()
            for label, mask in zip(labels, masks, strict=True)
        ]
        whole = [np.ones(image.shape[:2], bool)] * len(labels)
        told = np.array(presence, np.float32)
        return SimpleNamespace(
            masks=masks if refine else whole, presence=told, asked=SimpleNamespace(presence=told)
        )

    def _mask(self, image: np.ndarray, label: str) -> np.ndarray:
        return (image == COLOURS.get(label, (1, 1, 1))).all(axis=-1)


@pytest.fixture(autouse=True)
def points_draw_what_both_heads_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are no score maps to draw points from."""

    def by_drawn_points(
        model: FakeSamClip, image: np.ndarray, labels: Sequence[str], *, seed: int
    ) -> tuple[Sequence[np.ndarray], np.ndarray]:
        found = model.segment_text(image, labels, threshold=0.0, refine=True)
        return found.masks, found.presence

    monkeypatch.setattr("benchmarks.photographs.measure.by_drawn_points", by_drawn_points)


def painted(**masks: np.ndarray) -> bytes:
    """A white picture with what is of each colour."""
    pixels = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    for name, mask in masks.items():
        pixels[mask] = COLOURS[name]
    return encode(pixels)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two pictures of a complete set; in another, four objects of one picture, and labels."""
    root = tmp_path / "sets"
    write_set(
        root / "a",
        [
            (painted(red=LEFT, green=RIGHT), [annotation(1, LEFT), annotation(2, RIGHT)], VAL),
            (painted(red=LEFT), [annotation(3, LEFT)], VAL),
        ],
        categories=("red", "green", "blue", "grey"),
        info={"complete": True},
    )
    objects = [annotation(1, mask) for mask in (LARGE, MIDDLE, SMALL, DUST)]
    write_set(
        root / "b",
        [
            (picture(), objects, VAL),
            (painted(green=LEFT, red=SMALL), [], VAL | {"labels": ["red", "green"]}),
            (painted(green=LEFT, red=SMALL), [], VAL | {"labels": ["red"]}),
            (painted(), [], {"labels": ["blue"]}),
        ],
        categories=("thing",),
    )
    return root


def load(root: Path) -> Photographs:
    return Photographs(Settings(source="photographs", root=root), split="val")


def measure(root: Path, **more: Any) -> PhotographFigures:
    pictures = choose_pictures(load(root), limit=None, seed=0)
    return measure_photographs(FakeSamClip(), pictures, settings=SETTINGS, **{"taught": {}, **more})


def test_texts_find_colours(root: Path) -> None:
    """The second picture is said to be blue where it is red; red, green and grey are absent."""
    rows = {(row.heads, row.of): row for row in measure(root).text_to_mask}
    assert set(rows) == {
        (heads, of) for heads in ("clip_head", "both_heads", "drawn_points") for of in ("all", "a")
    }
    both, head = rows["both_heads", "all"], rows["clip_head", "all"]
    assert (both.pictures, both.present, both.absent) == (2, 3, 5)
    # Red and green are found and right, blue is not; of the absent ones red alone has a mask.
    assert (both.miou.value, both.miou_present.value) == (0.5, pytest.approx(2 / 3, abs=1e-4))
    assert both.found.value == pytest.approx(2 / 3, abs=1e-4)
    assert both.false is not None
    assert both.false.value == 0.2
    # The head alone masks everything whose presence suffices: grey, too, in both pictures.
    assert (head.miou.value, head.miou_present.value) == (
        pytest.approx(1 / 6, abs=1e-4),
        pytest.approx(1 / 3, abs=1e-4),
    )
    assert head.false is not None
    assert head.false.value == 0.6


def test_prompts_are_asked_by_size_and_set(root: Path) -> None:
    rows = {(row.of, row.over): row for row in measure(root).prompts}
    whole = HEIGHT * WIDTH
    points = [mask.sum() / whole for mask in (LARGE, MIDDLE, SMALL)]
    assert {of: row.objects for (of, over), row in rows.items() if over == "objects"} == {
        "all": 6,
        "below 2 %": 1,
        "2 to 10 %": 1,
        "above 10 %": 4,
        "a": 3,
        "b": 3,
    }
    assert rows["all", "objects"].box.value == 1.0
    assert rows["all", "objects"].point.value == pytest.approx((1.5 + sum(points)) / 6, abs=1e-4)
    assert rows["all", "sets"].point.value == pytest.approx((0.5 + sum(points) / 3) / 2, abs=1e-4)
    assert rows["2 to 10 %", "sets"].point.value == pytest.approx(points[1], abs=1e-4)


def test_dust_is_no_object(root: Path) -> None:
    photographs = load(root)
    assert len(objects_of(photographs, 2)) == 3
    assert objects_of(photographs, 3).shape == (0, HEIGHT, WIDTH)


def test_names_are_ranked_apart_by_how_they_were_taught(root: Path) -> None:
    """Green is the larger part: right in one picture, before the right red in the other."""
    (every,) = measure(root).top_k
    assert (every.names, every.taught, every.pictures, every.labels) == ("all names", "all", 2, 5)
    assert (every.top1.value, every.top5.value) == (0.5, 1.0)
    taught = {"red": "near", "green": "seen", "blue": "seen", "grey": "far", "thing": "seen"}
    rows = {row.taught: row for row in measure(root, taught=taught).top_k}
    assert {kind: row.pictures for kind, row in rows.items()} == {"all": 2, "seen": 1, "near": 2}
    assert rows["seen"].top1.value == 1.0
    # Red comes after green, which is neither right nor wrong in the first picture.
    assert rows["near"].top1.value == 0.5


def test_presence_tells_names_apart(root: Path) -> None:
    """Red and green at .5 and blue at 0 are present; absent are blue and grey, red, green, grey."""
    (every,) = measure(root).presence
    assert (every.names, every.present, every.absent) == (4, 3, 5)
    # Of 15 pairs .5 exceeds 0 four times and ties once, 0 ties with 0 twice.
    assert every.auc.value == pytest.approx((4 + 1 + 1) / 15, abs=1e-4)


def test_broken_files_are_counted(root: Path) -> None:
    (root / "a" / "images" / "1.jpg").write_bytes(b"no picture")
    found = measure(root)
    assert found.broken == {"picture": 1}
    assert found.text_to_mask[0].present == 1


def test_sets_that_promise_nothing_are_asked_for_prompts_and_names(tmp_path: Path) -> None:
    write_set(tmp_path / "a", [(picture(), [annotation(1, LEFT)], VAL)])
    found = measure(tmp_path)
    assert (found.text_to_mask, found.presence, found.top_k) == ((), (), ())
    assert found.prompts[0].objects == 1


def test_items_are_taken_evenly() -> None:
    assert evenly(range(10), None) == list(range(10))
    assert evenly(range(10), 4) == [0, 2, 5, 7]
    assert evenly(range(3), 4) == [0, 1, 2]


def test_large_pictures_with_a_class_of_imagenet(tmp_path: Path) -> None:
    """A crane is a machine or a bird; names are compared as a whole."""
    large, small = picture(width=200), picture(width=199)
    labels = ("Tinca tinca", "crane", "beagle house")
    pictures = [(large, [], VAL | {"labels": [label]}) for label in labels]
    pictures.append((small, [], VAL | {"labels": ["crane"]}))
    write_set(tmp_path / "a", pictures)
    found = of_imagenet(load(tmp_path), range(4))
    assert found == {0: {"tench"}, 1: {"crane"}}


def test_a_folder_has_a_class_in_each_sub_folder(tmp_path: Path) -> None:
    for name in ("red", "Green_thing"):
        (tmp_path / name).mkdir()
    (tmp_path / "red" / "1.png").write_bytes(picture())
    with pytest.raises(DatasetError, match="does not hold pictures of two classes or more"):
        of_folder(tmp_path)
    (tmp_path / "Green_thing" / "1.png").write_bytes(picture())
    assert [name for _, name in of_folder(tmp_path)] == ["green thing", "red"]
    with pytest.raises(DatasetError, match="there is no folder"):
        of_folder(tmp_path / "none")


def test_the_sheet_shows_each_set_before_one_comes_again(root: Path) -> None:
    photographs = load(root)
    chosen = draw_evenly(photographs, seed=0)
    assert sorted(chosen) == list(range(5))
    assert len({photographs[each].found.name for each in chosen[:2]}) == 2
    assert draw_evenly(photographs, seed=0) == chosen


def test_the_command_writes_record_curve_and_sheet(root: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    for name in ("red", "green"):
        (own / name).mkdir(parents=True)
        (own / name / "1.png").write_bytes(picture(*COLOURS[name]))
    words = ["quality", "--photographs", str(root), "--output", str(tmp_path / "found.json")]
    words += ["--folder", str(own), "--sheet", str(tmp_path / "sheet.png"), "--limit", "2"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    record = read_record(PhotographQuality, tmp_path / "found.json")
    assert record.settings.sets == ("a", "b")
    assert record.settings.complete == ("a",)
    assert {row.names for row in record.top_k} == {"all names", "the folder's classes"}
    assert len(record.curves["both_heads"]) > 1
    assert (tmp_path / "found.svg").read_text().startswith("<?xml")
    sheet = load_image(tmp_path / "sheet.png")
    assert {COLOURS["red"], COLOURS["green"]} <= set(map(tuple, sheet.reshape(-1, 3).tolist()))
    for words_in_page in ("## text to mask", "both heads", "## presence", DEFAULT_MODEL):
        assert words_in_page in done.output


def test_the_command_refuses_in_one_line(root: Path, tmp_path: Path) -> None:
    words = ["quality", "--photographs"]
    done = CliRunner().invoke(app, [*words, str(tmp_path / "none")])
    assert done.exit_code == 1
    assert done.output.startswith("error: there is no set of photographs below")
    done = CliRunner().invoke(app, [*words, str(root), "--folder", str(tmp_path / "none")])
    assert done.output == f"error: there is no folder {tmp_path / 'none'}\n"
