"""A folder's COCO JSON: what is in it, what is skipped, and that no stop loses anything."""

from __future__ import annotations

import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from samclip_sdk.annotate.annotation_log import AnnotationLog, log_path
from samclip_sdk.annotate.annotation_run import AnnotationReport
from samclip_sdk.annotate.annotator import Annotator, annotate_folder
from samclip_sdk.annotate.image_files import ImageFile, find_images
from samclip_sdk.engine.queries import InstanceQuery, TextQuery
from samclip_sdk.errors import StorageError
from tests.command import answer, fails, table
from tests.fake_source import FakeSource, fake_client, sample_image, write_image
from tests.refusals import refused

LABELS = ["zebra", "dog", "cat"]
ENCODER = "image_encoder@64"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five images of several sizes, one of them in a folder of its own, named out of order."""
    root = tmp_path / "images"
    (root / "b").mkdir(parents=True)
    for index, name in enumerate(("c.png", "a.png", "b/2.png", "z.png", "B.png")):
        Image.fromarray(sample_image(40 + 10 * index, 100)).save(root / name)
    return root


NAMES = ["B.png", "a.png", "b/2.png", "c.png", "z.png"]


@pytest.fixture
def run(tmp_path: Path, folder: Path) -> Callable[..., tuple[AnnotationReport, FakeSource]]:
    """Annotates the folder with a new fake model, which counts what it is asked."""

    def annotate(
        *,
        labels: list[str] = LABELS,
        model_id: str = "fake",
        taught: str | None = None,
        query: type[InstanceQuery | TextQuery] = InstanceQuery,
        threshold: float | None = None,
        polygons: bool = False,
        **options: Any,
    ) -> tuple[AnnotationReport, FakeSource]:
        model, source = fake_client(tmp_path, model_id=model_id)
        if taught is not None:
            model.learn_label("zebra", source.vector(taught), score=0.99)
        asked = query(labels=labels, threshold=threshold)
        annotator = Annotator(model, asked, polygons=polygons)
        return annotate_folder(annotator, folder, tmp_path / "out.json", **options), source

    return annotate


def coco(path: Path) -> dict[str, Any]:
    """The file without its date."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    assert content["info"].pop("date_created").endswith("+00:00")
    return content


