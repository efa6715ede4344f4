"""Tiles through the verbs, with a model that knows colours, and what a large image takes."""

from __future__ import annotations

import tracemalloc
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from samclip_sdk import ImageEmbedding, ImageError, Instances, SamClip, TextMasks
from samclip_sdk.image.masks import mask_to_rle
from samclip_sdk.runtimes.session import Arrays
from tests.fake_session import FakeSession
from tests.fake_source import FakeSource, fake_client, sample_image
from tests.refusals import refused

LABELS = ["zebra", "dog", "cat"]
RED, GREEN = (220, 0, 0), (0, 220, 0)


class SeesColours(FakeSource):
    """Of 4 x 4 patches, a red one is a dog, and a green one a cat: of most of its pixels."""

    def session(self, graph: str) -> FakeSession:
        if graph != "image_encoder@64":
            return super().session(graph)
        self.sessions[graph] = FakeSession(self._specs[graph], answer=self._encode)
        return self.sessions[graph]

    def _encode(self, feed: Arrays) -> Arrays:
        tokens = np.zeros(self._specs["image_encoder@64"].outputs[0].shape, np.float32)
        mean = feed["image"].reshape(3, 4, 16, 4, 16).mean(axis=(2, 4))
        tokens[0, :3] = mean
        return {"image_tokens": tokens}

    def _clip_head(self, feed: Arrays) -> Arrays:
        red, green, blue = feed["image_tokens"][0, :3]
        patches = np.tile(self.vector("nothing at all"), (*red.shape, 1))
        patches[(red > 140) & (green < 110) & (blue < 110)] = self.vector("dog")
        patches[(green > 140) & (red < 110) & (blue < 110)] = self.vector("cat")
        return {**super()._clip_head(feed), "patch_embeddings": patches.reshape(1, -1, 256)}


def paint(*things: tuple[tuple[int, int, int, int], tuple[int, int, int]]) -> np.ndarray:
    """A blue image of 400 x 400 with boxes XYXY in colours."""
    image = np.full((400, 400, 3), (0, 0, 120), dtype=np.uint8)
    for (x0, y0, x1, y1), colour in things:
        image[y0:y1, x0:x1] = colour
    return image


@pytest.fixture
def model(tmp_path: Path) -> SamClip:
    return SamClip(SeesColours(tmp_path))


SMALL = paint(((20, 30, 60, 70), RED), ((330, 330, 380, 380), GREEN))
AT_THE_SEAM = paint(((150, 20, 250, 60), RED))
LARGE = paint(((0, 100, 400, 300), RED))


def test_small_things_are_found_in_tiles(model: SamClip) -> None:
    plain = model.segment_text(SMALL, LABELS)
    assert plain.labels == ()
    found = model.segment_text(SMALL, LABELS, tiles=(4, 4))
    assert isinstance(found, TextMasks)
    assert found.labels == ("dog", "cat")
    assert found.mask("dog")[40:54, 40:54].all()
    assert not found.mask("dog")[:, 120:].any()
    assert found.class_map[50, 40] == 1
    assert found.class_map[355, 355] == 2
    assert (found.class_map[found.mask("dog")] == 1).all()
    np.testing.assert_array_equal(found.asked.score_maps, plain.asked.score_maps)
    assert (found.asked.presence >= plain.asked.presence).all()
    points = found.points[1]
    assert ((points > 300) & (points < 400)).all()
    assert 0 < found.scores[0] < 1
    objects = model.segment_instances(SMALL, LABELS, tiles=(4, 4))
    assert isinstance(objects, Instances)
    assert sorted(objects.labels) == ["cat", "dog"]
    assert objects.scores == pytest.approx(
        objects.label_scores * objects.predicted_ious * objects.stability_scores
    )


def test_an_object_at_a_seam_is_one(model: SamClip) -> None:
    found = model.segment_instances(AT_THE_SEAM, ["dog"], tiles=(4, 4))
    (dog,) = found
    assert dog.mask[40:54, 165:235].all()
    assert not dog.mask[:, :110].any()
    label = model.segment_text(AT_THE_SEAM, ["dog"], tiles=(4, 4))
    assert label.mask("dog")[40:54, 165:235].all()


def test_a_stream_looks_into_tiles_and_keeps_ids(model: SamClip) -> None:
    plain, *_ = model.stream([SMALL], LABELS)
    assert len(plain) == 0
    frames = list(model.stream([SMALL] * 3, LABELS, tiles=(4, 4)))
    expected = model.segment_instances(SMALL, LABELS, tiles=(4, 4))
    for found in frames:
        assert found.labels == expected.labels
        np.testing.assert_array_equal(found.masks, expected.masks)
        assert found.ids.tolist() == frames[0].ids.tolist() == [1, 2]


