"""Batches composed on the fly: batch i depends on the seed and i alone, so a resume is exact."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from torch.utils.data import Dataset

from samclip_sdk.bundle.manifest import PAD_COLOUR
from training.batches import PATCH_PX, Batch, stack_images
from training.composed.corpus import CORPUS, Corpus, load_corpus
from training.composed.prompts import Prompts, sample_prompts, sample_regions
from training.composed.scenes import Scene, compose_scene
from training.composed.vocabulary import tiny_vocabulary
from training.data_config import Images, Scenes

_PAD_SHARE = 0.25
_NONE, _FEW = 0.08, 0.22  # shares of images without an object, and with two or three


class ImageBatches(Dataset[Batch]):
    """D_CLIP: `images` uint8 [B,3,S,S], `token_mask` [B,g,g], `nouns` bool [B,N] (what is seen).

    Only the CLIP teacher's own training looks at `nouns`.
    """

    def __init__(self, corpus: Corpus, config: Images, *, num_nouns: int, seed: int) -> None:
        self.corpus = corpus
        self.config = config
        self.num_nouns = num_nouns
        self.seed = seed

    def __getitem__(self, index: int) -> Batch:
        rng = np.random.default_rng([self.seed, 1, index])
        resolution = int(rng.choice(self.config.resolutions))
        images = [self._image(rng, resolution) for _ in range(self.config.size(resolution))]
        padded = [pad_randomly(scene, rng) for scene in images]
        nouns = torch.zeros(len(images), self.num_nouns, dtype=torch.bool)
        for row, scene in enumerate(images):
            nouns[row, scene.labels] = True
        return {
            "images": stack_images([scene.image for scene, _ in padded]),
            "token_mask": torch.from_numpy(np.stack([mask for _, mask in padded])),
            "nouns": nouns,
        }

    def _image(self, rng: np.random.Generator, resolution: int) -> Scene:
        draw = rng.random()
        if draw < _NONE:
            return compose_scene(self.corpus, rng, size_px=resolution, count=(0, 0))
        few = draw < _NONE + _FEW
        plain = not few and draw < _NONE + _FEW + self.config.plain
        return compose_scene(
            self.corpus,
            rng,
            size_px=resolution,
            count=(2, 3) if few else (1, 1),
            scale=(0.35, 0.75) if few else (0.45, 1.0),
            plain=plain,
            hues=True,
        )


class SceneBatches(Dataset[Batch]):
    """D_SAM: scenes with K simulated prompts each and, for the CLIP head, regions.

    `images` uint8 [B,3,S,S]; `token_mask` [B,g,g]; `point_coords` [B*K,P,2]; `point_labels`
    [B*K,P]; `targets` float16 [B*K,S/4,S/4], the share of each cell that the object covers;
    `regions` float [B*R,4], XYXY. Only the SAM teacher's own training looks at `targets`.
    """

    def __init__(self, corpus: Corpus, config: Scenes, *, seed: int) -> None:
        self.corpus = corpus
        self.config = config
        self.seed = seed

    def __getitem__(self, index: int) -> Batch:
        rng = np.random.default_rng([self.seed, 2, index])
        scenes: list[Scene] = []
        masks: list[np.ndarray] = []
        rows: list[tuple[Prompts, np.ndarray]] = []
        while len(scenes) < self.config.batch:
            scene = compose_scene(self.corpus, rng, size_px=self.config.resolution, hues=True)
            scene, token_mask = pad_randomly(scene, rng)
            if not len(scene.masks):
                continue
            prompts = sample_prompts(scene, rng, count=self.config.prompts)
            regions = sample_regions(
                prompts.boxes,
                rng,
                width_px=self.config.resolution,
                height_px=self.config.resolution,
                random_regions=self.config.random_regions,
            )
            scenes.append(scene)
            masks.append(token_mask)
            rows.append((prompts, regions))
        return {
            "images": stack_images([scene.image for scene in scenes]),
            "token_mask": torch.from_numpy(np.stack(masks)),
            "point_coords": torch.from_numpy(np.concatenate([p.coords for p, _ in rows])),
            "point_labels": torch.from_numpy(np.concatenate([p.labels for p, _ in rows])),
            "targets": torch.from_numpy(np.concatenate([p.targets for p, _ in rows])),
            "regions": torch.from_numpy(np.concatenate([r for _, r in rows])),
        }


def pad_randomly(scene: Scene, rng: np.random.Generator) -> tuple[Scene, np.ndarray]:
    """Turns a quarter of the scenes into letterboxed ones: the pad colour at the right or bottom.

    Returns the scene, without the objects that the padding hid, and token_mask [g,g].
    """
    size = scene.image.shape[0]
    grid = size // PATCH_PX
    token_mask = np.ones((grid, grid), np.float32)
    if rng.random() >= _PAD_SHARE:
        return scene, token_mask
    keep = int(size * rng.uniform(0.55, 0.98))
    image, masks = scene.image.copy(), scene.masks.copy()
    below = rng.random() < 0.5
    hidden = np.s_[keep:, :] if below else np.s_[:, keep:]
    image[hidden] = PAD_COLOUR
    masks[:, hidden[0], hidden[1]] = False
    first = -(-keep // PATCH_PX)
    token_mask[np.s_[first:, :] if below else np.s_[:, first:]] = 0
    areas = scene.masks.sum(axis=(1, 2))
    kept = masks.sum(axis=(1, 2)) >= np.maximum(0.5 * areas, 1)
    limits = np.array([size, keep] if below else [keep, size], np.float32)
    boxes = scene.boxes[kept].clip(max=np.tile(limits, 2))
    scene = replace(scene, image=image, masks=masks[kept], labels=scene.labels[kept], boxes=boxes)
    return scene, token_mask


class Composed:
    """Composed images and scenes of the first `count` nouns of the corpus."""

    def __init__(self, count: int) -> None:
        self.nouns = tiny_vocabulary(count)

    @cached_property
    def corpus(self) -> Corpus:
        """The drawings of the training split."""
        return load_corpus(CORPUS, split="train", nouns=[noun.name for noun in self.nouns])

    def images(self, settings: Images, *, seed: int) -> ImageBatches:
        """Returns batches of D_CLIP."""
        return ImageBatches(self.corpus, settings, num_nouns=len(self.nouns), seed=seed)

    def scenes(self, settings: Scenes, *, seed: int) -> SceneBatches:
        """Returns batches of D_SAM."""
        return SceneBatches(self.corpus, settings, seed=seed)