@pytest.mark.usefixtures("sources")
def test_pycocotools_reads_the_masks_of_labels_back(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.json"
    found = answer("annotate", folder, *LABELS, "-o", output, "--no-instances")
    assert (found["images"], found["annotations"], found["resumed"]) == (5, 10, 0)
    assert found["images_per_second"] == pytest.approx(5 / found["seconds"])
    read = COCO(str(output))
    assert [read.imgs[index]["file_name"] for index in sorted(read.imgs)] == NAMES
    assert [each["name"] for each in read.loadCats(sorted(read.cats))] == LABELS
    assert sorted(read.anns) == list(range(1, 11))
    model, _ = fake_client(tmp_path)
    for image in read.imgs.values():
        expected = model.segment_text(folder / image["file_name"], LABELS)
        assert (image["height"], image["width"]) == expected.class_map.shape
        for annotation in read.loadAnns(read.getAnnIds(imgIds=image["id"])):
            label = read.cats[annotation["category_id"]]["name"]
            mask = expected.mask(label)
            assert np.array_equal(read.annToMask(annotation), mask)
            (found,) = expected[label]
            assert (annotation["score"], annotation["presence"]) == (found.score, found.presence)
            assert (annotation["area"], annotation["iscrowd"]) == (mask.sum(), 0)
    info = read.dataset["info"]
    assert info["labels"] == LABELS
    assert (info["model"], info["model_id"], info["revision"]) == ("fake", "fake", "1")
    assert (info["runtime"], info["precision"]) == ("fake", "fp32")
    assert (set(info["thresholds"]), info["mask_threshold"]) == ({0.5}, 0)


@pytest.mark.usefixtures("sources")
@pytest.mark.parametrize("polygons", [False, True])
def test_pycocotools_reads_the_objects_back(folder: Path, tmp_path: Path, polygons: bool) -> None:
    output = tmp_path / "out.json"
    answer("annotate", folder, *LABELS, "-o", output, *(["--polygons"] if polygons else []))
    read = COCO(str(output))
    model, _ = fake_client(tmp_path)
    for image in read.imgs.values():
        expected = model.segment_instances(folder / image["file_name"], LABELS)
        found = read.loadAnns(read.getAnnIds(imgIds=image["id"]))
        assert len(found) == len(expected) >= 2
        for annotation, item in zip(found, expected, strict=True):
            assert LABELS[annotation["category_id"] - 1] == item.label
            assert np.array_equal(read.annToMask(annotation), item.mask)
            assert isinstance(annotation["segmentation"], list) == polygons
            x, y, width, height = annotation["bbox"]
            assert [x, y, x + width, y + height] == item.box.tolist()
            assert annotation["area"] == item.mask.sum()
            for name in ("score", "label_score", "predicted_iou", "stability_score"):
                assert annotation[name] == getattr(item, name)
    assert read.dataset["info"]["max_instances"] == 50
    every = Annotator(model, LABELS)(sample_image())["annotations"]
    assert len(every) > 1
    best = InstanceQuery(labels=LABELS, max_instances=1)
    assert Annotator(model, best)(sample_image())["annotations"] == every[:1]


def test_a_label_whose_mask_is_empty_gets_no_annotation(tmp_path: Path) -> None:
    model, _ = fake_client(tmp_path)
    annotator = Annotator(model, TextQuery(labels=LABELS, mask_threshold=1e6))
    assert annotator(sample_image()) == {"width": 100, "height": 50, "annotations": []}
    assert model.segment_text(sample_image(), LABELS).labels == ("dog", "cat")


@pytest.mark.usefixtures("sources")
def test_labels_of_a_file_and_options(folder: Path, tmp_path: Path) -> None:
    labels, output = tmp_path / "labels.txt", tmp_path / "out.json"
    labels.write_text("\ufeff dog \n\nfire engine\ncat", encoding="utf-8")
    options = ("--threshold", "0.25", "--mask-threshold", "-1.5", "--no-refine")
    given = (*options, "--no-instances", "--readers", "1", "--threads", "1")
    answer("annotate", folder, "--labels-file", labels, "-o", output, *given)
    info = coco(output)["info"]
    assert info["labels"] == ["dog", "fire engine", "cat"]
    assert (set(info["thresholds"]), info["mask_threshold"]) == ({0.25}, -1.5)
    assert info["refine"] is False


def write_odd_files(folder: Path) -> dict[str, str]:
    """Files that give no annotation, and words of the reason."""
    (folder / "text.png").write_text("dog")
    (folder / "empty.jpg").touch()
    whole = (folder / "a.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    Image.new("RGB", (1, 1)).save(folder / "pixel.png")
    frames = [Image.fromarray(sample_image(20, 20) + np.uint8(shade)) for shade in (0, 40, 80)]
    for name in ("moving.gif", "moving.png", "pages.tiff"):
        frames[0].save(folder / name, save_all=True, append_images=frames[1:])
    (folder / "lost.png").symlink_to(folder / "nowhere.png")
    return {
        "cut.png": "cannot be read",
        "empty.jpg": "is empty: 0 bytes",
        "lost.png": "No such file",
        "moving.gif": "animated",
        "moving.png": "animated",
        "pages.tiff": "several pages",
        "pixel.png": "single pixel",
        "text.png": "is not an image",
    }


@pytest.mark.usefixtures("sources")
def test_what_cannot_be_read_is_told_at_the_end(folder: Path, tmp_path: Path) -> None:
    reasons = write_odd_files(folder)
    found = answer("annotate", folder, "dog", "-o", tmp_path / "out.json")
    assert [each["name"] for each in found["skipped"]] == list(reasons)
    for each in found["skipped"]:
        assert reasons[each["name"]] in each["reason"]
        assert str(folder) not in each["reason"]
    assert found["images"] == len(coco(tmp_path / "out.json")["images"]) == 5
    (folder / os.fsdecode(b"caf\xe9.png")).touch()
    (folder / "phone.HEIC").write_bytes(b"\0\0\0 ftypheic")  # this machine cannot read it
    told = {each.name: each.reason for each in find_images(folder)[1]}
    assert "UTF-8" in told["caf?.png"]
    printed = table("annotate", folder, "dog", "-o", tmp_path / "out.json")
    assert "10 skipped" in printed
    assert "5 annotations of 5 images, 5 of them done before" in printed


@pytest.mark.usefixtures("sources")
def test_images_that_are_annotated_at_once_give_the_same_file(folder: Path, tmp_path: Path) -> None:
    write_odd_files(folder)
    one, three = tmp_path / "one.json", tmp_path / "three.json"
    answer("annotate", folder, *LABELS, "-o", one)
    found = answer("annotate", folder, *LABELS, "-o", three, "--at-once", "3")
    assert len(found["skipped"]) == 8
    assert coco(three) == coco(one)


def test_stills_of_all_kinds_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    still = Image.fromarray(sample_image())
    for suffix in ("png", "gif", "webp", "bmp", "tiff"):
        still.save(folder / f"still.{suffix}")
    # As phones write them: a second image behind the first.
    still.save(folder / "phone.jpg", format="MPO", save_all=True, append_images=[still])
    model, _ = fake_client(tmp_path)
    report = annotate_folder(Annotator(model, ["dog"]), folder, tmp_path / "out.json")
    assert (report.images, report.skipped) == (6, ())


def test_what_is_no_image_is_passed_over(folder: Path, tmp_path: Path) -> None:
    """Hidden files, links that leave, labels, notes and films."""
    for name in ("a.json", "a.png.txt", "film.mp4", "LICENSE", "classes.xml", "b/2.npz"):
        (folder / name).write_bytes(b"beside")
    Image.fromarray(sample_image(40, 40)).save(folder / "LOUD.JPG")
    outside = tmp_path / "outside"
    outside.mkdir()
    write_image(outside / "far.png")
    write_image(folder / ".hidden.png")
    (folder / ".cache").mkdir()
    write_image(folder / ".cache" / "thumb.png")
    (folder / "far.png").symlink_to(outside / "far.png")
    (folder / "outside").symlink_to(outside)
    (folder / "round").symlink_to(folder)
    (folder / "twin.png").symlink_to("a.png")
    os.mkfifo(folder / "pipe")
    own = write_image(folder / "own.png")
    images, skipped = find_images(folder, leave_out=(own,))
    assert [each.name for each in images] == sorted([*NAMES, "LOUD.JPG", "twin.png"])
    assert not skipped


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.35, 0.5, 0.75, 0.99])
def test_a_progress_file_cut_anywhere_goes_on(
    run: Callable[..., Any], tmp_path: Path, kept: float
) -> None:
    output = tmp_path / "out.json"
    told: list[tuple[str, int, int]] = []
    _, first = run(on_progress=lambda *each: told.append(each))
    assert told == [("annotating", done, 5) for done in range(6)]
    assert (first.runs(ENCODER), first.runs("text_encoder")) == (5, len(LABELS))
    whole, lines = coco(output), log_path(output).read_bytes()
    cut = lines[: int(kept * len(lines))]
    log_path(output).write_bytes(cut)
    output.unlink()
    report, source = run()
    done = max(0, cut.count(b"\n") - 1)
    assert report.resumed == done < 5
    assert source.runs(ENCODER) == 5 - done
    assert coco(output) == whole
    assert log_path(output).read_bytes() == lines


