"""The command line: answers on standard output, one line of error on standard error, exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from samclip_sdk import SamClip
from samclip_sdk.cli.app import app
from samclip_sdk.errors import RuntimeMissingError
from samclip_sdk.masks import rle_to_mask
from samclip_sdk.runtimes.options import OnProgress
from tests.fake_source import fake_client, write_picture


@pytest.fixture
def image(tmp_path: Path) -> str:
    return str(write_picture(tmp_path / "picture.png"))


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Puts a fake model behind `SamClip.load`; holds how it was called."""
    calls: list[dict[str, Any]] = []

    def load(runtime: str, *, on_progress: OnProgress, **options: Any) -> SamClip:
        on_progress("opening", 0, 1)
        calls.append({"runtime": runtime, **options})
        return fake_client(tmp_path)[0]

    monkeypatch.setattr(SamClip, "load", load)
    return calls


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def answer(*arguments: str) -> dict[str, Any]:
    """The one line of JSON that --json prints."""
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    assert result.stdout.count("\n") == 1
    content: dict[str, Any] = json.loads(result.stdout)
    return content


def fails(*arguments: str) -> str:
    """The one line of error of a run that fails."""
    result = run(*arguments)
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("error: ")
    return result.stderr


@pytest.mark.usefixtures("loaded")
def test_classify(image: str) -> None:
    found = answer("classify", image, "zebra", "dog")
    assert found["labels"] == ["zebra", "dog"]
    assert found["probs"][1] > 0.9
    table = run("classify", image, "zebra", "dog").stdout
    assert table.index("dog") < table.index("zebra")
    assert " ms" in table


@pytest.mark.usefixtures("loaded")
def test_text_writes_overlay_and_coco(image: str, tmp_path: Path) -> None:
    overlay, coco = tmp_path / "overlay.png", tmp_path / "masks.json"
    found = answer("text", image, "dog", "zebra", "-o", str(overlay), "-o", str(coco))
    assert [each["label"] for each in found["annotations"]] == ["dog"]
    with Image.open(overlay) as drawn:
        assert drawn.size == (100, 50)
        with Image.open(image) as plain:
            assert np.asarray(drawn.convert("RGB")).tolist() != np.asarray(plain).tolist()
    mask = rle_to_mask(json.loads(coco.read_text())["annotations"][0]["segmentation"])
    assert mask[:40, :40].mean() > 0.9
    assert "absent" in run("text", image, "dog", "zebra").stdout


@pytest.mark.usefixtures("loaded")
def test_text_options(image: str) -> None:
    assert not answer("text", image, "dog", "--threshold", "1")["annotations"]
    found = answer("text", image, "dog", "--no-refine", "--mask-threshold", "0", "--seed", "3")
    assert found["annotations"][0]["points"] == []
    found = answer("text", image, "dog", "--points-per-class", "1")
    assert len(found["annotations"][0]["points"]) == 1


@pytest.mark.usefixtures("loaded")
def test_segment(image: str) -> None:
    found = answer("segment", image, "--box", "25,12,75,38", "--box", "0,0,50,25")
    assert [each["prompt_index"] for each in found["annotations"]] == [0, 1]
    np.testing.assert_allclose(found["annotations"][0]["bbox"], [25, 12, 50, 26], atol=2)
    assert len(answer("segment", image, "--point", "9,9", "--multimask")["annotations"]) == 3
    found = answer("segment", image, "--point", "9,9", "--point", "50,9,0", "--box", "0,0,50,25")
    assert len(found["annotations"]) == 1
    assert "predicted IoU" in run("segment", image, "--point", "9,9").stdout


@pytest.mark.usefixtures("loaded")
def test_embed(image: str, tmp_path: Path) -> None:
    found = answer("embed", image, "-o", str(tmp_path / "image.npy"))
    assert np.load(tmp_path / "image.npy").shape == (1, 256)
    texts = answer("embed", "--text", "a photo of a dog.", "--text", "cat")
    assert texts["names"] == ["a photo of a dog.", "cat"]
    assert np.dot(texts["embeddings"][0], found["embeddings"][0]) == pytest.approx(1, abs=1e-5)
    assert "256 numbers" in run("embed", image).stdout


