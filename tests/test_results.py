from __future__ import annotations

import dataclasses
import json
import pickle
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from samclip_sdk.errors import ImageError, RuntimeMissingError, StorageError
from samclip_sdk.image import Frame
from samclip_sdk.image_embedding import ImageEmbedding
from samclip_sdk.masks import rle_to_mask
from samclip_sdk.results import Classification, Masks
from samclip_sdk.text_masks import TextMasks

HEIGHT, WIDTH = 60, 80
PICTURE = np.full((HEIGHT, WIDTH, 3), 90, dtype=np.uint8)


def classification() -> Classification:
    logits = np.array([1.0, 3.0, 2.0], dtype=np.float32)
    probs = np.exp(logits) / np.exp(logits).sum()
    return Classification(["dog", "größe", "cat"], probs, logits, {"encode_ms": 1.5})


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
    points = [np.zeros((0, 2), np.float32)] * 4
    points[1], points[3] = np.array([[40.0, 15.0]]), np.array([[10.0, 35.0], [70.0, 50.0]])
    return TextMasks(
        labels=["cat", "dog", "sofa", "grass"],
        presence=np.array([0.1, 0.9, 0.2, 0.7], dtype=np.float32),
        scores=np.array([0, 0.8, 0, 0.6], dtype=np.float32),
        score_maps=np.zeros((4, 8, 8), dtype=np.float32),
        points=points,
        present_index=np.array([1, 3]),
        present_masks=planes,
        class_map=class_map,
    )


ALL = [classification, masks, text_masks]


