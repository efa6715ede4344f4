"""`samclip bench`: what is asked of a model, what is told, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from samclip_sdk import OptionError, VerificationError
from samclip_sdk.bundle.open import DEFAULT_MODEL
from samclip_sdk.cli.app import app
from samclip_sdk.device.bench import bench_model, open_model
from samclip_sdk.device.bench_workloads import CLASSES, PRESENT, Workloads, steps_ms
from samclip_sdk.engine.engine import Engine
from samclip_sdk.runtimes.sign_off import write_sign_off
from samclip_sdk.runtimes.source import BundleSource
from tests.drawings import TINY_BUNDLE
from tests.fake_source import FakeSource, picture, write_picture

NAMES = ["encode", "classify", "point", "text3", "three_ways"]


@pytest.fixture
def source(tmp_path: Path) -> FakeSource:
    return FakeSource(tmp_path)


@pytest.fixture
def no_sign_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder in which nothing was verified."""
    monkeypatch.setattr("platformdirs.user_data_path", lambda *_: tmp_path / "data")
    return tmp_path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["bench", *map(str, arguments)])


def test_workloads_do_what_they_say(source: FakeSource) -> None:
    workloads = Workloads(Engine(source), picture=picture())
    assert list(workloads.by_name()) == NAMES
    image = workloads.encode()
    assert source.runs("image_encoder@64") == 1
    assert len(workloads.classify().labels) == CLASSES
    masks = workloads.point()
    assert masks.masks.shape == (1, 50, 100)
    found = workloads.text3()
    assert found.labels == PRESENT
    assert masks.masks.all()
    assert all(mask.all() for mask in found.masks)
    # All of it on the embedding of the first call, and with the text encoder run for three labels.
    assert source.runs("image_encoder@64") == 1
    assert source.runs("text_encoder") == len(PRESENT)
    again, ranked, pointed, texts = workloads.three_ways()
    assert source.runs("image_encoder@64") == 2
    np.testing.assert_array_equal(again.image_tokens, image.image_tokens)
    assert (len(ranked.labels), len(pointed.masks)) == (CLASSES, 1)
    assert texts.labels == PRESENT


@pytest.mark.parametrize("labels", [3, 20, 150])
@pytest.mark.parametrize("text_encoder", [True, False])
def test_three_labels_are_present_whatever_is_asked(
    source: FakeSource, labels: int, text_encoder: bool
) -> None:
    workloads = Workloads(
        Engine(source), picture=picture(), label_count=labels, text_encoder=text_encoder
    )
    found = workloads.text3()
    assert len(found.asked.labels) == labels
    assert len(found) == 3
    assert source.runs("text_encoder") == (3 if text_encoder else 0)


@pytest.mark.parametrize("labels", [2, 151])
def test_a_number_of_labels_that_cannot_be(source: FakeSource, labels: int) -> None:
    with pytest.raises(OptionError, match=r"label_count is .* must be from 3 to 150"):
        Workloads(Engine(source), picture=picture(), label_count=labels)


def test_a_new_text_is_encoded_each_time(source: FakeSource) -> None:
    workloads = Workloads(Engine(source), picture=picture())
    for _ in range(3):
        workloads.new_text()
    assert source.runs("text_encoder") == 3


def test_steps_add_up(source: FakeSource) -> None:
    workloads = Workloads(Engine(source), picture=picture())
    steps = steps_ms(workloads)
    assert list(steps)[-1] == "other"
    assert {"load_image", "preprocess", "image_encoder", "clip_head", "prompt_encoder"} < set(steps)
    assert min(steps.values()) >= 0


def test_a_model_is_benched(tiny_checkpoint: Path) -> None:
    told: list[tuple[str, int, int]] = []
    report = bench_model(
        tiny_checkpoint,
        image=picture(),
        label_count=5,
        seconds=0,
        on_progress=lambda *each: told.append(each),
    )
    assert list(report.workloads) == NAMES
    assert told == [
        (f"timing {name}", index, 7) for index, name in enumerate([*NAMES, "the steps", "texts"])
    ]
    for each in report.workloads.values():
        assert each.warm.n == 10
        assert each.first_ms > 0
        assert each.images_per_s == pytest.approx(1000 / each.warm.mean_ms, rel=0.01)
    assert "text_encoder" not in report.steps
    assert {name: timing.n for name, timing in report.texts.items()} == {
        "text": 10,
        "label computed": 3,
        "label cached": 10,
    }
    assert (report.runtime, report.precision, report.label_count) == ("torch", "fp32", 5)
    assert report.picture_px == (100, 50)
    assert report.artifact_bytes == (tiny_checkpoint / "model.safetensors").stat().st_size
    assert report.peak_rss_bytes is None or report.peak_rss_bytes > 2**24
    content = json.loads(report.model_dump_json())
    assert content["workloads"]["point"]["warm"]["n"] == 10


def test_what_is_not_verified_is_not_timed(no_sign_off: Path) -> None:
    message = r"never verified on this device: run `samclip verify --model .*-tiny --runtime onnx"
    with pytest.raises(VerificationError, match=message):
        open_model(TINY_BUNDLE, runtime="onnx")
    result = run("--runtime", "onnx")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: onnx fp32 of {DEFAULT_MODEL} was never verified")
    assert open_model(TINY_BUNDLE, runtime="onnx", unverified=True).verified is False
    source = open_model(TINY_BUNDLE, runtime="onnx", unverified=True).engine.source
    assert isinstance(source, BundleSource)
    write_sign_off(source.sign_off_key.path, report="{}")
    opened = open_model(TINY_BUNDLE, runtime="onnx")
    assert opened.verified is True
    assert opened.has_text_encoder


def test_artifact_bytes_are_of_the_files_that_are_read(no_sign_off: Path) -> None:
    opened = open_model(TINY_BUNDLE, runtime="onnx", unverified=True)
    onnx = TINY_BUNDLE / "onnx"
    read = [
        path
        for path in onnx.iterdir()
        if (path.suffix == ".weights" and "fp32" in path.name)
        or (path.suffix == ".onnx" and not {".fp16", ".int8"} & set(path.suffixes))
        if not path.name.startswith(("letterbox_", "text_to_mask_"))  # which the SDK does not run
    ]
    assert opened.artifact_bytes == sum(path.stat().st_size for path in read)


def test_the_command(no_sign_off: Path) -> None:
    image = write_picture(no_sign_off / "picture.png")
    options = (image, "--model", TINY_BUNDLE, "--runtime", "onnx", "--threads", "1")
    options += ("--seconds", "0")
    result = run(*options, "--unverified", "--json")
    assert result.exit_code == 0, result.output
    assert result.stdout.count("\n") == 1
    found: dict[str, Any] = json.loads(result.stdout)
    assert (found["verified"], found["threads"], found["picture_px"]) == (False, 1, [100, 50])
    assert found["steps"]["load_image"]["p50_ms"] > 0
    table = run(*options, "--unverified").stdout
    for part in (*NAMES, "image_encoder", "other", "NOT VERIFIED"):
        assert part in table


def test_a_checkpoint_needs_no_verification(tiny_checkpoint: Path) -> None:
    opened = open_model(tiny_checkpoint)
    assert opened.verified
    assert opened.engine.source.runtime == "torch"
    assert opened.artifact_bytes == (tiny_checkpoint / "model.safetensors").stat().st_size
