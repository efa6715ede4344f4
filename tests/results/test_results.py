from __future__ import annotations

import copy
import dataclasses
import io
import json
import pickle
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageShow

from samclip_sdk.errors import ImageError, RuntimeMissingError, StorageError, UnaskedLabelError
from samclip_sdk.image.masks import rle_to_mask
from samclip_sdk.results.classification import Classification
from samclip_sdk.results.instances import Instances
from samclip_sdk.results.named_masks import NamedMasks
from samclip_sdk.results.prompt_masks import Masks
from samclip_sdk.results.text_masks import AskedLabels, TextMasks
from tests.refusals import refused

HEIGHT, WIDTH = 60, 80
IMAGE = np.full((HEIGHT, WIDTH, 3), 90, dtype=np.uint8)


def classification() -> Classification:
    logits = np.array([1.0, 3.0, 2.0], dtype=np.float32)
    probs = np.exp(logits) / np.exp(logits).sum()
    presence = np.array([0.2, 0.9, 0.6], dtype=np.float32)
    return Classification(["dog", "größe", "cat"], probs, logits, presence, {"encode_ms": 1.5})


def masks() -> Masks:
    planes = np.zeros((3, HEIGHT, WIDTH), dtype=bool)
    planes[0, 10:20, 30:50] = True
    planes[1, 5:40, 5:60] = True
    return Masks(
        masks=planes,
        scores=np.array([0.9, 0.8, 0.1], dtype=np.float32),
        low_res_masks=np.zeros((3, 16, 16), dtype=np.float32),
        boxes=np.array([[30, 10, 50, 20], [5, 5, 60, 40], [0, 0, 0, 0]], dtype=np.float32),
        prompt_index=np.array([0, 1, 1]),
        speed={"decode_ms": 2.0},
    )


def text_masks() -> TextMasks:
    planes = np.zeros((2, HEIGHT, WIDTH), dtype=bool)
    planes[0, 10:20, 30:50] = True
    planes[1, 30:, :] = True
    class_map = np.full((HEIGHT, WIDTH), -1, dtype=np.int16)
    class_map[planes[0]], class_map[planes[1]] = 1, 3
    return TextMasks(
        labels=["dog", "grass"],
        presence=np.array([0.9, 0.7], dtype=np.float32),
        scores=np.array([0.8, 0.6], dtype=np.float32),
        masks=planes,
        points=[np.array([[40.0, 15.0]]), np.array([[10.0, 35.0], [70.0, 50.0]])],
        label_index=np.array([1, 3]),
        asked=AskedLabels(
            ["cat", "dog", "sofa", "grass"],
            np.array([0.1, 0.9, 0.2, 0.7], dtype=np.float32),
            np.zeros((4, 8, 8), dtype=np.float32),
        ),
        draw_class_map=partial(np.copy, class_map),
    )


def instances() -> Instances:
    planes = np.zeros((3, HEIGHT, WIDTH), dtype=bool)
    planes[0, 10:20, 30:50] = True
    planes[1, 30:, :] = True
    planes[2, 2:4, 2:5] = True
    return Instances(
        labels=["dog", "grass", "dog"],
        scores=np.array([0.5, 0.4, 0.25], dtype=np.float32),
        boxes=np.array([[30, 10, 50, 20], [0, 30, 80, 60], [2, 2, 5, 4]], dtype=np.float32),
        masks=planes,
        label_index=np.array([1, 4, 1]),
        label_scores=np.array([0.9, 0.8, 0.5], dtype=np.float32),
        predicted_ious=np.array([0.8, 0.7, 0.6], dtype=np.float32),
        stability_scores=np.array([0.7, 0.75, 0.8], dtype=np.float32),
        speed={"postprocess": 3.0},
    )


def named_masks() -> NamedMasks:
    """As `segment_everything` answers: the third mask has no name, and scores rank masks."""
    given = {each.name: getattr(instances(), each.name) for each in dataclasses.fields(Instances)}
    index, fits = np.array([1, 4, -1]), np.array([0.9, 0.8, 0], np.float32)
    named = {"labels": ["dog", "grass", ""], "label_index": index, "label_scores": fits}
    return NamedMasks(**given | named)


