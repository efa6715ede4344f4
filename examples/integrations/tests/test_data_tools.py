"""FiftyOne's labels, `datasets`' map and supervision's annotators, each with its own package."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import cv2
import datasets
import fiftyone as fo
import numpy as np
import pytest
import supervision
from PIL import Image

from examples.integrations import datasets_map, fiftyone_model, supervision_film
from samclip_sdk import SamClip
from samclip_sdk.image import rle_to_mask

WIDTH, HEIGHT = 288, 384


# --- FiftyOne: no database runs here; labels and samples need none ------------------------------


def whole(detection: fo.Detection) -> np.ndarray:
    """The mask [H,W] of a detection, drawn by FiftyOne."""
    segmentation = detection.to_segmentation(frame_size=(WIDTH, HEIGHT))
    return segmentation.mask > 0


@pytest.fixture(scope="module")
def detector() -> fiftyone_model.SamClipDetector:
    return fiftyone_model.SamClipDetector(["boat", "dog"])


def test_fiftyone_s_model(
    detector: fiftyone_model.SamClipDetector, model: SamClip, dog: Path
) -> None:
    assert isinstance(detector, fo.Model)
    assert detector.media_type == "image"
    with Image.open(dog) as image:
        found = detector.predict(np.asarray(image))
    (detection,) = found.detections
    expected = model.segment_instances(dog, ["dog"])[0]
    assert detection.label == "dog"
    assert detection.confidence == pytest.approx(expected.score)
    np.testing.assert_array_equal(whole(detection), expected.mask)
    sample = fo.Sample(filepath=str(dog), samclip=found)
    assert len(sample["samclip"].detections) == 1
    assert fo.Detections.from_json(found.to_json()).detections[0].label == "dog"


def test_fiftyone_s_grey_images(
    detector: fiftyone_model.SamClipDetector, images: dict[str, Path]
) -> None:
    with Image.open(images["grey"]) as image:
        grey = np.asarray(image)
    flat, deep = (detector.predict(each).detections for each in (grey, grey[..., None]))
    np.testing.assert_array_equal(whole(flat[0]), whole(deep[0]))


def test_other_results_in_fiftyone(model: SamClip, dog: Path) -> None:
    image = model.encode_image(dog)
    labels = model.segment_text(image, ["boat", "dog"])
    assert [each.label for each in fiftyone_model.to_detections(labels).detections] == ["dog"]
    mask = fiftyone_model.to_segmentation(labels).mask
    np.testing.assert_array_equal(mask == 2, labels.class_map == 1)
    assert set(np.unique(mask).tolist()) == {0, 2}
    box = model.segment(image, boxes=[8, 30, 250, 380], multimask_output=False)
    (detection,) = fiftyone_model.to_detections(box).detections
    np.testing.assert_array_equal(whole(detection), box[0].mask)
    pixels = cv2.cvtColor(cv2.imread(str(dog)), cv2.COLOR_BGR2RGB)
    frame = next(iter(model.stream(iter([pixels]), ["dog"])))
    assert [each.index for each in fiftyone_model.to_detections(frame).detections] == [1]


# --- datasets ------------------------------------------------------------------------------------


def test_datasets_map(images: dict[str, Path], model: SamClip) -> None:
    paths = [None, str(images["upright"]), str(images["turned"]), str(images["grey"])]
    dataset = datasets.Dataset.from_dict({"image": paths}).cast_column("image", datasets.Image())
    find = datasets_map.FindObjects(("boat", "dog"))
    found = dataset.map(find, features=find.features(dataset))
    nothing, upright, turned, grey = found["objects"]
    assert nothing == []
    for (each,), name in ((upright, "upright"), (turned, "upright"), (grey, "grey")):
        expected = model.segment_instances(images[name], ["dog"])[0]
        assert each["label"] == "dog"
        assert each["score"] == pytest.approx(expected.score)
        x0, y0, x1, y1 = expected.box.tolist()
        assert each["bbox"] == [x0, y0, x1 - x0, y1 - y0]
        np.testing.assert_array_equal(rle_to_mask(each["segmentation"]), expected.mask)


def test_datasets_map_in_other_processes_and_from_the_cache(images: dict[str, Path]) -> None:
    paths = [str(images["upright"])] * 2
    dataset = datasets.Dataset.from_dict({"image": paths}).cast_column("image", datasets.Image())
    find = datasets_map.FindObjects(("dog",))
    one = dataset.map(find, features=find.features(dataset))
    two = dataset.map(find, features=find.features(dataset), num_proc=2)
    assert one["objects"] == two["objects"]
    same = datasets.fingerprint.Hasher.hash(datasets_map.FindObjects(("dog",)))
    assert datasets.fingerprint.Hasher.hash(find) == same


def test_a_folder_becomes_parquet(
    tmp_path: Path, dog: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "dog.jpg").write_bytes(dog.read_bytes())
    output = tmp_path / "found.parquet"
    arguments = [str(tmp_path / "photos"), "dog", "--output", str(output)]
    monkeypatch.setattr(sys, "argv", ["datasets_map.py", *arguments])
    datasets_map.main()
    assert "1 objects in 1 images" in capsys.readouterr().out
    (row,) = datasets.Dataset.from_parquet(str(output))
    assert row["objects"][0]["label"] == "dog"


# --- supervision ---------------------------------------------------------------------------------


@pytest.fixture
def film(tmp_path: Path, dog: Path) -> Path:
    """Four frames of the dog, which moves to the right."""
    path, pixels = tmp_path / "film.mp4", cv2.imread(str(dog))
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (WIDTH, HEIGHT))
    for step in range(4):
        writer.write(np.roll(pixels, 4 * step, axis=1))
    writer.release()
    return path


def test_a_film_is_drawn_with_ids(
    film: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = film.with_name("out.mp4")
    arguments = [str(film), "dog", "boat", "--output", str(output)]
    monkeypatch.setattr(sys, "argv", ["supervision_film.py", *arguments])
    supervision_film.main()
    said = capsys.readouterr().out
    assert "dog: 1 followed" in said
    assert "boat: 0 followed" in said
    frames: list[Any] = list(supervision.get_video_frames_generator(str(output)))
    plain: list[Any] = list(supervision.get_video_frames_generator(str(film)))
    assert len(frames) == len(plain) == 4
    assert np.abs(frames[3].astype(int) - plain[3]).mean() > 5
