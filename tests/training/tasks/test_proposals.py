"""The loss of the proposal head, and what is found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from samclip_sdk.modeling.build import build_model
from samclip_sdk.modeling.pyramid_encoder import PyramidEncoder
from tests.proposal_cases import PROPOSING, proposals_of
from tests.training.photograph_files import annotation, encode, rectangle, write_set
from tests.training.tasks.test_joint import batches, taught
from training.tasks.joint import JointTask
from training.tasks.part import MODULES, TASKS
from training.tasks.proposals import ProposalLoss, best_boxes, overlaps, proposal_recall

BOXES = torch.tensor([[4.0, 4, 40, 44], [30, 10, 60, 60]])


def told(box: torch.Tensor, *, at: tuple[int, int, int], objectness: float = 9.0) -> torch.Tensor:
    """Proposals of one image of 4 x 4 cells: one place has the box, all others nothing."""
    boxes = torch.tensor([0.0, 0, 64, 64]).expand(1, 6, 4, 4, 4).clone()
    scores = torch.full((1, 6, 4, 4), -9.0)
    boxes[(0, *at)], scores[(0, *at)] = box, objectness
    return proposals_of(boxes, scores)


def test_the_right_answer_costs_nothing_and_others_more() -> None:
    assigned = torch.full((1, 6, 4, 4), -1)
    assigned[0, 3, 1, 1] = 0
    background = torch.ones(1, 6, 4, 4)
    loss = ProposalLoss()
    right = loss(told(BOXES[0], at=(3, 1, 1)), assigned, BOXES, background)
    assert right < 0.01
    moved = BOXES[0] + torch.tensor([0, 0, 12, 0])
    assert loss(told(moved, at=(3, 1, 1)), assigned, BOXES, background) > right + 0.05
    unseen = told(BOXES[0], at=(3, 1, 1), objectness=-9)
    assert loss(unseen, assigned, BOXES, background) > right + 1
    elsewhere = told(BOXES[0], at=(2, 1, 1))
    assert loss(elsewhere, assigned, BOXES, background) > right + 1
    doubted = background.clone()
    doubted[0, 2, 1, 1] = 0.1
    less = loss(elsewhere, assigned, BOXES, doubted)
    assert less < loss(elsewhere, assigned, BOXES, background)
    nothing = loss(told(BOXES[0], at=(2, 1, 1)), assigned.fill_(-1), BOXES[:0], 0 * background)
    assert nothing == 0


def test_overlaps() -> None:
    one, other = torch.tensor([0.0, 0, 10, 10]), torch.tensor([5.0, 0, 15, 10])
    iou, giou = overlaps(one, other)
    assert iou.item() == pytest.approx(1 / 3)
    assert giou.item() == pytest.approx(1 / 3)
    iou, giou = overlaps(one, torch.tensor([20.0, 0, 30, 10]))
    assert iou == 0
    assert giou.item() == pytest.approx(-1 / 3)


def test_of_equal_boxes_the_best_is_kept() -> None:
    boxes = torch.stack([BOXES[0], BOXES[0] + 1, BOXES[1]])
    found, scores = best_boxes(boxes, torch.tensor([0.5, 0.9, 0.7]))
    assert torch.equal(found, boxes[[1, 2]])
    assert scores.tolist() == pytest.approx([0.9, 0.7])
    assert len(best_boxes(boxes, torch.rand(3), maximum=1)[0]) == 1


def test_what_is_found_is_counted_and_the_padding_proposes_nothing() -> None:
    proposals = told(BOXES[0], at=(3, 1, 1))
    batch = {
        "token_mask": torch.ones(1, 4, 4),
        "boxes": BOXES,
        "box_owners": torch.zeros(2, dtype=torch.int64),
    }
    assert proposal_recall(proposals, batch).tolist() == [1, 0]
    nothing = {key: batch[key][:0] for key in ("boxes", "box_owners")}
    assert not len(proposal_recall(proposals, batch | nothing))
    assert not len(proposal_recall(None, batch))
    # Thirty better boxes of nothing, and that of the thing is not looked at.
    values = proposals.clone()
    by_channel = values[0, :4].view(4, 16)
    by_channel[0], by_channel[2] = 12.0, 11.0
    values[0, 4:20].view(4, 4, 16)[:, [0, 2]] = -3.0
    assert proposal_recall(values, batch).tolist() == [0, 0]
    hidden = batch["token_mask"].clone()
    hidden[0] = 0
    hidden[0, 1, 1] = 1
    assert proposal_recall(values, batch | {"token_mask": hidden}).tolist() == [1, 0]


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    """One image with a red and a green thing that touch, of one kind."""
    pixels = np.full((96, 128, 3), 120, np.uint8)
    left, right = rectangle(10, 20, 60, 80), rectangle(60, 20, 118, 80)
    pixels[left], pixels[right] = (220, 30, 30), (30, 200, 30)
    found = [annotation(1, left), annotation(1, right)]
    write_set(tmp_path / "toys", [(encode(pixels), found, {})], info={"complete": True})
    return tmp_path


def test_fifty_steps_find_the_things_of_one_image(photograph: Path) -> None:
    """The head alone; all else stays."""
    data = batches(photograph, size=128)
    data.augment = False
    task = TASKS["proposals"](
        build_model(PROPOSING, seed=1), data, modules=MODULES["proposals"], **taught()
    )
    task.requires_grad_(False)
    head = task.student.get_submodule("image_encoder.proposal_head").requires_grad_(True)
    before = {key: each.clone() for key, each in task.student.state_dict().items()}
    optimizer = torch.optim.AdamW(head.parameters(), lr=3e-3)
    batch, losses = data[0], []
    for step in range(50):
        loss = task(batch, loss="proposals", step=step)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert {*task.details()} == {"joint/proposals"}
    assert losses[-1] < 0.3 * losses[0]
    changed = {
        key for key, x in task.student.state_dict().items() if not torch.equal(x, before[key])
    }
    assert changed
    assert all(key.startswith("image_encoder.proposal_head.") for key in changed)
    with torch.no_grad():
        found = task.measure(batch)
    assert found["proposal_recall"].mean() == 1


@pytest.mark.parametrize("part", ["pictures", "outlines", "heads", "prompts", "cells"])
def test_the_parts_that_teach_the_image_encoder_teach_it_too(photograph: Path, part: str) -> None:
    data = batches(photograph)
    task = TASKS[part](build_model(PROPOSING, seed=1), data, modules=MODULES[part], **taught())  # type: ignore[index]
    task.student.requires_grad_(False)
    for path in MODULES[part]:  # type: ignore[index]
        task.student.get_submodule(path).requires_grad_(True)
    with torch.no_grad():
        next(task.student.image_encoder.parameters()).add_(0.1)
    task(data[0], loss=part, step=0).backward()
    encoder = task.student.image_encoder
    assert isinstance(encoder, PyramidEncoder)
    assert encoder.proposal_head is not None
    learns = encoder.proposal_head.leave_8.weight.grad is not None
    assert learns == (part in ("pictures", "outlines", "heads"))
    assert ("joint/proposals" in task.details()) == learns


def test_a_new_head_is_no_mean(photograph: Path) -> None:
    data = batches(photograph)
    task = TASKS["pictures"](
        build_model(PROPOSING, seed=1), data, modules=MODULES["pictures"], fresh=True, **taught()
    )
    encoder = task.student.image_encoder
    assert isinstance(encoder, PyramidEncoder)
    assert encoder.proposal_head is not None
    new, old = encoder.proposal_head.leave_8.weight, encoder.lateral_8.weight
    before = new.detach().clone(), old.detach().clone()
    with torch.no_grad():
        new.add_(1.0)
        old.add_(1.0)
    task.mix(0.25)
    torch.testing.assert_close(new, before[0] + 1)
    torch.testing.assert_close(old, before[1] + 0.25)


def test_the_joint_training_teaches_and_measures_it(photograph: Path) -> None:
    data = batches(photograph)
    task = JointTask(build_model(PROPOSING, seed=1), data, validation=data, **taught())
    task.requires_grad_(True)
    task(data[0], loss="joint", step=0).backward()
    assert task.details()["joint/proposals"] > 0
    assert task.student.get_submodule(
        "image_encoder.proposal_head.coarse.0.around"
    ).weight.grad.any()
    with torch.no_grad():
        assert len(task.measure(data[0])["proposal_recall"]) == len(data[0]["boxes"])
