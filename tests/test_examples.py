"""The examples run, and their pictures are what the files beside them say."""

from __future__ import annotations

import csv
import json
import runpy
import sys
from pathlib import Path

import pytest
import safetensors
from PIL import Image

EXAMPLES = Path(__file__).parents[1] / "examples"
IMAGES = EXAMPLES / "images"
PICTURES = sorted(path.name for path in IMAGES.glob("*.jpg"))
LABELS = json.loads((IMAGES / "labels.json").read_text(encoding="utf-8"))
SHORT = (
    "classify",
    "segment_points_boxes",
    "text_to_mask",
    "vocabulary_pack",
    "embeddings_search",
)
PICTURE = str(IMAGES / "garden.jpg")


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


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


def test_every_picture_has_labels_and_a_licence() -> None:
    with (IMAGES / "LICENSES.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(all(row.values()) for row in rows)
    assert sorted(row["file"] for row in rows) == sorted(LABELS) == PICTURES
    assert sum((IMAGES / name).stat().st_size for name in PICTURES) < 1_500_000


def test_every_picture_is_asked_for_what_is_there_and_what_is_not() -> None:
    for row in LABELS.values():
        assert row["present"]
        assert len(row["absent"]) == 2
        assert not set(row["present"]) & set(row["absent"])


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
        "segment_points_boxes", PICTURE, "--point", "220", "200", "--box", "90", "90", "320", "300"
    )
    assert out.count("point: predicted IoU") == 3
    assert out.count("box: predicted IoU") == 1
    for kind in ("point", "box"):
        with Image.open(tmp_path / f"garden-{kind}.png") as overlay:
            assert overlay.size == (384, 384)


def test_text_to_mask(run, tmp_path: Path) -> None:
    # Threshold 0: a model with random weights finds nothing otherwise.
    out = run("text_to_mask", PICTURE, "dog", "tree", "--threshold", "0", "--output", "out")
    assert "dog: presence" in out
    written = json.loads((tmp_path / "out" / "garden.json").read_text(encoding="utf-8"))
    assert written["labels"] == ["dog", "tree"]
    assert len(written["annotations"]) == 2
    assert (tmp_path / "out" / "garden.png").exists()


def test_vocabulary_pack(run, tmp_path: Path) -> None:
    out = run("vocabulary_pack", PICTURE, "dog", "tree", "--pack", "pack.safetensors")
    assert "dog" in out
    with safetensors.safe_open(tmp_path / "pack.safetensors", framework="numpy") as file:
        assert json.loads(file.metadata()["labels"]) == ["dog", "tree"]


def test_embeddings_search(run, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("garden.jpg", "cat.jpg"):
        (folder / name).write_bytes((IMAGES / name).read_bytes())
    (folder / "broken.jpg").write_bytes(b"not a picture")
    out = run("embeddings_search", str(folder), "a cat", "--count", "5")
    assert out.count("left out:") == 1
    ranked = out.splitlines()[1:]
    assert {Path(line.split()[-1]).name for line in ranked} == {"garden.jpg", "cat.jpg"}
    cosines = [float(line.split()[0]) for line in ranked]
    assert cosines == sorted(cosines, reverse=True)


def test_demo(run, tmp_path: Path) -> None:
    out = run("demo", "--output", "shown")
    written = {path.name for path in (tmp_path / "shown").iterdir()}
    overlays = {
        f"{Path(name).stem}_{kind}.png" for name in PICTURES for kind in ("masks", "objects")
    }
    assert written == overlays | {"contact_sheet.png", "failures.png"}
    for name in PICTURES:
        assert Path(name).stem in out
    total = sum(len(row["present"]) for row in LABELS.values())
    assert f"of {total} labels found" in out
