"""`samclip verify` passes on a sound bundle and fails on each planted fault."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from samclip_sdk.bundle.manifest import GOLDEN_INDEX, GOLDEN_TENSORS
from samclip_sdk.device.goldens import graph_checks as golden_checks
from samclip_sdk.device.goldens.check import Check
from samclip_sdk.device.verify import VerificationReport, verify_bundle
from samclip_sdk.errors import BundleError, BundleTamperedError, VerificationError
from samclip_sdk.image.image_prompts import ImagePrompts
from samclip_sdk.image.model_prompts import FILLER, NOT_A_POINT, Prompts
from samclip_sdk.text.tokenizer import Tokenizer
from tests.command import answer, fails, run, table
from tests.drawings import TINY_BUNDLE
from tests.example_bundle import change_files
from tests.refusals import refused


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A copy of the tiny bundle, to be changed."""
    return Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))


def failed(report: VerificationReport) -> list[str]:
    return [check.name for check in report.checks if not check.passed]


def test_a_sound_bundle_passes(tiny_bundle: Path) -> None:
    seen: list[Check] = []
    report = verify_bundle(tiny_bundle, on_check=seen.append)
    assert failed(report) == []
    report.raise_if_failed()
    assert tuple(seen) == report.checks
    names = " | ".join(check.name for check in report.checks)
    for part in (
        "token ids",
        "letterbox of 1021 x 1533 to 64 px",
        "letterbox of 1537 x 611 to 32 px by letterbox@32",
        "image_encoder@32 image_tokens",
        "text_encoder text_embeddings",
        "prompt_encoder dense_embeddings",
        "image and point to low_res_masks",
        "image and box to iou_predictions",
        "image to image embedding",
        "class embeddings",
        "score map of 96 x 62 to points",
        "score map of 62 x 96 to mask prompt",
        "logits to a mask of 700 x 310",
    ):
        assert part in names


def test_other_outputs_masks_and_letterboxes_than_the_goldens_fail(bundle: Path) -> None:
    index = json.loads((bundle / GOLDEN_INDEX).read_text())
    tensors = safetensors.numpy.load_file(bundle / GOLDEN_TENSORS)
    golden = next(each for each in index["graphs"] if each["graph"] == "prompt_encoder")
    output = golden["outputs"]["dense_embeddings"]["tensor"]
    tensors[output] = tensors[output] * np.float16(1.05)
    mask = next(each for each in index["masks"] if each["size"] == [90, 70])["mask"]
    tensors[mask] = np.roll(tensors[mask], 1)
    drawn = next(each for each in index["letterbox"] if each["size"] == [1537, 611])
    tensors[drawn["output"]["tensor"]] = tensors[drawn["output"]["tensor"]] // 2
    change_files(bundle, {GOLDEN_TENSORS: safetensors.numpy.save(tensors)})
    report, side = verify_bundle(bundle), drawn["resolution"]
    assert sorted(failed(report)) == [
        f"letterbox of 1537 x 611 to {side} px",
        f"letterbox of 1537 x 611 to {side} px by letterbox@{side}",
        "logits to a mask of 90 x 70",
        "prompt_encoder dense_embeddings",
    ]
    refused(report.raise_if_failed, VerificationError, "onnx fp32", "mask of 90 x 70")
    result = run("verify", "--model", bundle, "--runtime", "onnx")
    assert result.exit_code == 1
    assert result.stdout.startswith("FAILED: 4 of ")
    assert result.stderr.startswith("error: 4 of ")
    assert result.stderr.count("\n") == 1