# --- shapes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "name", "value", "said"),
    [
        (classification, "probs", np.zeros(2, np.float32), r"float32 \[3\], not float32 \[2\]"),
        (classification, "logits", np.array(["a", "b", "c"]), r"logits must be float32"),
        (masks, "masks", np.zeros((3, 60, 80)), r"masks must be bool \[any, any, any\]"),
        (masks, "masks", np.zeros((60, 80), bool), r"not bool \[60, 80\]"),
        (masks, "scores", np.zeros(2, np.float32), r"Masks.scores must be float32 \[3\]"),
        (masks, "boxes", np.zeros((3, 2, 2), np.float32), r"boxes must be float32 \[3, 4\]"),
        (masks, "prompt_index", np.zeros(3), "prompt_index must be int32"),
        (text_masks, "presence", np.zeros(5, np.float32), r"float32 \[4\], not float32 \[5\]"),
        (text_masks, "present_masks", np.zeros((2, 80, 60), bool), r"bool \[2, 60, 80\]"),
        (text_masks, "present_index", np.array([3, 1]), r"must ascend within 0\.\.3"),
        (text_masks, "present_index", np.array([1, 4]), r"must ascend within 0\.\.3"),
        (text_masks, "points", [np.zeros((0, 2))] * 3, r"must be 4 arrays \[n, 2\]"),
        (text_masks, "class_map", np.zeros((60, 80)), "class_map must be int16"),
    ],
)
def test_a_wrong_array_is_named(make: Any, name: str, value: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        dataclasses.replace(make(), **{name: value})


@pytest.mark.parametrize("make", ALL)
def test_results_are_immutable_and_travel_between_processes(make: Any) -> None:
    result = make()
    for each in dataclasses.fields(result):
        value = getattr(result, each.name)
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(result, each.name, value)
        if isinstance(value, np.ndarray):
            assert not value.flags.writeable
    copy = pickle.loads(pickle.dumps(result))
    assert copy.speed == result.speed


def test_a_result_does_not_freeze_the_callers_array() -> None:
    probs = np.array([1.0], dtype=np.float32)
    Classification(["dog"], probs, probs)
    probs[0] = 0.5


def test_other_widths_are_converted() -> None:
    result = Classification(["dog"], np.array([1.0]), np.array([3], dtype=np.int64))
    assert (result.probs.dtype, result.logits.dtype) == (np.float32, np.float32)


# --- text masks --------------------------------------------------------------------------------


def test_absent_labels_have_empty_masks() -> None:
    result = text_masks()
    assert len(result) == len(result.masks) == 4
    assert result.present == ("dog", "grass")
    assert [int(mask.sum()) for mask in result.masks] == [0, 200, 0, 2400]
    np.testing.assert_array_equal(result.mask("dog"), result.present_masks[0])
    assert result.mask("cat").shape == (HEIGHT, WIDTH)
    assert np.stack(result.masks).shape == (4, HEIGHT, WIDTH)
    with pytest.raises(KeyError, match="horse"):
        result.mask("horse")


def test_150_labels_on_12_megapixels_cost_what_is_present() -> None:
    size = (3000, 4000)
    present, class_map = np.zeros((3, *size), dtype=bool), np.full(size, -1, dtype=np.int16)
    tracemalloc.start()
    result = TextMasks(
        labels=[f"label {i}" for i in range(150)],
        presence=np.zeros(150, np.float32),
        scores=np.zeros(150, np.float32),
        score_maps=np.zeros((150, 28, 28), np.float32),
        points=[np.zeros((0, 2), np.float32)] * 150,
        present_index=np.array([3, 70, 149]),
        present_masks=present,
        class_map=class_map,
    )
    assert len(result.masks) == 150
    assert sum(mask.any() for mask in result.masks[:20]) == 0
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20e6
    stored = [getattr(result, each.name) for each in dataclasses.fields(result)]
    assert sum(each.nbytes for each in stored if isinstance(each, np.ndarray)) < 65e6


def test_nothing_present(tmp_path: Path) -> None:
    result = dataclasses.replace(
        text_masks(),
        present_index=np.zeros(0, np.int32),
        present_masks=np.zeros((0, HEIGHT, WIDTH), bool),
    )
    assert result.present == ()
    assert result.to_dict()["annotations"] == []
    np.testing.assert_array_equal(result.plot(PICTURE), PICTURE)
    result.save(tmp_path / "a.npz")


# --- ways out ----------------------------------------------------------------------------------


def test_top() -> None:
    assert [label for label, _ in classification().top(2)] == ["größe", "cat"]
    assert len(classification().top()) == 3


@pytest.mark.parametrize("make", ALL)
def test_plot(make: Any, tmp_path: Path) -> None:
    drawn = make().plot(PICTURE)
    assert drawn.dtype == np.uint8
    assert drawn.shape == PICTURE.shape
    assert (drawn != PICTURE).any()
    make().save(tmp_path / "a.PNG", image=PICTURE)
    with Image.open(tmp_path / "a.PNG") as saved:
        np.testing.assert_array_equal(np.array(saved), drawn)


@pytest.mark.parametrize("make", [masks, text_masks])
def test_plot_refuses_another_image(make: Any) -> None:
    with pytest.raises(ImageError, match="of 80 x 60 pixels, this one has 60 x 80"):
        make().plot(PICTURE.transpose(1, 0, 2))


def test_json_of_masks_is_coco() -> None:
    said = json.loads(masks().to_json())
    assert said["size"] == [HEIGHT, WIDTH]
    assert said["speed"] == {"decode_ms": 2.0}
    first, second, empty = said["annotations"]
    assert (first["bbox"], first["area"], first["prompt_index"]) == ([30, 10, 20, 10], 200, 0)
    assert first["score"] == pytest.approx(0.9)
    assert empty["area"] == 0
    np.testing.assert_array_equal(rle_to_mask(second["segmentation"]), masks().masks[1])


def test_json_of_text_masks_tells_every_label_and_outlines_the_present() -> None:
    said = json.loads(text_masks().to_json())
    assert said["labels"] == ["cat", "dog", "sofa", "grass"]
    assert said["presence"] == pytest.approx([0.1, 0.9, 0.2, 0.7])
    dog, grass = said["annotations"]
    assert (dog["label"], dog["points"]) == ("dog", [[40.0, 15.0]])
    assert (grass["label"], len(grass["points"])) == ("grass", 2)
    np.testing.assert_array_equal(rle_to_mask(dog["segmentation"]), text_masks().mask("dog"))


def test_json_of_a_classification() -> None:
    said = json.loads(classification().to_json())
    assert said["labels"] == ["dog", "größe", "cat"]
    assert said["logits"] == [1.0, 3.0, 2.0]


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
    assert saved == {each.name for each in dataclasses.fields(result)} - {"speed", "picture"}


def test_points_of_an_npz_can_be_told_apart(tmp_path: Path) -> None:
    text_masks().save(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as arrays:
        split = np.split(arrays["points"], np.cumsum(arrays["points_per_label"])[:-1])
    for saved, own in zip(split, text_masks().points, strict=True):
        np.testing.assert_array_equal(saved, own)


@pytest.mark.parametrize("make", ALL)
@pytest.mark.parametrize("suffix", [".png", ".json", ".npz"])
def test_a_full_disk_leaves_nothing(
    make: Any, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(StorageError, match="No space left on device"):
        make().save(tmp_path / f"a{suffix}", image=PICTURE)
    assert list(tmp_path.iterdir()) == []


def test_save_says_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"must end in \.png, \.json or \.npz"):
        masks().save(tmp_path / "a.bmp")
    with pytest.raises(ImageError, match="give image="):
        masks().save(tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_supervision() -> None:
    detections = masks().to_supervision()
    assert len(detections) == 3
    assert detections.data["prompt_index"].tolist() == [0, 1, 1]
    detections = text_masks().to_supervision()
    assert detections.xyxy.tolist() == [[30, 10, 50, 20], [0, 30, 80, 60]]
    assert detections.class_id.tolist() == [1, 3]
    assert detections.data["class_name"].tolist() == ["dog", "grass"]
    assert classification().to_supervision().class_id.tolist() == [1, 2, 0]


@pytest.mark.parametrize("make", ALL)
def test_without_supervision_the_command_is_named(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(RuntimeMissingError, match="pip install supervision"):
        make().to_supervision()
