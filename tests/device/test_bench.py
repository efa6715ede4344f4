"""`samclip bench`: what is asked of a model, what is told, and what is refused."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from samclip_sdk.bundle.open import DEFAULT_MODEL
from samclip_sdk.device.bench import bench_model, open_model
from samclip_sdk.device.bench_workloads import CLASSES, PRESENT, Workloads
from samclip_sdk.engine.engine import Engine
from samclip_sdk.errors import VerificationError
from samclip_sdk.runtimes.sign_off import write_sign_off
from samclip_sdk.runtimes.source import BundleSource
from tests.command import answer, fails, run, table
from tests.drawings import TINY_BUNDLE
from tests.fake_source import FakeSource, sample_image, write_image
from tests.refusals import refused

NAMES = ["encode", "classify", "point", "text3", "three_ways"]


@pytest.fixture
def source(tmp_path: Path) -> FakeSource:
    return FakeSource(tmp_path)


@pytest.fixture
def no_sign_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder in which nothing was verified."""
    monkeypatch.setattr("platformdirs.user_data_path", lambda *_: tmp_path / "data")
    return tmp_path


def test_workloads_do_what_they_say(source: FakeSource) -> None:
    workloads = Workloads(Engine(source), image=sample_image())
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


def test_a_model_is_benched(tiny_checkpoint: Path) -> None:
    told: list[tuple[str, int, int]] = []
    report = bench_model(
        partial(open_model, tiny_checkpoint),
        image=sample_image(),
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
    assert report.image_px == (100, 50)
    assert report.verified
    assert report.artifact_bytes == (tiny_checkpoint / "model.safetensors").stat().st_size
    assert report.peak_rss_bytes is None or report.peak_rss_bytes > 2**24
    content = json.loads(report.model_dump_json())
    assert content["workloads"]["point"]["warm"]["n"] == 10


def test_what_is_not_verified_is_not_timed(no_sign_off: Path) -> None:
    command = f"samclip verify --model {TINY_BUNDLE} --runtime onnx"
    refused(lambda: open_model(TINY_BUNDLE, runtime="onnx"), VerificationError, command)
    assert f"onnx fp32 of {DEFAULT_MODEL}" in fails("bench", "--runtime", "onnx")
    assert open_model(TINY_BUNDLE, runtime="onnx", unverified=True).verified is False
    source = open_model(TINY_BUNDLE, runtime="onnx", unverified=True).engine.source
    assert isinstance(source, BundleSource)
    write_sign_off(source.sign_off_key.path, report="{}")
    opened = open_model(TINY_BUNDLE, runtime="onnx")
    assert opened.verified is True
    assert opened.has_text_encoder


def test_the_command(no_sign_off: Path) -> None:
    image = write_image(no_sign_off / "image.png")
    options = (image, "--model", TINY_BUNDLE, "--runtime", "onnx", "--threads", "1")
    options += ("--seconds", "0")
    found = answer("bench", *options, "--unverified")
    assert (found["verified"], found["threads"], found["image_px"]) == (False, 1, [100, 50])
    assert found["steps"]["load_image"]["p50_ms"] > 0
    printed = table("bench", *options, "--unverified")
    for part in (*NAMES, "image_encoder", "other", "NOT VERIFIED"):
        assert part in printed


def test_nobody_is_warned_of_made_up_labels(no_sign_off: Path) -> None:
    image = write_image(no_sign_off / "image.png")
    told = run("bench", image, *("--runtime", "onnx", "--seconds", "0", "--unverified"))
    assert told.exit_code == 0
    assert "warning" not in told.stderr
