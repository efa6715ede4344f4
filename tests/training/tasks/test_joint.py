"""The joint task on a tiny student: what each loss sees, what competes, and that it learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samclip_sdk.modeling.build import build_model
from tests.tiny_config import PYRAMID_STUDENT
from tests.training.photograph_files import annotation, encode, rectangle, write_set
from training.data_config import JointPhotographs
from training.loop.optimizer import build_optimizer, choose_trained
from training.loop_config import Optimisation
from training.real.joint_batches import JointBatches
from training.real.photographs import Photographs
from training.tasks.joint import JointTask
from training.tasks.part import MODULES, TASKS, Part
from training.tasks.taught_cells import (
    absent_names,
    cell_names,
    draw_cells,
    seen_cells,
    unmasked_names,
)

SIZE = 64
STUDENT = PYRAMID_STUDENT.model_copy(
    update={
        "mask_decoder": PYRAMID_STUDENT.mask_decoder.model_copy(update={"high_resolution": True})
    }
)
NAMES = F.normalize(torch.randn(5, 16, generator=torch.Generator().manual_seed(1)), dim=1)
ALONE = torch.eye(5, dtype=torch.bool)
PARTS = ("image_encoder", "clip_head", "prompt_encoder", "mask_decoder", "presence")
LOSSES = {"classes", "images", "cells", "presence", "somewhere", "prompts", "labels"}


class Certain(nn.Module):
    """A classifier that says the same of every image."""

    def forward(self, images: Tensor, token_mask: Tensor) -> Tensor:
        return F.one_hot(torch.zeros(len(images), dtype=torch.int64), 3).float()


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Red cats and green dogs on grey, in a set that labels all of both."""
    images = []
    rng = np.random.default_rng(0)
    for number in range(8):
        pixels = np.full((96, 128, 3), 120, np.uint8)
        left, top = rng.integers(0, (60, 40))
        mask = rectangle(left, top, left + 56, top + 48)
        pixels[mask] = ((220, 30, 30), (30, 200, 30))[number % 2]
        images.append((encode(pixels), [annotation(1 + number % 2, mask)], {}))
    write_set(tmp_path / "toys", images, info={"complete": True})
    return tmp_path


def batches(root: Path, *, size: int = SIZE) -> JointBatches:
    config = JointPhotographs(
        source="photographs",
        root=root,
        resolution=size,
        late_resolution=size,
        batch=4,
        prompts=2,
        labels=1,
    )
    return JointBatches(Photographs(config, split="train"), config, seed=0, late_from=99)


def joint(root: Path, *, labels_after: int = 0, size: int = SIZE) -> JointTask:
    data = batches(root, size=size)
    return JointTask(
        build_model(STUDENT, seed=1),
        data,
        labels_after=labels_after,
        validation=data,
        **taught(),
    )


def taught() -> dict[str, Any]:
    """The names, and the classifier."""
    classes = torch.tensor([2, 3, 4])
    return {"classifier": Certain(), "names": NAMES, "classes": classes, "kin": ALONE}


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_every_loss_is_told_and_reaches_every_part(
    photographs: Path, precision: torch.dtype
) -> None:
    task = joint(photographs)
    task.requires_grad_(True)
    with torch.autocast("cpu", precision, enabled=precision == torch.bfloat16):
        loss = task(task.dataset[0], loss="joint", step=0)
    loss.backward()
    told = task.details()
    assert {name.removeprefix("joint/") for name in told} == LOSSES
    assert all(np.isfinite(value) for value in told.values())
    assert {*task.parts} == {*PARTS}
    assert all(learns(part) for part in task.parts.values())
    assert task.student.image_encoder.high_resolution.stride_4.weight.grad.any()


def learns(part: nn.Module) -> bool:
    return any(p.grad is not None and p.grad.any() for p in part.parameters())


