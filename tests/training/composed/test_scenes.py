from __future__ import annotations

import csv
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from training.composed.corpus import CORPUS, Corpus, load_corpus
from training.composed.cutouts import warp
from training.composed.scenes import MIN_VISIBLE, compose_scene
from training.composed.vocabulary import tiny_vocabulary
from training.errors import TrainingError

FEW = ("apple", "car", "cat", "truck")


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return load_corpus(CORPUS, split="train", nouns=FEW)


def _opaque(colours: list[tuple[int, int, int]]) -> Corpus:
    """Solid discs, whose masks can be told from the image itself."""
    rows, columns = np.ogrid[:96, :96]
    disc = ((rows - 47.5) ** 2 + (columns - 47.5) ** 2 < 46**2).astype(np.uint8)
    cutouts = tuple(
        np.dstack([disc * channel for channel in (*colour, 255)]).astype(np.uint8)
        for colour in colours
    )
    return Corpus(
        cutouts=cutouts,
        labels=np.arange(len(colours)),
        nouns=tuple(map(str, colours)),
        backgrounds=(),
        shown=(),
    )


def test_a_scene_is_consistent(corpus: Corpus) -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        scene = compose_scene(corpus, rng, size_px=96)
        n = len(scene.labels)
        assert 1 <= n <= 5
        assert scene.image.shape == (96, 96, 3)
        assert scene.image.dtype == np.uint8
        assert scene.masks.shape == (n, 96, 96)
        assert scene.masks.dtype == bool
        assert scene.masks.sum(axis=0).max() <= 1
        assert scene.boxes.shape == (n, 4)
        assert scene.boxes.dtype == np.float32
        assert set(scene.labels.tolist()) <= set(range(len(FEW)))
        for mask, (x1, y1, x2, y2) in zip(scene.masks, scene.boxes.astype(int), strict=True):
            inside = mask[y1:y2, x1:x2]
            assert inside.sum() == mask.sum() > 0
            assert inside[0].any()
            assert inside[-1].any()
            assert inside[:, 0].any()
            assert inside[:, -1].any()


def test_enough_of_every_object_is_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    """Squares of one size that neither turn nor stretch, so that their whole area is known."""
    square = np.full((40, 40, 4), 255, np.uint8)
    monkeypatch.setattr("training.composed.scenes.warp", lambda *_, **__: square)
    corpus = _opaque([(255, 0, 0), (0, 255, 0)])
    rng = np.random.default_rng(0)
    counts = set()
    for _ in range(60):
        scene = compose_scene(corpus, rng, size_px=80, count=(5, 5))
        counts.add(len(scene.labels))
        assert (scene.masks.sum(axis=(1, 2)) >= MIN_VISIBLE * 40 * 40).all()
    assert min(counts) < 5  # where there is no room an object is left out


def test_masks_match_the_image() -> None:
    """On one flat colour, what stands out from it is the disc; but for its shadow, and noise."""
    found = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        corpus = _opaque([(255, 0, 0)])
        scene = compose_scene(corpus, rng, size_px=128, count=(1, 1), plain=True)
        ground = np.median(scene.image[~scene.masks[0]], axis=0)
        apart = np.abs(scene.image - ground).max(axis=2) > 60
        found.append((apart & scene.masks[0]).sum() / (apart | scene.masks[0]).sum())
    assert np.median(found) > 0.9


def test_edges_neither_glow_nor_darken() -> None:
    """Of a white disc on nothing: all the way out it has the colour of its middle."""
    (disc,) = _opaque([(255, 255, 255)]).cutouts
    for seed in range(20):
        patch = warp(disc, np.random.default_rng(seed), side_px=40.0).astype(float)
        assert max(patch.shape) <= 40 * 1.6 + 3
        height, width, _ = patch.shape
        middle = patch[height // 2, width // 2]
        assert middle[3] == 255
        expected = middle * patch[..., 3:] / 255
        assert np.abs(patch - expected).max() <= 6


def test_splits_share_label_indices_and_nothing_else() -> None:
    train = load_corpus(CORPUS, split="train", nouns=FEW)
    heldout = load_corpus(CORPUS, split="heldout_instance", nouns=FEW)
    assert train.nouns == heldout.nouns == FEW
    assert set(heldout.labels) == set(range(len(FEW)))
    images = {cutout.tobytes() for cutout in train.cutouts}
    assert not images & {cutout.tobytes() for cutout in heldout.cutouts}
    assert len(train.backgrounds) == 22
    assert len(heldout.backgrounds) == 5


def test_objects_of_another_zip(tmp_path: Path) -> None:
    name = "openmoji/cat/cat.webp"
    with zipfile.ZipFile(CORPUS / "objects.zip") as source:
        data = source.read("twemoji/cat/cat.webp")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as target:
        target.writestr(name, data)
    (tmp_path / "other.csv").write_text(
        f"file,style,concept,label,split,licence,source\n{name},x,cat,cat,heldout_style,y,z\n"
    )
    corpus = load_corpus(CORPUS, split="heldout_style", nouns=FEW, objects=tmp_path / "other.zip")
    assert corpus.labels.tolist() == [FEW.index("cat")]
    assert len(corpus.backgrounds) == 5


def test_an_empty_split_is_an_error() -> None:
    with pytest.raises(TrainingError, match="no cut-out in the split 'train'"):
        load_corpus(CORPUS, split="train", nouns=["fox"])
    with pytest.raises(TrainingError, match="nouns with a held-out drawing"):
        tiny_vocabulary(151)


def test_every_row_has_its_image() -> None:
    for stem in ("objects", "backgrounds"):
        with zipfile.ZipFile(CORPUS / f"{stem}.zip") as archive:
            names = set(archive.namelist())
        with (CORPUS / f"{stem}.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert {row["file"] for row in rows} <= names
        assert all(row["licence"] for row in rows)
        assert "SA" not in {part for row in rows for part in row["licence"].split("-")}


def test_every_name_has_a_teacher_embedding() -> None:
    known = set(np.load(CORPUS / "minilm_text.npz")["texts"].tolist())
    concepts = json.loads((CORPUS / "concepts.json").read_text(encoding="utf-8"))
    assert set(concepts) <= known
    missing = {name for noun in tiny_vocabulary(150) for name in noun.names} - known
    assert not missing
