from __future__ import annotations

from tests.training.equal_batches import check_reproducible
from training.composed.corpus import Corpus
from training.composed.datasets import ImageBatches, SceneBatches
from training.data_config import Images, Scenes

IMAGES = Images(resolutions=(48, 64), pixels_per_batch=4 * 64 * 64)
SCENES = Scenes(resolution=64, batch=2, prompts=3, random_regions=2)


def test_a_batch_depends_on_seed_and_index_only(corpus: Corpus) -> None:
    check_reproducible(lambda seed: ImageBatches(corpus, IMAGES, num_nouns=8, seed=seed), index=2)
    check_reproducible(lambda seed: SceneBatches(corpus, SCENES, seed=seed), index=2)


def test_every_prompt_is_for_something_that_is_in_sight(corpus: Corpus) -> None:
    batch = SceneBatches(corpus, SCENES, seed=0)[0]
    assert (batch["targets"].flatten(1).amax(dim=1) > 0).all()
    assert batch["regions"].shape == (2 * (3 + 2), 4), "those of prompts, and random ones"
