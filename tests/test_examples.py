"""The examples run, and their pictures are what the files beside them say."""

from __future__ import annotations

import csv
import json
import runpy
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from examples import make_images
from examples.image_recipes import RECIPES, Recipe
from examples.make_images import NOUNS, SPLIT
from samclip_sdk.masks import rle_to_mask
from training.composed.corpus import CORPUS, Corpus, canonical, load_corpus
from training.composed.scenes import clean_picture
from training.composed.vocabulary import tiny_vocabulary

EXAMPLES = Path(__file__).parents[1] / "examples"
IMAGES = EXAMPLES / "images"
PICTURES = sorted(path.name for path in IMAGES.glob("*.jpg"))
LABELS = json.loads((IMAGES / "labels.json").read_text(encoding="utf-8"))
TRUE_MASKS = json.loads((IMAGES / "true_masks.json").read_text(encoding="utf-8"))
SHORT = (
    "classify",
    "segment_points_boxes",
    "text_to_mask",
    "vocabulary_pack",
    "embeddings_search",
)
PICTURE = str(IMAGES / "meadow.jpg")


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def heldout() -> dict[str, dict[str, str]]:
    nouns = {noun.name for noun in tiny_vocabulary(NOUNS)}
    rows = read_rows(CORPUS / "objects.csv")
    return {
        row["file"]: row
        for row in rows
        if row["split"] == SPLIT and canonical(row["concept"]) in nouns
    }


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    nouns = [noun.name for noun in tiny_vocabulary(NOUNS)]
    return load_corpus(CORPUS, split=SPLIT, nouns=nouns)


@pytest.fixture
def run(
    tiny_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    """Run an example as a person would, in an empty folder, on a small random bundle."""

    def run_example(name: str, *arguments: str) -> str:
        script = EXAMPLES / f"{name}.py"
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [str(script), *arguments, "--model", str(tiny_bundle)])
        runpy.run_path(str(script), run_name="__main__")
        return capsys.readouterr().out

    return run_example


def test_every_picture_has_labels_and_licences() -> None:
    licensed = {row["file"] for row in read_rows(IMAGES / "LICENSES.csv") if row["licence"]}
    assert set(PICTURES) == set(LABELS) == licensed
    assert set(TRUE_MASKS) == {f"{recipe.name}.jpg" for recipe in RECIPES}
    assert sum((IMAGES / name).stat().st_size for name in PICTURES) < 1_500_000


def test_the_default_model_knows_every_label() -> None:
    nouns = {noun.name for noun in tiny_vocabulary(NOUNS)}
    for row in LABELS.values():
        assert row["present"]
        assert len(row["absent"]) == 2
        assert not set(row["present"]) & set(row["absent"])
        assert {*row["present"], *row["absent"]} <= nouns


@pytest.mark.parametrize("name", TRUE_MASKS)
def test_true_masks_fit_their_picture(name: str) -> None:
    with Image.open(IMAGES / name) as image:
        size = (image.height, image.width)
    masks = {label: rle_to_mask(rle) for label, rle in TRUE_MASKS[name].items()}
    assert sorted(masks) == LABELS[name]["present"]
    assert size[0] != size[1]
    for mask in masks.values():
        assert mask.shape == size
        assert 0.01 < mask.mean() < 0.3
    assert np.sum(list(masks.values()), axis=0).max() == 1


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_scenes_are_held_out(recipe: Recipe, heldout: dict[str, dict[str, str]]) -> None:
    assert set(recipe.drawings) <= set(heldout)
    sides = {row["file"]: row["split"] for row in read_rows(CORPUS / "backgrounds.csv")}
    assert recipe.background is None or sides[recipe.background] == "heldout"


def test_no_drawing_is_all_but_a_training_one(
    corpus: Corpus, heldout: dict[str, dict[str, str]]
) -> None:
    """Some sets draw a thing twice, an umbrella with and without rain; a split may part them."""
    nouns = [heldout[drawing]["concept"] for recipe in RECIPES for drawing in recipe.drawings]
    train = load_corpus(CORPUS, split="train", nouns=sorted(set(map(canonical, nouns))))
    trained = [
        clean_picture(train, index, size_px=24).astype(np.float32)
        for index in range(len(train.labels))
    ]
    files = list(heldout)
    for recipe in RECIPES:
        for drawing in recipe.drawings:
            own = clean_picture(corpus, files.index(drawing), size_px=24)
            nearest = min(np.abs(own - other).mean() for other in trained)
            assert nearest > 8, drawing