@pytest.mark.parametrize(
    ("part", "losses", "learning"),
    [
        ("pictures", LOSSES, {*PARTS}),
        ("heads", {"patches", "embeddings"}, {"image_encoder", "clip_head"}),
        (
            "outlines",
            {"presence", "prompts", "labels"},
            {"image_encoder", "prompt_encoder", "mask_decoder", "presence"},
        ),
        (
            "prompts",
            {"presence", "prompts", "labels"},
            {"prompt_encoder", "mask_decoder", "presence"},
        ),
        ("cells", {"cells", "presence", "somewhere", "kept"}, {"clip_head", "presence"}),
    ],
)
def test_a_part_learns_alone(
    photographs: Path, part: Part, losses: set[str], learning: set[str]
) -> None:
    """And the result is a mean of before and after."""
    task = TASKS[part](
        build_model(STUDENT, seed=1),
        batches(photographs),
        modules=MODULES[part],
        validation=None,
        **taught(),
    )
    task.student.requires_grad_(False)
    for path in MODULES[part]:
        task.student.get_submodule(path).requires_grad_(True)
    with torch.no_grad():  # what came before is not what is there
        next(task.student.image_encoder.parameters()).add_(0.1)
    task(task.dataset[0], loss=part, step=0).backward()
    assert {name.removeprefix("joint/") for name in task.details()} == losses
    trained = {name for name, module in task.parts.items() if learns(module)}
    assert trained == learning
    weight = next(task.student.get_submodule(MODULES[part][-1]).parameters())
    before = weight.detach().clone()
    with torch.no_grad():
        weight.add_(1.0)
    task.mix(0.25)
    torch.testing.assert_close(weight, before + 0.25)


def test_labels_are_asked_later(photographs: Path) -> None:
    task = joint(photographs, labels_after=5)
    batch = task.dataset[0]
    task(batch, loss="joint", step=4)
    assert "joint/labels" not in task.details()
    task(batch, loss="joint", step=5)
    assert "joint/labels" in task.details()


def test_fifty_steps_teach_colours_and_masks(photographs: Path) -> None:
    task = joint(photographs)
    settings = Optimisation(
        steps=50,
        learning_rate=3e-3,
        warmup_steps=5,
        multipliers=dict.fromkeys(PARTS, 1.0),
    )
    parts = dict(task.parts.items())
    choose_trained(parts, settings)
    optimizer = build_optimizer(parts, settings)
    torch.manual_seed(0)
    losses = []
    before = {k: v.mean().item() for k, v in _measure(task).items()}
    for step in range(50):
        loss = task(task.dataset[step], loss="joint", step=step)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    after = {k: v.mean().item() for k, v in _measure(task).items()}
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])
    assert after["cell_top1"] > max(0.8, before["cell_top1"])


@torch.no_grad()
def _measure(task: JointTask) -> dict[str, Tensor]:
    task.eval()
    torch.manual_seed(0)
    found = task.measure(task.dataset[1000])
    task.train()
    return found


def test_a_validation_measures_what_a_user_sees(photographs: Path) -> None:
    task = joint(photographs)
    found = _measure(task)
    assert found.keys() == set(task.metrics)
    assert all(((value >= 0) & (value <= 1)).all() for value in found.values())
    with torch.no_grad():
        sheet = task.draw(task.dataset[0])
    assert sheet is not None
    assert sheet.dtype == np.uint8