def test_two_runs_do_not_write_one_output(run: Callable[..., Any], tmp_path: Path) -> None:
    model, _ = fake_client(tmp_path)
    settings = Annotator(model, LABELS).settings
    with AnnotationLog(log_path(tmp_path / "out.json"), settings=settings):
        refused(run, StorageError, "another run")
    assert run()[0].images == 5
    assert not list(tmp_path.glob(".*.lock"))


def test_a_label_that_was_taught_again_is_another_label(
    run: Callable[..., Any], tmp_path: Path
) -> None:
    output = tmp_path / "out.json"
    run(taught="dog")
    assert run(taught="dog")[0].resumed == 5
    before = output.read_bytes()
    for taught in ("cat", None):
        refused(lambda taught=taught: run(taught=taught), StorageError, "zebra")
    assert output.read_bytes() == before
    assert run(taught="cat", restart=True)[0].resumed == 0


def test_the_labels_of_a_vocabulary_pack(
    sources: list[FakeSource], folder: Path, tmp_path: Path
) -> None:
    pack, output = tmp_path / "pack.json", tmp_path / "out.json"
    model, source = fake_client(tmp_path)
    model.learn_label("my mug", source.vector("dog"), score=0.99)
    model.save_vocabulary(pack, ["my mug", "cat"])
    found = answer("annotate", folder, "--vocabulary", pack, "-o", output)
    assert found["annotations"] == 10
    assert sources[0].runs("text_encoder") == 0
    written = coco(output)
    assert [each["name"] for each in written["categories"]] == ["my mug", "cat"]
    assert written["info"]["label_digests"][0] == model.label_digests(["my mug"])[0] != ""
    model.learn_label("my mug", source.vector("cat"), score=0.99)
    model.save_vocabulary(pack, ["my mug", "cat"])
    assert "my mug" in fails("annotate", folder, "--vocabulary", pack, "-o", output)
    both = ("annotate", folder, "dog", "--vocabulary", pack, "-o", tmp_path / "b.json")
    assert answer(*both)["annotations"]