def nameless() -> NamedMasks:
    """As `segment_everything` answers without labels."""
    none = np.zeros(3, dtype=np.float32)
    return dataclasses.replace(
        named_masks(), labels=[""] * 3, label_index=np.full(3, -1), label_scores=none
    )


ALL = [classification, masks, text_masks, instances, named_masks, nameless]


# --- shapes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "name", "value", "word"),
    [
        (classification, "probs", np.zeros(2, np.float32), "float32 [2]"),
        (classification, "logits", np.array(["a", "b", "c"]), "logits"),
        (masks, "masks", np.zeros((3, 60, 80)), "masks must be bool"),
        (masks, "masks", np.zeros((60, 80), bool), "bool [60, 80]"),
        (masks, "scores", np.zeros(2, np.float32), "Masks.scores"),
        (masks, "boxes", np.zeros((3, 2, 2), np.float32), "float32 [3, 4]"),
        (masks, "prompt_index", np.zeros(3), "prompt_index"),
        (text_masks, "presence", np.zeros(5, np.float32), "float32 [5]"),
        (text_masks, "masks", np.zeros((3, 60, 80), bool), "bool [3, 60, 80]"),
        (text_masks, "label_index", np.array([3, 1]), "['grass', 'dog']"),
        (text_masks, "points", [np.zeros((0, 2))] * 3, "2 arrays [n, 2]"),
        (instances, "labels", ["dog"], "Instances.masks"),
        (instances, "scores", np.zeros(2, np.float32), "Instances.scores"),
        (instances, "boxes", np.zeros((3, 2)), "Instances.boxes"),
        (instances, "label_index", np.zeros(3), "label_index"),
    ],
)
def test_a_wrong_array_is_named(make: Any, name: str, value: object, word: str) -> None:
    refused(lambda: dataclasses.replace(make(), **{name: value}), ValueError, word)


TRAVELS = [copy.copy, copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))]


@pytest.mark.parametrize("make", ALL)
@pytest.mark.parametrize("travel", [lambda each: each, *TRAVELS])
def test_results_are_immutable_however_they_travel(make: Any, travel: Any) -> None:
    result = travel(make())
    for holder in (result, travel(result[1])):
        for each in dataclasses.fields(holder):
            value = getattr(holder, each.name)
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(holder, each.name, value)
            for array in value if each.name == "points" and holder is result else [value]:
                assert not (isinstance(array, np.ndarray) and array.flags.writeable), each.name
    assert result.speed == make().speed
    assert result.to_json() == make().to_json()


@pytest.mark.parametrize("travel", [lambda each: each, *TRAVELS])
def test_a_class_map_is_drawn_once_and_travels(travel: Any) -> None:
    result = travel(text_masks())
    np.testing.assert_array_equal(result.class_map, text_masks().draw_class_map())
    assert result.class_map is result.class_map
    assert not result.class_map.flags.writeable


def test_a_result_is_apart_from_what_it_was_given() -> None:
    probs, clock = np.array([1.0], np.float32), {"encode_ms": 1.5}
    result = Classification(["dog"], probs, np.array([3], np.int64), probs, clock)
    probs[0], clock["postprocess"] = 0.5, 9.0  # the caller's own are not frozen
    assert result.speed == {"encode_ms": 1.5}
    assert result.logits.dtype == np.float32


# --- one line, and one item a row --------------------------------------------------------------


def test_an_object_without_a_name_says_so() -> None:
    assert repr(nameless()).startswith("NamedMasks(3 masks: 3 nameless;")