def test_a_missing_padding_token_fails(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_model = ImagePrompts.in_model

    def without_padding(*arguments: Any, **options: Any) -> Prompts:
        prompts = in_model(*arguments, **options)
        labels = prompts.point_labels
        return dataclasses.replace(
            prompts, point_labels=np.where(labels == NOT_A_POINT, FILLER, labels).astype(np.int32)
        )

    monkeypatch.setattr(ImagePrompts, "in_model", without_padding)
    found = failed(verify_bundle(tiny_bundle))
    assert "image and point to low_res_masks" in found
    assert not any("box" in name for name in found)


def test_another_tokenizer_fails(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class OneOff(Tokenizer):
        def __call__(self, texts: Any) -> Any:
            ids = super().__call__(texts)
            return np.where(ids == 1037, 1038, ids)  # 1037 is "a"

    monkeypatch.setattr(golden_checks, "Tokenizer", OneOff)
    assert any("token ids" in name for name in failed(verify_bundle(tiny_bundle)))


def test_what_cannot_be_verified_is_an_error(bundle: Path) -> None:
    """A changed byte; a bundle without goldens."""
    path = bundle / "onnx" / "mask_decoder.onnx"
    whole = path.read_bytes()
    path.write_bytes(whole + b"\0")
    refused(lambda: verify_bundle(bundle), BundleTamperedError, "mask_decoder")
    path.write_bytes(whole)
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["files"] = [f for f in manifest["files"] if not f["path"].startswith("golden/")]
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    refused(lambda: verify_bundle(bundle), BundleError, "no golden")


def test_a_vocabulary_only_bundle_passes(bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    del manifest["graphs"]["text_encoder"]
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    report = verify_bundle(bundle)
    assert report.passed
    assert not any("text" in check.name.partition(" ")[0] for check in report.checks)


def test_a_quick_one_runs_the_tasks_of_two_images(tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(TINY_BUNDLE, tmp_path / "bundle"))
    asked = ("verify", "--model", bundle, "--quick", "--runtime", "onnx", "--precision", "fp32")
    tensors = safetensors.numpy.load_file(bundle / GOLDEN_TENSORS)
    images = json.loads((bundle / GOLDEN_INDEX).read_text())["tasks"]["pictures"]
    for index, passes in ((2, True), (1, False)):
        masks = images[index]["box_masks"]
        tensors[masks] = ~tensors[masks]
        change_files(bundle, {GOLDEN_TENSORS: safetensors.numpy.save(tensors)})
        found = json.loads(run(*asked, "--json").stdout)
        assert found["quick"]
        failed = [each["name"] for each in found["checks"] if not each["passed"]]
        assert failed == ([] if passes else ["1 - task/box_mask_iou"])


def test_the_command_tells_a_verdict_first(tiny_bundle: Path, user_folders: Path) -> None:
    model = ("--model", str(tiny_bundle))
    found = answer("verify", *model, "--runtime", "onnx")
    assert found["passed"]
    key = found["key"]
    assert key["providers"] == ["CPUExecutionProvider"]
    folder = user_folders / "data" / "samclip-sdk" / "verified"
    (report,) = folder.glob(f"{key['bundle_id']}-onnx-*")
    assert json.loads(report.read_text()) == found
    printed = table("verify", *model)
    verdicts = printed.splitlines()
    assert verdicts[0].startswith("passed: samclip-test on onnx fp32, ")
    assert all(each.startswith("passed: ") for each in verdicts)
    assert any(each.startswith("passed: samclip-test on openvino ") for each in verdicts)
    listed = table("verify", *model, "--runtime", "onnx", "--checks").splitlines()
    assert listed[0].startswith("passed: ")
    assert len(listed) > len(found["checks"])


def test_the_command_names_artifacts_that_are_not_there(tiny_bundle: Path) -> None:
    model = ("--model", str(tiny_bundle))
    assert "onnx fp32" in fails("verify", *model, "--precision", "int8")
    assert "Core ML" in fails("verify", *model, "--runtime", "coreml")
    assert "onnx-gpu" in fails("verify", *model, "--runtime", "onnx", "--device", "cuda")
    assert "samclip-test" in fails("verify", *model, "--compute-units", "cpu_only")
