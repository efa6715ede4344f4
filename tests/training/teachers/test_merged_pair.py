"""A merged model stands for both teachers of a smaller one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from samclip_sdk.modeling.build import SamClipModel, build_model
from samclip_sdk.modeling.checkpoint import save_checkpoint
from tests.student import PYRAMID_STUDENT
from training.errors import TrainingError
from training.teachers.merged_pair import MergedPair
from training.teachers.small import DenseClipTeacher


@pytest.fixture
def merged(tmp_path: Path) -> SamClipModel:
    model = build_model(PYRAMID_STUDENT, seed=3).eval()
    torch.nn.init.normal_(model.clip_head.cells.outward.weight)
    save_checkpoint(model, tmp_path, provenance={"stage": "stage3", "licences": {"sam": "MIT"}})
    return model


@torch.no_grad()
def test_both_teachers_answer_as_the_model(merged: SamClipModel, tmp_path: Path) -> None:
    pair = MergedPair(PYRAMID_STUDENT, tmp_path)
    images = torch.randint(256, (2, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    token_mask = torch.ones(2, 4, 4)
    token_mask[1, 3:] = 0
    tokens, embeddings = merged.image_encoder(images)
    patches, pooled = merged.clip_head(tokens, token_mask)
    assert isinstance(pair.clip, DenseClipTeacher)
    own, cells = pair.clip.embed_with_cells(images, token_mask)
    torch.testing.assert_close(own, pooled)
    torch.testing.assert_close(cells.flatten(2).transpose(1, 2), patches)
    torch.testing.assert_close(pair.clip.embed_images(images)[0], pooled[0])
    torch.testing.assert_close(pair.sam.encode(images), embeddings)
    assert not any(each.requires_grad for each in pair.clip.parameters())


def test_a_student_is_born_with_its_own_sizes(merged: SamClipModel, tmp_path: Path) -> None:
    head = PYRAMID_STUDENT.clip_head.model_copy(update={"mlp_dim": 8})
    preset = PYRAMID_STUDENT.model_copy(update={"clip_head": head})
    pair = MergedPair(preset, tmp_path)
    student = pair.stage0(seed=0)
    assert student.config == preset
    for name, tensor in student.text_encoder.state_dict().items():
        assert torch.equal(tensor, merged.text_encoder.state_dict()[name])
    assert pair.name == str(tmp_path)
    assert pair.tokenizer == tmp_path / "tokenizer.json"
    assert pair.provenance()["stage"] == "stage3"
    assert pair.licences() == {"sam": "MIT"}


def test_another_width_is_refused(merged: SamClipModel, tmp_path: Path) -> None:
    pair = MergedPair(PYRAMID_STUDENT.model_copy(update={"embed_dim": 8}), tmp_path)
    with pytest.raises(TrainingError, match="embeds in 16 dimensions, the model student-test in 8"):
        _ = pair.clip
