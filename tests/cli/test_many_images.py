"""Several images in one command: which words are images, what is printed, where results go."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import fsspec
import pytest
from pycocotools.coco import COCO

from tests.command import answer, fails, run, table

IMAGES = Path(__file__).parents[2] / "examples" / "images"
DOG, CAT = (str(IMAGES / f"{name}.jpg") for name in ("dog", "cat"))
ONNX = ("--runtime", "onnx", "--threads", "1")
NO_MODEL = ("--model", "none")


@pytest.mark.parametrize(
    "words",
    [
        (DOG, CAT, "dog", "boat"),
        (DOG, CAT, "--", "dog", "boat"),
        (DOG, CAT, "--label", "dog", "--label", "boat"),
    ],
)
def test_images_come_first_and_then_labels(words: tuple[str, ...]) -> None:
    lines = table("classify", *ONNX, "--json", *words).splitlines()
    found = [json.loads(line) for line in lines]
    assert [each["labels"] for each in found] == [["dog", "boat"]] * 2
    assert [each["file_name"] for each in found] == ["dog.jpg", "cat.jpg"]


def test_an_image_is_answered_among_others_as_alone() -> None:
    lines = table("text", DOG, CAT, "dog", *ONNX, "--json").splitlines()
    for line, path in zip(lines, (DOG, CAT), strict=True):
        alone, found = answer("text", path, "dog", *ONNX), json.loads(line)
        assert {**found, "speed": None} == {**alone, "speed": None}
    printed = table("text", DOG, CAT, "dog", *ONNX)
    assert "dog.jpg" in printed
    assert "cat.jpg" in printed
    boxes = ("--box", "8,30,250,280")
    assert len(table("segment", DOG, CAT, *ONNX, *boxes, "--json").splitlines()) == 2


def test_a_file_among_the_labels_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    Path("dog").touch()
    said = fails("text", DOG, "dog", *NO_MODEL, code=2)
    assert "--label" in said
    assert "--label" in fails("classify", DOG, "cat", CAT, *NO_MODEL, code=2)
    assert answer("classify", DOG, *ONNX, "--label", "dog", "--label", "cat")["probs"][0] > 0.5


@pytest.mark.parametrize("index", range(3))
def test_an_image_that_cannot_be_read_leaves_the_answers_of_the_others(
    tmp_path: Path, index: int
) -> None:
    images = [DOG, CAT]
    images.insert(index, str(tmp_path / "broken.jpg"))
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    result = run("classify", *images, "dog", *ONNX, "--json")
    assert result.exit_code == 1
    warned, failed = result.stderr.splitlines()
    assert "broken.jpg" in warned
    assert "1 of 3" in failed
    told = [json.loads(line)["file_name"] for line in result.stdout.splitlines()]
    assert told == ["dog.jpg", "cat.jpg"]


def test_each_image_has_its_own_output(tmp_path: Path) -> None:
    outputs = ("-o", tmp_path / "{name}.json", "-o", tmp_path / "{name}.csv")
    table("text", DOG, CAT, "cat", *ONNX, *outputs)
    for path, labels in ((DOG, set()), (CAT, {"cat"})):
        coco = COCO(str(tmp_path / f"{Path(path).stem}.json"))
        assert [each["file_name"] for each in coco.dataset["images"]] == [Path(path).name]
        with (tmp_path / f"{Path(path).stem}.csv").open(encoding="utf-8") as file:
            assert {row["label"] for row in csv.DictReader(file)} == labels
    assert "{name}" in fails("text", DOG, CAT, "dog", "-o", "found.png", *NO_MODEL, code=2)
    shutil.copy(DOG, tmp_path / "dog.jpg")
    twice = ("text", DOG, tmp_path / "dog.jpg", "dog", "-o", tmp_path / "{name}.png")
    assert "{name}" in fails(*twice, *NO_MODEL, code=2)
    assert ".npz" in fails("classify", DOG, "dog", "-o", "found.csv", *NO_MODEL, code=2)
    own = tmp_path / "dog.jpg"
    assert "another name" in fails(
        "text", CAT, own, "dog", "-o", tmp_path / "{name}.jpg", *NO_MODEL, code=2
    )
    assert own.read_bytes() == Path(DOG).read_bytes()


@pytest.mark.parametrize("ending", ["json", "csv"])
def test_an_image_whose_name_is_no_text(tmp_path: Path, ending: str) -> None:
    source, output = tmp_path / "caf\udce9.jpg", tmp_path / f"found.{ending}"
    shutil.copy(CAT, source)
    table("text", source, "cat", *ONNX, "-o", output)
    content = output.read_text(encoding="utf-8")
    if ending == "json":
        assert json.loads(content)["images"][0]["file_name"] == source.name


def test_an_image_behind_a_url_needs_a_flag() -> None:
    url = "memory://images/dog.jpg"
    assert "--fetch" in fails("classify", url, "dog", *NO_MODEL, code=2)
    files = fsspec.filesystem("memory")
    files.pipe_file("/images/dog.jpg", Path(DOG).read_bytes())
    found = answer("classify", url, "dog", "cat", *ONNX, "--fetch")
    alone = answer("classify", DOG, "dog", "cat", *ONNX)
    assert found["probs"] == alone["probs"]
    assert "nothing.jpg" in fails("classify", "memory://nothing.jpg", "dog", *ONNX, "--fetch")