def test_beside_a_label_stands_how_sure_the_label_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an object its score; of everything, whose scores rank masks, how well the label fits."""
    assert repr(instances()).startswith("Instances(3 objects: dog 0.50, grass 0.40, dog 0.25;")
    assert repr(named_masks()).startswith("NamedMasks(3 masks: dog 0.90, grass 0.80, 1 nameless;")
    drawn: list[list[str]] = []
    monkeypatch.setattr(
        "samclip_sdk.results.scored_masks.draw_overlay",
        lambda pixels, *, masks, captions: drawn.append(captions) or pixels,
    )
    one_mask = dataclasses.replace(instances()[:1], predicted_ious=instances().scores[:1])
    for result in (one_mask, named_masks()):
        result.plot(np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    assert drawn == [["dog 0.50"], ["dog 0.90", "grass 0.80", ""]]


@pytest.mark.parametrize("make", ALL)
def test_rows_are_items_and_some_rows_are_a_result(make: Any, tmp_path: Path) -> None:
    result = make()
    count = len(result)
    rows = [vars(each) for each in result]
    assert len(rows) == count
    for index in (0, -1, count - 1, -count, np.int64(1)):
        np.testing.assert_equal(vars(result[index]), rows[index])
    for index in (count, -count - 1):
        with pytest.raises(IndexError):
            result[index]
    for part in (slice(1, None), slice(None, None, -1), slice(5, 9)):
        some = result[part]
        assert type(some) is type(result)
        np.testing.assert_equal([vars(each) for each in some], rows[part])
    flags = np.arange(count) > 0
    for chosen in (flags, flags.tolist(), np.flatnonzero(flags), [*range(1, count)]):
        np.testing.assert_equal([vars(each) for each in result[chosen]], rows[1:])
    assert len(result[[]]) == len(result[np.zeros(count, bool)]) == 0
    with pytest.raises(IndexError, match="boolean"):
        result[np.ones(count + 1, bool)]
    result[flags].save(tmp_path / "some.png", image=IMAGE)
    np.testing.assert_equal([vars(each) for each in reversed(result)], rows[::-1])


def test_rows_by_their_label() -> None:
    assert [each.score for each in instances()["dog"]] == pytest.approx([0.5, 0.25])
    assert len(instances()["horse"]) == 0  # whether it was asked, objects do not tell
    assert text_masks()["dog"].xyxy.tolist() == [[30, 10, 50, 20]]
    assert len(text_masks()["cat"]) == 0
    assert classification()["cat"].logits.tolist() == [2.0]
    with pytest.raises((TypeError, IndexError)):
        masks()["dog"]


def test_a_label_that_was_not_asked_is_told_with_those_that_were() -> None:
    found, ranked = text_masks(), classification()
    for ask, asked in (
        (lambda: found["horse"], "cat, dog, sofa, grass"),
        (lambda: found.mask("horse"), "cat, dog, sofa, grass"),
        (lambda: ranked["horse"], "dog, größe, cat"),
    ):
        refused(ask, UnaskedLabelError, "'horse'", asked)
    with pytest.raises(KeyError, match="'horse'"):
        found["horse"]


def test_the_best_mask_of_each_prompt() -> None:
    best = masks().best()
    assert isinstance(best, Masks)
    assert best.scores.tolist() == pytest.approx([0.9, 0.8])
    assert best.prompt_index.tolist() == [0, 1]


def test_items() -> None:
    second, (dog, grass) = masks()[1], text_masks()
    assert (second.score, second.prompt_index, second.area) == (pytest.approx(0.8), 1, 35 * 55)
    assert second.box.tolist() == [5, 5, 60, 40]
    assert second.low_res_mask.shape == (16, 16)
    assert sorted(map(tuple, second.polygon().tolist())) == [(5, 5), (5, 40), (60, 5), (60, 40)]
    assert (dog.label, dog.presence, dog.score) == ("dog", pytest.approx(0.9), pytest.approx(0.8))
    assert grass.box.tolist() == [0, 30, 80, 60]
    assert grass.points.tolist() == [[10, 35], [70, 50]]
    item = instances()[0]
    assert (item.label, item.area, item.box.tolist()) == ("dog", 200, [30, 10, 50, 20])
    said = (item.score, item.label_score, item.predicted_iou, item.stability_score)
    assert said == pytest.approx((0.5, 0.9, 0.8, 0.7))
    assert instances().areas.tolist() == [200, 2400, 6]
    assert [label in text_masks() for label in ("dog", "cat", "horse")] == [True, False, False]
    assert [label in instances() for label in ("dog", "cat")] == [True, False]


# --- the image -------------------------------------------------------------------------------


@pytest.mark.parametrize("make", ALL)
def test_a_result_is_drawn_over_what_it_was_made_from(make: Any, tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    Image.fromarray(IMAGE).save(path)
    drawn = make().plot(IMAGE)
    for image in (str(path), path.read_bytes(), IMAGE, Image.fromarray(IMAGE)):
        result = dataclasses.replace(make(), origin=image)
        np.testing.assert_array_equal(result.plot(), drawn)
        for kind in ("jpeg", "webp"):
            result.save(tmp_path / f"a.{kind}")
            with Image.open(tmp_path / f"a.{kind}") as saved:
                assert (saved.format, saved.size) == (kind.upper(), drawn.shape[1::-1])
        result.save(tmp_path / "a.png")
        with Image.open(tmp_path / "a.png") as saved:
            np.testing.assert_array_equal(np.array(saved), drawn)
        with Image.open(io.BytesIO(result._repr_png_())) as shown:
            np.testing.assert_array_equal(np.array(shown), drawn)
        other = IMAGE // 2
        np.testing.assert_array_equal(result.plot(other), make().plot(other))


def test_of_an_image_only_its_path_is_pickled() -> None:
    """Pixels would be larger than the answer; other copies are of the same process."""
    with_path = dataclasses.replace(masks(), origin="/somewhere/a.jpg")
    with_pixels = dataclasses.replace(masks(), origin=IMAGE)
    for travel in TRAVELS:
        assert travel(with_path).origin == "/somewhere/a.jpg"
    for image in (IMAGE, Image.fromarray(IMAGE), b"the content of a file"):
        travelled = pickle.loads(pickle.dumps(dataclasses.replace(masks(), origin=image)))
        assert travelled.origin is None
    assert copy.copy(with_pixels).origin is IMAGE
    assert copy.deepcopy(with_pixels).origin is IMAGE


@pytest.mark.parametrize("make", ALL)
def test_without_an_image_the_way_out_is_named(make: Any, tmp_path: Path) -> None:
    for draw in (make().plot, make().show, partial(make().save, tmp_path / "a.png")):
        refused(draw, ImageError, "image=")
    assert list(tmp_path.iterdir()) == []
    assert make()._repr_png_() is None
    gone = dataclasses.replace(make(), origin=str(tmp_path / "gone.jpg"))
    refused(gone.plot, ImageError, "gone.jpg")
    assert gone._repr_png_() is None


@pytest.mark.parametrize("there_is_one", [True, False])
def test_show_opens_a_viewer_or_says_that_there_is_none(
    monkeypatch: pytest.MonkeyPatch, there_is_one: bool
) -> None:
    shown: list[Image.Image] = []
    monkeypatch.setattr(ImageShow, "show", lambda image: shown.append(image) or there_is_one)
    if there_is_one:
        masks().show(IMAGE)
    else:
        refused(lambda: masks().show(IMAGE), ImageError, "save()")
    np.testing.assert_array_equal(np.array(shown[0]), masks().plot(IMAGE))


def test_a_notebook_gets_an_image_of_its_own_size() -> None:
    image = np.zeros((1500, 2000, 3), dtype=np.uint8)
    shown = dataclasses.replace(classification(), origin=image)._repr_png_()
    assert shown is not None
    with Image.open(io.BytesIO(shown)) as drawn:
        assert drawn.size == (1280, 960)


# --- text masks --------------------------------------------------------------------------------


def test_absent_labels_stand_apart() -> None:
    result = text_masks()
    assert len(result) == len(result.masks) == 2
    assert result.asked.labels == ("cat", "dog", "sofa", "grass")
    assert result.absent == pytest.approx({"cat": 0.1, "sofa": 0.2})
    assert result.masks.sum(axis=(1, 2)).tolist() == [200, 2400]
    np.testing.assert_array_equal(result.mask("dog"), result.masks[0])
    assert result.mask("cat").shape == (HEIGHT, WIDTH)
    assert not result.mask("cat").any()


# --- ways out ----------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [masks, text_masks, instances])
def test_plot_refuses_another_image(make: Any) -> None:
    refused(lambda: make().plot(IMAGE.transpose(1, 0, 2)), ImageError, "80 x 60", "60 x 80")


def test_json_is_coco() -> None:
    """With what each kind of result tells of its own."""
    said, texts, things = (json.loads(each().to_json()) for each in (masks, text_masks, instances))
    (image,) = said["images"]
    assert (image["height"], image["width"], said["speed"]) == (HEIGHT, WIDTH, {"decode_ms": 2.0})
    first, second, empty = said["annotations"]
    assert (first["bbox"], first["area"], first["prompt_index"]) == ([30, 10, 20, 10], 200, 0)
    assert first["score"] == pytest.approx(0.9)
    assert empty["area"] == 0
    np.testing.assert_array_equal(rle_to_mask(second["segmentation"]), masks().masks[1])
    assert texts["labels"] == ["cat", "dog", "sofa", "grass"]
    assert texts["presence"] == pytest.approx([0.1, 0.9, 0.2, 0.7])
    dog, grass = texts["annotations"]
    assert (dog["label"], dog["points"]) == ("dog", [[40.0, 15.0]])
    assert (grass["label"], len(grass["points"])) == ("grass", 2)
    np.testing.assert_array_equal(rle_to_mask(dog["segmentation"]), text_masks().mask("dog"))
    dog, grass, _ = things["annotations"]
    scores = [dog[name] for name in ("score", "label_score", "predicted_iou", "stability_score")]
    assert scores == pytest.approx([0.5, 0.9, 0.8, 0.7])
    np.testing.assert_array_equal(rle_to_mask(grass["segmentation"]), instances().masks[1])
    assert json.loads(nameless().to_json())["annotations"][0]["label"] == ""
    ranked = json.loads(classification().to_json())
    assert ranked["labels"] == ["dog", "größe", "cat"]
    assert ranked["logits"] == [1.0, 3.0, 2.0]


@pytest.mark.parametrize("make", ALL)
def test_json_and_npz_files(make: Any, tmp_path: Path) -> None:
    result = make()
    result.save(tmp_path / "a.json")
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == result.to_json()
    result.save(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        for name in arrays.files:
            if hasattr(result, name) and name != "points":
                np.testing.assert_array_equal(arrays[name], getattr(result, name))
        saved = set(arrays.files) - {"points_per_label"}
    own = {name for name, value in vars(result).items() if value is not None}
    own -= {"speed", "origin", "read_as", "asked", "draw_class_map"}
    asked = {"asked_labels", "asked_presence", "score_maps"} if "asked" in vars(result) else set()
    assert saved == own | asked


def test_points_of_an_npz_can_be_told_apart(tmp_path: Path) -> None:
    text_masks().save(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as arrays:
        split = np.split(arrays["points"], np.cumsum(arrays["points_per_label"])[:-1])
    for saved, own in zip(split, text_masks().points, strict=True):
        np.testing.assert_array_equal(saved, own)


@pytest.mark.parametrize(
    ("path", "word"),
    [("a.bmp", ".npz"), (None, "None"), (5, "int"), (b"a.png", "bytes"), ("none/a.png", "folder")],
)
def test_save_says_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: Any, word: str
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(lambda: masks().save(path, image="not looked at"), StorageError, word)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("make", ALL)
def test_without_supervision_the_command_is_named(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    refused(make().to_supervision, RuntimeMissingError, "pip install supervision")