@torch.no_grad()
def test_points_and_boxes_are_measured_without_a_mask(
    photographs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the SDK asks: an empty mask is another prompt than none."""
    task = joint(photographs)
    told: list[float] = []
    encode_prompts = task.student.prompt_encoder.forward

    def noted(coords: Tensor, labels: Tensor, masks: Tensor, has_mask: Tensor) -> object:
        told.append(has_mask.mean().item())
        return encode_prompts(coords, labels, masks, has_mask)

    monkeypatch.setattr(task.student.prompt_encoder, "forward", noted)
    _measure(task)
    assert told == [1, 0], "labels come with their map, points and boxes alone"


@pytest.mark.parametrize("size", [SIZE, 2 * SIZE])
def test_a_point_is_at_the_same_place_in_images_of_any_size(photographs: Path, size: int) -> None:
    """The prompt encoder counts in pixels of the model's resolution, not of the batch's."""
    task = joint(photographs, size=size)
    batch = task.dataset[0]
    told: list[Tensor] = []
    indices = task.student.prompt_encoder.pe_layer
    indices.register_forward_hook(lambda _, asked, __: told.append(asked[0]))
    with torch.no_grad():
        task(batch, loss="joint", step=0)
    torch.testing.assert_close(told[0], (batch["point_coords"] + 0.5) / size)


def test_images_that_ask_for_nothing_are_measured_too(tmp_path: Path) -> None:
    grey = encode(np.full((96, 128, 3), 120, np.uint8))
    write_set(tmp_path / "toys", [(grey, [], {"labels": ["cat"]})] * 2)
    task = joint(tmp_path)
    task(task.dataset[0], loss="joint", step=9)
    found = task.measure(task.dataset[0])
    assert all(not len(values) for values in found.values())
    assert task.draw(task.dataset[0]) is None


def known(**changes: Tensor) -> dict[str, Tensor]:
    """An image of 2 x 2 cells; name 0 covers the upper ones, name 2 is promised absent."""
    coverage = torch.zeros(1, 1, 2, 2)
    coverage[0, 0, 0] = 1
    batch = {
        "token_mask": torch.ones(1, 2, 2),
        "names": torch.tensor([[0]]),
        "coverage": coverage,
        "masked": torch.tensor([[True]]),
        "exhaustive": torch.tensor([[True]]),
        "unnamed": torch.zeros(1, 2, 2),
        "present": torch.tensor([[True, False, False]]),
        "absent": torch.tensor([[False, False, True]]),
    }
    return {**batch, **changes}


EVERY = (torch.zeros(4, dtype=torch.int64), torch.arange(4))
STRANGERS = torch.eye(3, dtype=torch.bool)


def test_what_is_promised_absent_is_absent_in_every_cell() -> None:
    absent = absent_names(known(), *EVERY, STRANGERS)
    assert absent[:, 2].all()
    assert absent[:, 0].tolist() == [False, False, True, True]
    assert not absent[:, 1].any()


def test_kin_of_what_is_shown_are_never_absent() -> None:
    """A pug is pasted into a set that promises that there is no dog."""
    kin = STRANGERS.clone()
    kin[0, 2] = kin[2, 0] = True
    assert not absent_names(known(), *EVERY, kin)[:, 2].any()


def test_what_has_no_name_is_no_background() -> None:
    unnamed = torch.zeros(1, 2, 2)
    unnamed[0, 1, 1] = 1
    absent = absent_names(known(unnamed=unnamed), *EVERY, STRANGERS)
    assert absent.any(dim=1).tolist() == [True, True, True, False]
    assert cell_names(known())[0].tolist() == [0, 0, -1, -1]
    image, cell = draw_cells(known(unnamed=unnamed), cell_names(known()))
    assert sorted(cell.tolist()) == [0, 1, 2]
    assert not image.any()


def test_cells_of_an_image_that_promises_nothing_teach_their_names_alone() -> None:
    nothing = {key: torch.zeros_like(known()[key]) for key in ("exhaustive", "absent")}
    _, cell = draw_cells(known(**nothing), cell_names(known()))
    assert sorted(cell.tolist()) == [0, 1]


def test_a_name_without_a_mask_is_looked_for_in_its_box_or_anywhere() -> None:
    batch = known(masked=torch.tensor([[False]]), present=torch.tensor([[True, True, False]]))
    image, name, indices = unmasked_names(batch)
    found = dict(zip(name.tolist(), indices.tolist(), strict=True))
    assert image.tolist() == [0, 0]
    assert found == {0: [True, True, False, False], 1: [True] * 4}
    assert not len(unmasked_names(known())[0])


def test_a_name_is_looked_for_where_the_classifier_sees_it() -> None:
    """And within its box, whatever the cells around it are like by now."""
    vector = NAMES[:1]
    coarse = torch.zeros(1, 16, 4, 4)
    coarse[0, :, 1, 1] = 7 * vector[0]
    coarse[0, :, 3, 3] = 9 * vector[0]
    anywhere = torch.ones(1, 8, 8, dtype=torch.bool)
    shares = seen_cells(coarse, vector, anywhere.flatten(1)).view(8, 8)
    assert shares.sum() == pytest.approx(1)
    assert shares[2:4, 2:4].sum() + shares[6:, 6:].sum() > 0.9
    box = anywhere.clone()
    box[:, 5:] = False
    shares = seen_cells(coarse, vector, box.flatten(1)).view(8, 8)
    assert shares[2:4, 2:4].sum() > 0.9
    assert not shares[5:].any()
