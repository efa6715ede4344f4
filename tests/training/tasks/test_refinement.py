"""What refinement asks is what the SDK asks, and only what comes after the CLIP head learns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset

from samclip_sdk.bundle.manifest import UNCALIBRATED, Calibration
from samclip_sdk.image import Frame
from samclip_sdk.modeling.build import SamClipModel, build_model
from samclip_sdk.modeling.config import ModelConfig
from samclip_sdk.text_options import Options
from samclip_sdk.text_to_mask import FoundLabels, label_prompts, score_maps
from training.tasks import label_prompts as label_prompts_module
from training.tasks.label_prompts import disturbed, touched
from training.tasks.refinement import RefinementTask, draw_labels

SIZE, GRID, LABELS = 64, 4, 3


def named(*, batch: int = 2, absent: bool = True) -> dict[str, Tensor]:
    """Each picture shows names 0 and 1, the second without a mask, and not name 2."""
    coverage = torch.zeros(batch, 2, 4 * GRID, 4 * GRID)
    coverage[:, 0, :8] = 1
    coverage[:, 1] = 1
    flags = torch.zeros(batch, 3, dtype=torch.bool)
    flags[:, 2] = absent
    token_mask = torch.ones(batch, GRID, GRID)
    token_mask[:, 3] = 0
    return {
        "images": torch.randint(256, (batch, 3, SIZE, SIZE), dtype=torch.uint8),
        "token_mask": token_mask,
        "names": torch.tensor([[0, 1]] * batch),
        "coverage": coverage,
        "masked": torch.tensor([[True, False]] * batch),
        "absent": flags,
        "broken": torch.zeros(1, dtype=torch.int64),
    }


class Batches(Dataset[Any]):
    """One batch of photographs."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"named": named()}


@pytest.fixture
def student(student_config: ModelConfig) -> SamClipModel:
    return build_model(student_config, seed=2)


def task(student: SamClipModel, calibration: Calibration = UNCALIBRATED) -> RefinementTask:
    generator = torch.Generator().manual_seed(0)
    names = torch.randn(3, student.config.embed_dim, generator=generator)
    return RefinementTask(
        student,
        Batches(),
        names=torch.nn.functional.normalize(names, dim=1),
        calibration=calibration,
        labels=LABELS,
        validation=None,
    )


def test_one_label_is_absent_where_absences_are_promised() -> None:
    names, targets, shown, absent = draw_labels(named(), count=LABELS)
    assert names.tolist() == [[0, 0, 2]] * 2
    assert shown.tolist() == [[True, True, False]] * 2
    assert absent.tolist() == [[False, False, True]] * 2
    assert targets[:, :2].sum(dim=(2, 3)).unique().item() == 8 * 4 * GRID
    assert not targets[:, 2].any()


def test_without_a_promise_all_labels_are_there() -> None:
    names, _, shown, absent = draw_labels(named(absent=False), count=LABELS)
    assert names.tolist() == [[0, 0, 0]] * 2
    assert shown.all()
    assert not absent.any()


def test_what_is_too_small_to_ask_for_is_not_asked_for() -> None:
    batch = named()
    batch["coverage"][:, 0] = 0
    names, targets, shown, absent = draw_labels(batch, count=LABELS)
    assert names.tolist() == [[2, 2, 2]] * 2
    assert not shown.any()
    assert absent.all()
    assert not targets.any()
    batch["absent"][:] = False
    assert not torch.stack(draw_labels(batch, count=LABELS)[2:]).any()


