"""Prompt encoder and mask decoder against SamPredictor's low-res logits, at SAM's own widths."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
import torch
from segment_anything import SamPredictor
from torch import Tensor

from samclip_sdk.modeling.build import SamClipModel
from tests.parity.reference import (
    build_clip,
    build_sam,
    convert,
    predictor_with,
    relative_error,
    small_config,
)

BOUND = 1e-4
CONFIG = small_config(image_size_px=1024)  # the decoder has SAM's widths, on a 64 x 64 grid
SIDE = 256  # of low-res masks and mask prompts


class Prompt(NamedTuple):
    """What SamPredictor is asked; points are (x, y)."""

    points: tuple[tuple[float, float], ...] = ()
    labels: tuple[int, ...] = ()
    box: tuple[float, float, float, float] | None = None
    mask_seed: int | None = None

    @property
    def mask(self) -> np.ndarray | None:
        if self.mask_seed is None:
            return None
        noise = np.random.default_rng(self.mask_seed).normal(size=(1, SIDE, SIDE))
        return (8 * noise).astype(np.float32)


ONE_POINT = Prompt(((200.0, 640.5),), (1,))
POINTS = Prompt(((100.0, 900.0), (512.25, 3.0), (1023.0, 480.0)), (1, 0, 1))
BOX = Prompt(box=(120.0, 40.0, 700.5, 333.0))
PROMPTS = {
    "one point": ONE_POINT,
    "points": POINTS,
    "box": BOX,
    "mask": Prompt(mask_seed=1),
    "points and box": POINTS._replace(box=BOX.box),
    "points and mask": POINTS._replace(mask_seed=2),
    "box and mask": BOX._replace(mask_seed=3),
    "points, box and mask": POINTS._replace(box=BOX.box, mask_seed=4),
}


def inputs(prompts: list[Prompt], *, slots: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The prompt encoder's inputs for K prompts in `slots` slots: SAM's order, filler behind."""
    coords = torch.full((len(prompts), slots, 2), 77.0)
    labels = torch.full((len(prompts), slots), -2, dtype=torch.int32)
    masks = torch.full((len(prompts), 1, SIDE, SIDE), torch.inf)
    has_mask = torch.zeros(len(prompts))
    for row, prompt in enumerate(prompts):
        points, kinds = list(prompt.points), list(prompt.labels)
        if prompt.box is not None:
            points += [prompt.box[:2], prompt.box[2:]]
            kinds += [2, 3]
        elif points:
            points.append((0.0, 0.0))
            kinds.append(-1)
        if points:
            coords[row, : len(points)] = torch.tensor(points)
            labels[row, : len(kinds)] = torch.tensor(kinds, dtype=torch.int32)
        if prompt.mask is not None:
            masks[row] = torch.from_numpy(prompt.mask)
            has_mask[row] = 1
    return coords, labels, masks, has_mask


@torch.no_grad()
def decode(
    model: SamClipModel, features: Tensor, feed: tuple[Tensor, ...]
) -> tuple[Tensor, Tensor]:
    return model.mask_decoder(features, *model.prompt_encoder(*feed))


@torch.no_grad()
def ask(predictor: SamPredictor, prompt: Prompt) -> tuple[Tensor, Tensor]:
    """SamPredictor's four low-res masks and scores: the single one, then the three."""
    answers = [
        predictor.predict(
            point_coords=np.array(prompt.points) if prompt.points else None,
            point_labels=np.array(prompt.labels) if prompt.points else None,
            box=None if prompt.box is None else np.array(prompt.box),
            mask_input=prompt.mask,
            multimask_output=multimask,
        )
        for multimask in (False, True)
    ]
    return (
        torch.from_numpy(np.concatenate([low_res for _, _, low_res in answers])),
        torch.from_numpy(np.concatenate([scores for _, scores, _ in answers])),
    )


class Setup(NamedTuple):
    model: SamClipModel
    features: Tensor
    expected: dict[str, tuple[Tensor, Tensor]]


@pytest.fixture(scope="module")
def setup() -> Setup:
    sam = build_sam(CONFIG, seed=1)
    features = torch.randn(1, 256, 64, 64, generator=torch.Generator().manual_seed(5))
    predictor = predictor_with(sam, features)
    return Setup(
        model=convert(CONFIG, sam=sam, clip=build_clip(CONFIG, seed=2)),
        features=features,
        expected={name: ask(predictor, prompt) for name, prompt in PROMPTS.items()},
    )


def error(actual: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> float:
    return max(relative_error(a, e) for a, e in zip(actual, expected, strict=True))


@pytest.mark.parametrize("slots", [5, 16])
def test_a_batch_of_all_kinds(setup: Setup, slots: int) -> None:
    # Eight prompts of different kinds and lengths at once; filler evens them out.
    feed = inputs(list(PROMPTS.values()), slots=slots)
    masks, scores = decode(setup.model, setup.features, feed)
    for row, name in enumerate(PROMPTS):
        assert error((masks[row], scores[row]), setup.expected[name]) < BOUND, name


@pytest.mark.parametrize(
    ("name", "slots", "fault"),
    [
        ("points", 5, lambda coords, *rest: (coords + 0.5, *rest)),
        ("box", 2, lambda coords, labels, *rest: (coords, labels.flip(-1), *rest)),
        # Filler is taken for the padding token.
        ("one point", 5, lambda coords, labels, *rest: (coords, labels.clamp(min=-1), *rest)),
        ("mask", 2, lambda coords, labels, masks, has: (coords, labels, masks.mT, has)),
    ],
)
def test_a_planted_fault_is_seen(
    setup: Setup, name: str, slots: int, fault: Callable[..., tuple[Tensor, ...]]
) -> None:
    feed = fault(*inputs([PROMPTS[name]], slots=slots))
    masks, scores = decode(setup.model, setup.features, feed)
    assert error((masks[0], scores[0]), setup.expected[name]) > 10 * BOUND