@pytest.mark.parametrize("name", TRUE_MASKS)
def test_true_masks_lie_where_the_picture_changes(name: str) -> None:
    """Six pixels beside its place, a mask's outline runs over less of an edge."""
    with Image.open(IMAGES / name) as image:
        channels = np.asarray(image, np.float32).transpose(2, 0, 1)
    edges = sum(
        np.hypot(cv2.Sobel(each, cv2.CV_32F, 1, 0), cv2.Sobel(each, cv2.CV_32F, 0, 1))
        for each in channels
    )
    for label, rle in TRUE_MASKS[name].items():
        mask = rle_to_mask(rle).astype(np.uint8)
        outline = cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
        own, *beside = (
            edges[np.roll(outline, shift, axis=(0, 1)) > 0].mean()
            for shift in ((0, 0), (0, 6), (0, -6), (6, 0), (-6, 0))
        )
        assert own > 1.25 * max(beside), label


def test_make_images_writes_what_is_kept_beside_the_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Labels and licences to the letter; pixels are the generator's, which may change."""
    monkeypatch.setattr(sys, "argv", ["make_images", str(tmp_path)])
    make_images.main()
    for name in ("labels.json", "LICENSES.csv"):
        assert (tmp_path / name).read_bytes() == (IMAGES / name).read_bytes()
    masks = json.loads((tmp_path / "true_masks.json").read_text(encoding="utf-8"))
    assert {name: sorted(each) for name, each in masks.items()} == {
        name: sorted(each) for name, each in TRUE_MASKS.items()
    }
    for recipe in RECIPES:
        with Image.open(tmp_path / f"{recipe.name}.jpg") as image:
            assert image.size == recipe.size


@pytest.mark.parametrize("name", SHORT)
def test_examples_are_short(name: str) -> None:
    assert len((EXAMPLES / f"{name}.py").read_text(encoding="utf-8").splitlines()) < 60


def test_readme_lists_every_example() -> None:
    text = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert not [path.name for path in EXAMPLES.glob("*.py") if f"[{path.name}]" not in text]


def test_classify(run) -> None:
    lines = run("classify", PICTURE, "dog", "car").splitlines()
    assert {line.split()[-1] for line in lines} == {"dog", "car"}
    assert sum(float(line.split("%")[0]) for line in lines) == pytest.approx(100, abs=0.2)


def test_segment_points_boxes(run, tmp_path: Path) -> None:
    out = run(
        "segment_points_boxes", PICTURE, "--point", "320", "240", "--box", "200", "90", "400", "400"
    )
    assert out.count("point: predicted IoU") == 3
    assert out.count("box: predicted IoU") == 1
    for kind in ("point", "box"):
        with Image.open(tmp_path / f"meadow-{kind}.png") as overlay:
            assert overlay.size == (640, 480)


def test_text_to_mask(run, tmp_path: Path) -> None:
    # Threshold 0: a model with random weights finds nothing otherwise.
    out = run("text_to_mask", PICTURE, "dog", "tree", "--threshold", "0", "--output", "out")
    assert "dog: presence" in out
    written = json.loads((tmp_path / "out" / "meadow.json").read_text(encoding="utf-8"))
    assert written["labels"] == ["dog", "tree"]
    assert len(written["annotations"]) == 2
    assert (tmp_path / "out" / "meadow.png").exists()


def test_vocabulary_pack(run, tmp_path: Path) -> None:
    out = run("vocabulary_pack", PICTURE, "dog", "tree", "--pack", "pack.json")
    assert "dog" in out
    assert json.loads((tmp_path / "pack.json").read_text(encoding="utf-8"))["labels"] == [
        "dog",
        "tree",
    ]


def test_embeddings_search(run, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("meadow.jpg", "cat.jpg"):
        (folder / name).write_bytes((IMAGES / name).read_bytes())
    (folder / "broken.jpg").write_bytes(b"not a picture")
    out = run("embeddings_search", str(folder), "a cat", "--count", "5")
    assert out.count("left out:") == 1
    ranked = out.splitlines()[1:]
    assert {Path(line.split()[-1]).name for line in ranked} == {"meadow.jpg", "cat.jpg"}
    cosines = [float(line.split()[0]) for line in ranked]
    assert cosines == sorted(cosines, reverse=True)


def test_demo(run, tmp_path: Path) -> None:
    out = run("demo", "--output", "shown")
    written = {path.name for path in (tmp_path / "shown").iterdir()}
    assert written == {f"{Path(name).stem}.png" for name in PICTURES} | {"contact_sheet.png"}
    for name in PICTURES:
        assert Path(name).stem in out
    total = sum(len(LABELS[name]["present"]) for name in TRUE_MASKS)
    assert f"of {total} labels found" in out