def test_what_fills_several_tiles_is_as_the_whole_image_shows_it(model: SamClip) -> None:
    plain = model.segment_instances(LARGE, ["dog"])
    tiled = model.segment_instances(LARGE, ["dog"], tiles=(2, 3))
    assert len(plain) == len(tiled) == 1
    np.testing.assert_array_equal(tiled.masks[0], plain.masks[0])
    assert tiled.scores[0] == plain.scores[0]


def test_a_label_is_answered_as_if_alone(model: SamClip) -> None:
    for verb in (model.segment_text, model.segment_instances):
        alone: Any = verb(SMALL, ["dog"], tiles=(4, 4))
        beside: Any = verb(SMALL, LABELS, tiles=(4, 4))
        row = list(beside.labels).index("dog")
        np.testing.assert_array_equal(beside.masks[row], alone.masks[0])
        assert beside.scores[row] == alone.scores[0]


def test_many_images_and_embeddings_are_answered_alike(model: SamClip, tmp_path: Path) -> None:
    path = tmp_path / "small.png"
    Image.fromarray(SMALL).save(path)
    expected = model.segment_text(SMALL, LABELS, tiles=250)
    embedding, prepared = model.encode_image(path), model.prepare_image(path)
    several = model.segment_text([path, embedding, prepared, SMALL], LABELS, tiles=250)
    assert len(several) == 4
    for found in (*several, *model.segment_text(iter([path]), LABELS, tiles=250)):
        np.testing.assert_array_equal(found.class_map, expected.class_map)
        np.testing.assert_array_equal(found.presence, expected.presence)
    # An embedding saves the backbone pass of the whole image.
    assert "load_image" in several[1].speed


def test_an_embedding_that_does_not_know_its_image(model: SamClip, tmp_path: Path) -> None:
    path = tmp_path / "small.png"
    Image.fromarray(SMALL).save(path)
    embedding = model.encode_image(path)
    embedding.save(tmp_path / "small.npz")
    loaded = ImageEmbedding.load(tmp_path / "small.npz")
    Image.fromarray(SMALL[:200]).save(path)
    for image, word in ((loaded, "image itself"), (embedding, "400 x 200")):
        ask = partial(model.segment_text, image, "dog", tiles=(2, 2))
        refused(ask, ImageError, word)


def test_everything_in_tiles(tmp_path: Path) -> None:
    model, source = fake_client(tmp_path)
    asked: dict[str, Any] = {"points_per_side": 4, "pred_iou_thresh": 0.75}
    asked |= {"stability_score_thresh": 0.5, "box_nms_thresh": 0.1}
    plain = model.segment_everything(sample_image(100, 100), **asked)
    found = model.segment_everything(sample_image(100, 100), LABELS, tiles=(2, 2), **asked)
    assert source.runs("image_encoder@64") == 1 + 5
    assert len(found) > len(plain)
    assert (np.diff(found.scores) <= 0).all()
    # A disc of a tile is smaller than one of the whole image, and stays in its place.
    assert found.areas.min() < plain.areas.min()
    assert found.masks.shape == (len(found), 100, 100)


def test_12000_x_8000_pixels_in_bounded_memory(model: SamClip) -> None:
    """96 megapixels: an array of each mask would be 96 MB, and there are 6 objects."""
    image = np.zeros((8000, 12_000, 3), dtype=np.uint8)
    corners = [(y, x) for y in (1000, 5000) for x in (1000, 5000, 9000)]
    for y, x in corners:
        image[y : y + 2000, x : x + 2000, 0] = 220
    tracemalloc.start()
    found = model.segment_instances(image, LABELS, tiles=(3, 4), max_instances=100)
    kept, peak = tracemalloc.get_traced_memory()
    assert set(found.labels) == {"dog"}
    for y, x in corners:
        assert any(
            y < each[1::2].mean() < y + 2000 and x < each[::2].mean() < x + 2000
            for each in found.boxes
        )
    assert found.masks.nbytes < kept < 5e6
    # Beside the image's three colours, for Pillow, only a tile's logits.
    assert peak < 3 * 96e6 + 5e6
    tracemalloc.reset_peak()
    total = sum(item["area"] for item in found.to_dict()["annotations"])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert total == found.areas.sum()
    assert peak < 96e6
    first = found.masks.packed[0].to_rle(found.size)
    assert first == mask_to_rle(found.masks[0])
