"""Zips with instance ids become sets in COCO's layout, whole or not at all."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.training.photograph_files import HEIGHT, WIDTH, picture, write_zip
from training.errors import TrainingError
from training.photographs import app
from training.real.coco_layout import SPLITS
from training.real.photograph_masks import decode_mask
from training.real.photograph_sets import PhotographSet
from training.real.photograph_zips import are_open, convert_zips

IDS = np.zeros((HEIGHT, WIDTH), np.uint8)
IDS[10:50, 20:60] = 1
IDS[30:70, 40:90] = 2  # hides a corner of the first


def thing(concept: str, number: int, **more: Any) -> dict[str, Any]:
    return {"concept": concept, "id": number, "box": [20, 10, 60, 50], "stuff": False, **more}


OBJECTS = [
    thing("cat", 1, crowd=True),
    thing("car door", 2, part_of="car", semantic=True),
    thing("grass", 0, stuff=True),
    thing("cat", 9),  # none of the pixels is its own
]


@pytest.fixture
def zips(tmp_path: Path) -> Path:
    fields = {"objs": OBJECTS, "labels": ["pets"], "captions": ["a cat", "a door"]}
    write_zip(
        tmp_path / "zips" / "toys.zip",
        {"a": fields, "b": {"split": "val"}, "c": {"objs": [thing("region", 0)]}},
        ids={"a": IDS},
    )
    return tmp_path / "zips"


def test_a_zip_becomes_a_set(zips: Path, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    names = convert_zips(
        zips, tmp_path / "sets", complete=["toys"], on_progress=lambda *each: told.append(each)
    )
    assert names == ["toys"]
    assert told == [("toys", 0, 1), ("done", 1, 1)]
    found = PhotographSet(tmp_path / "sets" / "toys")
    assert (found.terms, found.open_terms, found.complete) == ("CC0-1.0", True, True)
    assert found.source == "me/toys"
    kinds = [(each.name, each.thing, each.nameless) for each in found.categories]
    assert kinds == [
        ("car door", True, False),
        ("cat", True, False),
        ("grass", False, False),
        ("region", True, True),
    ]
    assert found.path(0).read_bytes() == picture()
    assert found.labels(0) == ("pets",)
    assert found.captions(0) == ("a cat", "a door")
    cat, door, grass, lost = found.annotations(0)
    assert (cat.category, cat.crowd, cat.semantic) == (1, True, False)
    assert (door.category, door.crowd, door.semantic) == (0, False, True)
    for number, each in ((1, cat), (2, door)):
        mask = decode_mask(each.segmentation, height_px=HEIGHT, width_px=WIDTH)
        np.testing.assert_array_equal(mask, number == IDS)
        assert each.area_px == (number == IDS).sum()
    for each in (grass, lost):
        assert (each.segmentation, each.box.tolist()) == (None, [20, 10, 60, 50])


def test_a_tenth_of_train_is_for_calibration(tmp_path: Path) -> None:
    pictures = {
        f"p{number}": {"split": "val" if number > 199 else "train"} for number in range(220)
    }
    write_zip(tmp_path / "toys.zip", pictures)
    convert_zips(tmp_path, tmp_path / "sets")
    found = PhotographSet(tmp_path / "sets" / "toys")
    splits = [SPLITS[each] for each in found.splits]
    assert splits[200:] == ["val"] * 20
    assert 10 <= splits.count("calibration") <= 30
    write_zip(tmp_path / "toys.zip", dict(reversed(pictures.items())))
    convert_zips(tmp_path, tmp_path / "sets")
    again = PhotographSet(tmp_path / "sets" / "toys")
    assert [SPLITS[each] for each in again.splits][::-1] == splits


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ("CC0-1.0", True),
        ("CC-BY-SA-4.0 (Oxford-IIIT pets)", True),
        ("annotations CC-BY-4.0, photos Flickr terms", True),
        ("public domain (Roboflow export states so)", True),
        ("MIT (repository of the authors)", True),
        ("CC-BY-4.0 (Roboflow export); photos from the web", False),
        ("repository Apache-2.0; photos from fashion web sites", False),
        ("MIT (repository); photos from web search, research only", False),
        ("research only (DAVIS: CC BY-NC)", False),
        ("CC-BY-NC-SA-4.0", False),
        ("unknown (Roboflow export)", False),
        ("repository of the photographer; licence not stated", False),
        ("", False),
    ],
)
def test_terms_are_open_as_far_as_words_tell(terms: str, expected: bool) -> None:
    assert are_open(terms) is expected


def test_damaged_zips_are_named_and_leave_nothing(tmp_path: Path) -> None:
    zips, sets = tmp_path / "zips", tmp_path / "sets"
    path = write_zip(zips / "toys.zip", {"a": {"objs": OBJECTS}}, ids={"a": IDS})
    convert_zips(zips, sets)
    before = (sets / "toys" / "instances.json").read_bytes()
    whole = path.read_bytes()
    objects = {"a": {"objs": OBJECTS}}
    broken = {
        "cut": (whole[:-40], "File is not a zip file"),
        "flipped": (whole[:80] + bytes([whole[80] ^ 255]) + whole[81:], "Bad CRC-32 .*img/a.jpg"),
        "ids": (write_zip(path, objects).read_bytes(), "there is no ids/a.png"),
        "size": (
            write_zip(path, objects, ids={"a": IDS[:50]}).read_bytes(),
            "ids/a.png is 128 x 50 pixels of mode L, not 128 x 96 of mode L",
        ),
        "stray": (
            write_zip(path, objects, ids={"a": IDS, "z": IDS}).read_bytes(),
            "ids/z.png has no picture in meta.json",
        ),
        "wrong": (
            write_zip(path, {"a": {"w": 9}}).read_bytes(),
            "img/a.jpg has 128 x 96 pixels, and 9 x 96 in meta.json",
        ),
        "outside": (write_zip(path, {"../a": {}}).read_bytes(), "'../a' is no name of a picture"),
        "fields": (
            write_zip(path, {"a": {"objs": [{"concept": "cat"}]}}).read_bytes(),
            "meta.json: KeyError: 'id'",
        ),
    }
    for content, reason in broken.values():
        path.write_bytes(content)
        with pytest.raises(TrainingError, match=rf"toys.zip cannot be used: .*{reason}"):
            convert_zips(zips, sets)
        assert (sets / "toys" / "instances.json").read_bytes() == before
        assert [each.name for each in sets.iterdir()] == ["toys"]
    with zipfile.ZipFile(path, "w") as files:
        files.writestr("img/a.jpg", picture())
    with pytest.raises(TrainingError, match=r"toys.zip cannot be used: there is no meta.json"):
        convert_zips(zips, sets)


def test_the_command_says_what_it_made_or_why_not(zips: Path, tmp_path: Path) -> None:
    sets = tmp_path / "sets"
    done = CliRunner().invoke(app, ["convert", str(zips), str(sets), "--complete", "toys"])
    assert (done.exit_code, done.stdout) == (0, f"{sets} has 1 sets.\n")
    assert PhotographSet(sets / "toys").complete
    done = CliRunner().invoke(app, ["convert", str(zips), str(sets), "--complete", "toys,none"])
    assert done.exit_code == 1
    assert done.stderr == f"error: there is no none.zip in {zips}, which is said to be complete\n"
    done = CliRunner().invoke(app, ["convert", str(sets), str(sets)])
    assert done.stderr == f"error: there is no zip of photographs in {sets}\n"