def test_a_later_run_does_what_is_new_or_replaced(
    run: Callable[..., Any], folder: Path, tmp_path: Path
) -> None:
    run()
    (folder / "c.png").unlink()
    Image.fromarray(sample_image(30, 60)).save(folder / "a.png")
    write_image(folder / "b" / "1.png")
    report, source = run()
    assert (report.resumed, source.runs(ENCODER)) == (3, 2)
    resumed = coco(tmp_path / "out.json")
    names = [each["file_name"] for each in resumed["images"]]
    assert names == ["B.png", "a.png", "b/1.png", "b/2.png", "z.png"]
    assert resumed["images"][1]["height"] == 30
    run(restart=True)
    assert coco(tmp_path / "out.json") == resumed


# --- what is refused ---------------------------------------------------------------------------


@pytest.mark.usefixtures("sources")
def test_if_nothing_can_be_read_it_is_an_error(tmp_path: Path) -> None:
    folder, output = tmp_path / "images", tmp_path / "out.json"
    folder.mkdir()
    (folder / "notes.txt").touch()
    assert ".jpg" in fails("annotate", folder, "dog", "-o", output)
    (folder / "broken.jpg").write_bytes(b"broken")
    assert "broken.jpg" in fails("annotate", folder, "dog", "-o", output)
    assert not output.exists()
    # Nothing was done, so nothing is lost with other labels.
    write_image(folder / "good.png")
    assert answer("annotate", folder, "cat", "-o", output)["images"] == 1


@pytest.mark.parametrize(
    ("code", "arguments", "word"),
    [
        (1, ("nowhere", "dog"), "nowhere"),
        (1, ("FOLDER/a.png", "dog"), "a.png"),
        (1, ("FOLDER", "--labels-file", "FOLDER/a.png"), "a.png"),
        (1, ("FOLDER", "dog", "-o", "nowhere/out.json"), "nowhere"),
        (2, ("FOLDER",), "label"),
        (2, ("FOLDER", "dog", "--labels-file", "FOLDER/a.png"), "--labels-file"),
        (2, ("FOLDER", "dog", "-o", "out.png"), "out.png"),
        (2, ("FOLDER", "dog", "--threshold", "2"), "--threshold"),
        (2, ("FOLDER", "dog", "--readers", "0"), "--readers"),
        (2, ("FOLDER", "dog", "--ray", "local", "--at-once", "2"), "--workers"),
        (2, ("FOLDER", "dog", "--no-refine"), "--no-refine"),
        (2, ("FOLDER", "dog", "--no-instances", "--max-instances", "3"), "--max-instances"),
    ],
)
def test_what_the_command_refuses_before_a_model_is_opened(
    folder: Path, sources: list[FakeSource], code: int, arguments: tuple[str, ...], word: str
) -> None:
    words = (each.replace("FOLDER", str(folder)) for each in arguments)
    assert word in fails("annotate", *words, code=code)
    assert not sources


@pytest.mark.usefixtures("sources")
def test_a_foreign_output_is_left_alone(
    run: Callable[..., Any], folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.json"
    output.write_text("a year of work")
    for restart in (False, True):
        refused(lambda r=restart: run(restart=r), StorageError, "--overwrite")
    assert output.read_text() == "a year of work"
    assert not log_path(output).exists()
    assert answer("annotate", folder, *LABELS, "-o", output, "--overwrite")["images"] == 5
    assert run()[0].resumed == 5  # its own by now


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"labels": ["dog"]}, "now dog"),
        ({"labels": [*reversed(LABELS)]}, "now cat, dog, zebra"),
        ({"threshold": 0.75}, "now 0.75"),
        ({"polygons": True}, "now True"),
        ({"query": TextQuery}, "max_instances"),
        ({"model_id": "other"}, "now other"),
    ],
)
def test_other_settings_are_refused(
    run: Callable[..., Any], tmp_path: Path, changed: dict[str, Any], word: str
) -> None:
    output = tmp_path / "out.json"
    run()
    before = [output.read_bytes(), log_path(output).read_bytes()]
    refused(lambda: run(**changed), StorageError, word)
    assert [output.read_bytes(), log_path(output).read_bytes()] == before
    report, source = run(**changed, restart=True)
    assert (report.resumed, source.runs(ENCODER)) == (0, 5)


def image_line(**changed: Any) -> Callable[[list[bytes]], None]:
    """A line of an image that is changed, and JSON still."""

    def damage(lines: list[bytes]) -> None:
        lines[2] = json.dumps({**json.loads(lines[2]), **changed}).encode() + b"\n"

    return damage


def line(number: int, content: bytes) -> Callable[[list[bytes]], None]:
    return lambda lines: lines.__setitem__(slice(number, number + 1), [content + b"\n"])