def test_labels_are_asked_as_the_sdk_asks_them(student: SamClipModel) -> None:
    """Mask prompts bit for bit, for a picture that fills three of four rows of cells."""
    refinement, batch = task(student), named(batch=1)
    tokens, _ = student.image_encoder(batch["images"])
    patches, _ = student.clip_head(tokens, batch["token_mask"])
    asked = refinement._ask(batch, patches, disturb=False)
    frame = Frame.fit(48, 64, resolution=SIZE)
    places, *_ = draw_labels(batch, count=LABELS)
    maps = score_maps(
        patches.detach().numpy(),
        text_embeddings=refinement.names[places[0]].numpy(),
        calibration=UNCALIBRATED,
    )
    prompts = label_prompts(
        FoundLabels(maps, np.ones(LABELS, np.float32), np.arange(LABELS, dtype=np.int32)),
        frame=frame,
        options=Options(
            presence_threshold=0.0,
            mask_threshold=0.0,
            points_per_class=3,
            refine=True,
        ),
        calibration=UNCALIBRATED,
        mask_side=4 * GRID,
    )
    np.testing.assert_allclose(asked.mask_input.numpy(), prompts.prompts.mask_input, atol=1e-5)
    inside = asked.coords[asked.labels == 1]
    assert inside[:, 1].max() < 48


def test_a_disturbed_map_is_of_the_same_shape_and_another() -> None:
    torch.manual_seed(0)
    maps = torch.randn(5, 6, 6)
    other = disturbed(maps)
    assert other.shape == maps.shape
    assert (other != maps).all()
    torch.manual_seed(1)
    assert not torch.equal(disturbed(maps), other)


def test_absent_labels_teach_the_predicted_iou_alone(student: SamClipModel) -> None:
    refinement, batch = task(student), named()
    batch["coverage"][:, 0] = 0  # nothing is left to ask for but the absent name
    refinement.parts.requires_grad_(True)
    refinement(batch={"named": batch}, loss="texts", step=0).backward()
    decoder = student.mask_decoder
    assert all(p.grad is None or not p.grad.any() for p in decoder.output_upscaling.parameters())
    assert any(
        p.grad is not None and p.grad.any() for p in decoder.iou_prediction_head.parameters()
    )


def test_the_clip_head_and_its_tokens_do_not_learn(student: SamClipModel) -> None:
    refinement = task(student)
    assert set(refinement.parts) == {"neck", "prompt_encoder", "mask_decoder"}
    learning = {id(p) for p in refinement.parts.parameters()}
    encoder, head = student.image_encoder, student.clip_head
    frozen = [p for name, p in encoder.named_parameters() if not name.startswith("neck.")]
    assert learning.isdisjoint(map(id, [*frozen, *head.parameters()]))
    assert not any(p.requires_grad for p in [*frozen, *head.parameters()])


def test_what_a_box_touches_is_to_be_drawn_whole_and_nothing_else() -> None:
    target = torch.zeros(8, 8)
    target[1:3, 1:4] = 1
    target[5:8, 5:8] = 0.75
    target[0, 7] = 0.25
    kept = touched(target, np.array([0.0, 0.0, 2.0, 2.0]))
    assert (kept > 0).sum() == 6
    assert torch.equal(kept[:4, :5], target[:4, :5])
    assert torch.equal(touched(target, np.array([0.0, 0.0, 8.0, 8.0])) > 0, target >= 0.5)
    assert not touched(target, np.array([0.0, 4.0, 4.0, 8.0])).any()


@pytest.mark.parametrize("parts", [0.0, 1.0])
def test_a_part_beside_its_label_teaches_the_predicted_iou_alone(
    student: SamClipModel, parts: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The label's mask lies where no score map leads: a part of the map is a false one.

    Who asks for the whole label is still told all of it.
    """
    monkeypatch.setattr(label_prompts_module, "_PART", parts)
    refinement, batch = task(student), named()
    batch["coverage"][:, 0] = 0
    batch["coverage"][:, 0, -4:] = 1  # in the padding, where no part can be
    tokens, _ = student.image_encoder(batch["images"])
    patches, _ = student.clip_head(tokens, batch["token_mask"])
    asked = refinement._ask(batch, patches, disturb=False)
    assert asked.shown.any() == (parts == 0)
    assert torch.equal(asked.absent, ~asked.shown)
    assert torch.equal(asked.targets.flatten(1).any(dim=1), asked.shown)