def test_model_runtime_and_precision_are_passed_on(
    image: str, loaded: list[dict[str, Any]]
) -> None:
    options = ("--model", "here.zip", "--runtime", "onnx", "--precision", "fp16", "--threads", "2")
    answer("classify", image, "dog", *options)
    assert loaded == [{"runtime": "onnx", "model": "here.zip", "precision": "fp16", "threads": 2}]


@pytest.mark.usefixtures("loaded")
def test_errors_are_one_line_and_code_1(image: str, tmp_path: Path) -> None:
    assert "no such file" in fails("text", str(tmp_path / "none.png"), "dog")
    assert "outside the image" in fails("segment", image, "--point", "500,9")
    assert "reversed" in fails("segment", image, "--box", "9,9,1,1")
    assert "label 7" in fails("segment", image, "--point", "9,9,7")
    assert "text 0 is empty" in fails("classify", image, "")
    assert "numbers of prompts" in fails(
        "segment", image, "--point", "9,9", "--box", "0,0,9,9", "--box", "0,0,8,8"
    )


def test_a_model_that_is_not_there(image: str) -> None:
    assert "there is no bundle none.zip" in fails("classify", image, "dog", "--model", "none.zip")
    assert "there is no runtime 'tpu'" in fails("text", image, "dog", "--runtime", "tpu")
    assert "there is no bundle" in fails("info", "none.zip")
    assert "there is no bundle" in fails("verify", "none.zip")


@pytest.mark.usefixtures("loaded")
@pytest.mark.parametrize(
    "arguments",
    [
        ("classify", "IMAGE"),
        ("text", "IMAGE", "dog", "--threshold", "2"),
        ("text", "IMAGE", "dog", "-o", "masks.gif"),
        ("text", "IMAGE", "dog", "-o", "no folder/masks.png"),
        ("segment", "IMAGE"),
        ("segment", "IMAGE", "--point", "9"),
        ("segment", "IMAGE", "--point", "x,y"),
        ("segment", "IMAGE", "--point", "9,9,0.5"),
        ("segment", "IMAGE", "--box", "1,2,3"),
        ("embed",),
        ("embed", "IMAGE", "--text", "dog"),
        ("embed", "IMAGE", "-o", "vector.txt"),
        ("fly",),
    ],
)
def test_wrong_usage_is_code_2(image: str, arguments: tuple[str, ...]) -> None:
    result = run(*(image if each == "IMAGE" else each for each in arguments))
    assert result.exit_code == 2, result.output
    assert result.stdout == ""


@pytest.mark.usefixtures("loaded")
def test_a_warning_is_one_line(image: str) -> None:
    result = run("classify", image, "dog", "x" * 10_000, "--json")
    assert result.exit_code == 0
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("warning: 'xxx")
    json.loads(result.stdout)


def test_info(tiny_bundle: Path) -> None:
    found = answer("info", str(tiny_bundle))
    assert found["manifest"]["name"] == "samclip-test"
    table = run("info", str(tiny_bundle)).stdout
    assert "mask_decoder" in table
    assert found["id"] in table


def test_info_on_runtimes() -> None:
    found = {each["name"]: each for each in answer("info", "--runtimes")["runtimes"]}
    assert found["onnx CPUExecutionProvider"]["loads"]
    assert not found["tensorrt"]["loads"]
    table = run("info", "--runtimes").stdout
    assert found["onnx CPUExecutionProvider"]["version"] in table
    assert "why not" in table


def test_verify(tiny_bundle: Path, user_folders: Path) -> None:
    found = answer("verify", str(tiny_bundle), "--runtime", "onnx")
    assert found["passed"]
    (report,) = (user_folders / "data" / "samclip-sdk" / "verified").glob(f"{found['bundle_id']}-*")
    assert json.loads(report.read_text()) == found
    table = run("verify", str(tiny_bundle)).stdout
    assert "FAILED" not in table


def test_verify_of_artifacts_that_are_not_there(tiny_bundle: Path) -> None:
    bundle = str(tiny_bundle)
    assert "onnx fp32" in fails("verify", bundle, "--precision", "int8")
    assert "Core ML" in fails("verify", bundle, "--runtime", "coreml")


def test_compile_without_a_gpu(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_gpu() -> None:
        raise RuntimeMissingError("there is no GPU")

    monkeypatch.setattr("samclip_sdk.runtimes.trt_cuda.current_gpu", no_gpu)
    assert "there is no GPU" in fails("compile", str(tiny_bundle))
