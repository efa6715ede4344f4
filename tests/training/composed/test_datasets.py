from __future__ import annotations

import torch
from torch.utils.data import Dataset

from training.batches import PATCH_PX, Batch
from training.composed.corpus import Corpus
from training.composed.datasets import PictureBatches, SceneBatches
from training.data_config import Pictures, Scenes

PICTURES = Pictures(resolutions=(48, 64), pixels_per_batch=4 * 64 * 64)
SCENES = Scenes(resolution=64, batch=2, prompts=3, random_regions=2)


def equal(one: Batch, other: Batch) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_a_batch_depends_on_seed_and_index_only(corpus: Corpus) -> None:
    def pictures(seed: int) -> Dataset[Batch]:
        return PictureBatches(corpus, PICTURES, num_nouns=8, seed=seed)

    def scenes(seed: int) -> Dataset[Batch]:
        return SceneBatches(corpus, SCENES, seed=seed)

    for make in (pictures, scenes):
        dataset = make(0)
        read_before = [dataset[index] for index in range(3)]
        assert equal(make(0)[2], read_before[2])
        assert not equal(read_before[1], read_before[2])
        assert not equal(make(1)[2], read_before[2])


def test_pictures_have_the_shapes_they_say(corpus: Corpus) -> None:
    dataset = PictureBatches(corpus, PICTURES, num_nouns=8, seed=0)
    sizes = set()
    for index in range(4):
        batch = dataset[index]
        count, channels, height, width = batch["images"].shape
        assert batch["images"].dtype == torch.uint8
        assert channels == 3
        assert height == width
        assert count == PICTURES.size(height)
        assert batch["token_mask"].shape == (count, height // PATCH_PX, height // PATCH_PX)
        assert batch["nouns"].shape == (count, 8)
        sizes.add(height)
    assert sizes == {48, 64}


def test_scenes_have_the_shapes_they_say(corpus: Corpus) -> None:
    batch = SceneBatches(corpus, SCENES, seed=0)[0]
    shapes = {name: tuple(tensor.shape) for name, tensor in batch.items()}
    assert shapes == {
        "images": (2, 3, 64, 64),
        "token_mask": (2, 4, 4),
        "point_coords": (6, 5, 2),
        "point_labels": (6, 5),
        "targets": (6, 16, 16),
        "regions": (2 * (3 + 2), 4),
    }
    # Every prompt is for something that is in sight.
    assert (batch["targets"].flatten(1).amax(dim=1) > 0).all()
