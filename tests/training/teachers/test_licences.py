from __future__ import annotations

from pathlib import Path

import pytest

from samclip_sdk.bundle.manifest import NOT_STATED
from training.config_file import find_config, load_stage
from training.stages.distill import DistillConfig
from training.teacher_config import FoundationTeachers
from training.teachers.licences import teacher_licences


def teachers(**changes: object) -> FoundationTeachers:
    stage = load_stage(find_config("vit_b"), "stage1")
    assert isinstance(stage, DistillConfig)
    assert isinstance(stage.teachers, FoundationTeachers)
    return stage.teachers.model_copy(update=changes)


def test_the_papers_teachers_are_known() -> None:
    assert teacher_licences(teachers()) == {"sam": "Apache-2.0", "clip": "MIT"}


@pytest.mark.parametrize(
    ("clip", "pretrained", "licence"),
    [
        ("ViT-L-14", "laion2b_s32b_b82k", "MIT"),
        ("ViT-B-16", "metaclip_fullcc", "CC-BY-NC-4.0"),
        ("ViT-B-16", "openai", NOT_STATED),
        ("ViT-H-14", "dfn5b", NOT_STATED),
        ("PE-Core-S-16-384", "meta", "Apache-2.0"),
        ("EVA02-E-14", "laion2b_s4b_b115k", NOT_STATED),
    ],
)
def test_a_licence_is_stated_where_its_authors_did(
    clip: str, pretrained: str, licence: str
) -> None:
    found = teacher_licences(teachers(clip=clip, pretrained=pretrained))
    assert found["clip"] == licence


def test_files_of_your_own_have_the_licence_that_you_state(tmp_path: Path) -> None:
    own = tmp_path / "datacomp_mine.pt"
    own.touch()
    files = {"pretrained": str(own), "sam_checkpoint": tmp_path / "sam.pth"}
    assert teacher_licences(teachers(**files)) == {"sam": NOT_STATED, "clip": NOT_STATED}
    stated = {"clip_licence": "CC0-1.0", "sam_licence": "LicenseRef-ours"}
    assert teacher_licences(teachers(**files, **stated)) == {
        "sam": "LicenseRef-ours",
        "clip": "CC0-1.0",
    }