NO_LOG, LINE_3 = "not a progress file", "line 3"
FOUND = {"category_id": 1, "bbox": [0, 0, 1, 1], "area": 1, "score": 0.5}
# Of no run, without an end, of too many digits, of other letters, of too few pixels, below zero.
WRONG_COUNTS = ["", "zz", "oooooooo0", "~", "\u00e9", "01", "b0N"]
DAMAGES: list[tuple[Callable[[list[bytes]], None], str]] = [
    (lambda lines: lines.__setitem__(slice(None), [b"\n"]), NO_LOG),
    (lambda lines: lines.__setitem__(slice(None), [b"some notes of mine"]), NO_LOG),
    (line(0, b'{"other": 1}'), NO_LOG),
    (lambda lines: lines.__setitem__(0, lines[0].replace(b'"refine"', b'"reefed"')), "version"),
    (lambda lines: lines.__setitem__(2, lines[2][:20] + b"\n"), LINE_3),
    *((line(2, each), LINE_3) for each in (b"[" * 100_000, b"1" * 10_000, b"null", b'"\xff"')),
    *(
        (image_line(**{name: value}), LINE_3)
        for name, value in (
            *(("width", 0), ("width", "100"), ("file_name", ["a"]), ("file_name", "\ud800")),
            *(("more", 1), ("annotations", [5]), ("annotations", [FOUND])),
            ("annotations", [{**FOUND, "segmentation": [[1, 2]], "category_id": 4}]),
        )
    ),
    *(
        (image_line(annotations=[{**FOUND, "segmentation": each}], width=8, height=2), LINE_3)
        for each in (
            *({"size": [2, 8], "counts": counts} for counts in WRONG_COUNTS),
            *({"size": size, "counts": "`0"} for size in ([1, 16], [-2, -8], [1 << 20, 1 << 20])),
            *([corners] for corners in ([], [0, 0, 1, 1], [0, 0, 8, 0, 8], [0, 0, 8, 0, 8, 3])),
            *([[0, 0, 8, 0, 8, each]] for each in (-1, float("nan"), float("inf"))),
        )
    ),
]


def test_a_damaged_or_foreign_progress_file_is_refused_before_the_work(
    run: Callable[..., Any], folder: Path, tmp_path: Path
) -> None:
    path = log_path(tmp_path / "out.json")
    run()
    whole = path.read_bytes()
    write_image(folder / "new.png")
    for damage, word in DAMAGES:
        lines = whole.splitlines(keepends=True)
        damage(lines)
        path.write_bytes(b"".join(lines))
        refused(run, StorageError, word)
        assert path.read_bytes() == b"".join(lines)
    refused(run, StorageError, "--restart")
    assert run(restart=True)[0].images == 6


def test_the_progress_file_goes_if_it_is_not_wanted(
    run: Callable[..., Any], tmp_path: Path
) -> None:
    output = tmp_path / "out.json"
    assert run(discard_progress=True)[0].images == 5
    assert output.exists()
    assert not list(tmp_path.glob("*progress*")) + list(tmp_path.glob(".*.lock"))
    refused(run, StorageError, "--overwrite")
    assert run(discard_progress=True, overwrite=True)[0].resumed == 0


@pytest.mark.parametrize("asked", [{"polygons": True}, {"query": TextQuery}])
def test_lines_of_every_kind_are_read_back(run: Callable[..., Any], asked: dict[str, Any]) -> None:
    assert run(**asked)[0].resumed == 0
    assert run(**asked)[0].resumed == 5


def test_a_run_in_the_folder_itself_leaves_its_own_files_out(folder: Path, tmp_path: Path) -> None:
    model, _ = fake_client(tmp_path)
    for resumed in (0, 5):
        report = annotate_folder(Annotator(model, LABELS), folder, folder / "out.json")
        assert (report.images, report.resumed, report.skipped) == (5, resumed, ())


def test_the_output_is_never_in_memory(tmp_path: Path) -> None:
    model, _ = fake_client(tmp_path)
    settings = Annotator(model, LABELS).settings
    images = [ImageFile(tmp_path, f"{index:03}.png", 1, 1) for index in range(100)]
    annotation = {"category_id": 1, "segmentation": {"size": [1, 1], "counts": "0" * 100_000}}
    found = {"width": 1, "height": 1, "annotations": [annotation]}
    output = tmp_path / "out.json"
    with AnnotationLog(log_path(output), settings=settings) as log:
        tracemalloc.start()
        for each in reversed(images):
            log.append(each, found)
        assert log.write_coco(output, images) == 100
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert output.stat().st_size > 10_000_000
    assert peak < 2_000_000
    assert [each["id"] for each in coco(output)["annotations"]] == list(range(1, 101))
