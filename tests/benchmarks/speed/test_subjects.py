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


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ("", "samclip-mobile-onnx"),
        (",model=some/vit_b,precision=int8,threads=2", "vit_b-onnx-int8-t2"),
        (",runtime=openvino,labels=150", "samclip-mobile-openvino-k150"),
        (",precision=fp32,skill=boxes", "samclip-mobile-onnx-fp32-boxes"),
        (",skill=encoder,threads=2,resolutions=128+256", "samclip-mobile-onnx-t2-encoder"),
    ],
)
def test_keys_tell_what_is_not_as_usual(options: str, key: str) -> None:
    assert make_subject(f"samclip{options}").key == key


def test_the_sdk_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platformdirs.user_data_path", lambda *_: tmp_path)
    opened = SdkSubject(threads=1, unverified=True).open()
    assert set(opened.workloads) == set(WORKLOADS)
    masks: Any = opened.workloads["picture_to_masks"]()
    assert len(masks) == 3
    steps: Any = opened.workloads["three_ways"]()
    assert {"image_encoder", "mask_decoder", "other"} <= set(steps)
    assert opened.precision == "fp32"
    assert {"samclip-sdk", "onnxruntime"} <= set(opened.packages)
    assert "torch" not in opened.packages
    resolution = open_bundle(DEFAULT_MODEL).manifest.tasks.segmentation.resolution
    assert f"1024x683 px picture seen at {resolution} px" in opened.notes
    assert "NOT VERIFIED on this device" in opened.notes


def test_the_encoder_runs_at_every_resolution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platformdirs.user_data_path", lambda *_: tmp_path)
    tasks = open_bundle(DEFAULT_MODEL).manifest.tasks
    sizes = (tasks.classification.resolution, tasks.segmentation.resolution)
    resolutions = "+".join(map(str, sizes))
    opened = SdkSubject(skill="encoder", resolutions=resolutions, threads=1, unverified=True).open()
    assert list(opened.workloads) == [f"image_encoder@{size}" for size in sizes]
    for size in (*sizes, sizes[0]):
        found: Any = opened.workloads[f"image_encoder@{size}"]()
        assert found["image_tokens"].shape[-1] == size // 16


def test_skills_on_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platformdirs.user_data_path", lambda *_: tmp_path)
    boxes = SdkSubject(skill="boxes", threads=1, unverified=True).open()
    assert list(boxes.workloads) == [f"boxes@{count}" for count in PROMPTS]
    asked: Any = boxes.workloads["boxes@8"]()
    assert len(asked.masks) == 8
    with pytest.raises(ValueError, match="skill is 'dance'"):
        SdkSubject(skill="dance")
