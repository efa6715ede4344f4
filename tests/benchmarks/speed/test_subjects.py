from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.speed.sdk_subject import PROMPTS, SdkSubject
from benchmarks.speed.subject import SUBJECTS, WORKLOADS, check_spec, make_subject
from samclip_sdk.bundle.open import DEFAULT_MODEL, open_bundle


def test_a_spec_gives_name_and_arguments() -> None:
    name, options = check_spec("samclip,model=a/b-c,precision=int8,threads=2,unverified=true")
    assert name == "samclip"
    assert options == {"model": "a/b-c", "precision": "int8", "threads": 2, "unverified": True}
    assert check_spec("a.b:C") == ("a.b:C", {})


@pytest.mark.parametrize("name", SUBJECTS)
def test_every_subject_can_be_made(name: str) -> None:
    assert make_subject(name).key


@pytest.fixture(autouse=True)
def _user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platformdirs.user_data_path", lambda *_: tmp_path)


def test_the_sdk_opens() -> None:
    opened = SdkSubject(threads=1, unverified=True).open()
    assert set(opened.workloads) == set(WORKLOADS)
    masks: Any = opened.workloads["image_to_masks"]()
    assert len(masks) == 3
    steps: Any = opened.workloads["three_ways"]()
    assert {"image_encoder", "mask_decoder", "other"} <= set(steps)
    assert opened.precision == "fp32"
    assert {"samclip-sdk", "onnxruntime"} <= set(opened.packages)
    assert "NOT VERIFIED on this device" in opened.notes


def test_skills_on_their_own() -> None:
    tasks = open_bundle(DEFAULT_MODEL).manifest.tasks
    sizes = (tasks.classification.resolution, tasks.segmentation.resolution)
    resolutions = "+".join(map(str, sizes))
    opened = SdkSubject(skill="encoder", resolutions=resolutions, threads=1, unverified=True).open()
    for size in (*sizes, sizes[0]):
        found: Any = opened.workloads[f"image_encoder@{size}"]()
        assert found["image_tokens"].shape[-1] == size // 16
    boxes = SdkSubject(skill="boxes", threads=1, unverified=True).open()
    assert list(boxes.workloads) == [f"boxes@{count}" for count in PROMPTS]
    asked: Any = boxes.workloads["boxes@8"]()
    assert len(asked.masks) == 8
