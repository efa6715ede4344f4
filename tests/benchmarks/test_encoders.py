from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from benchmarks import encoders
from benchmarks.encoders import count, count_by_module
from benchmarks.speed.measure import HowLong
from samclip_sdk.modeling.build import build_model
from samclip_sdk.modeling.config import PRESETS
from tests.benchmarks.measured import found_by
from tests.tiny_config import PYRAMID_STUDENT


@pytest.fixture
def presets() -> Iterator[None]:
    """One small one; what was there is put back in its order, which error messages show."""
    with mock.patch.dict(PRESETS, {"small": PYRAMID_STUDENT}, clear=True):
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("presets")
def test_counts_and_times_on_small_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders, "RESOLUTIONS", (32, 64))
    monkeypatch.setattr(encoders, "_HOW_LONG", HowLong(rounds=2, seconds=0))
    part = found_by(tmp_path / "found.jsonl", "encoders")
    assert part.splits() == ["32", "64"]
    small, large = (part.metrics("small", size) for size in ("32", "64"))
    # Convolutions take four times as many; what follows a mean over the map takes the same.
    assert 3.9 * small["flop"].value < large["flop"].value < 4 * small["flop"].value
    # As it is exported: BatchNorm's four values a channel have become one bias.
    encoder = build_model(PYRAMID_STUDENT).image_encoder
    biases = {name: each for name, each in encoder.named_buffers() if "running_mean" in name}
    exported = [*encoder.parameters(), *biases.values()]
    assert small["parameters"].value == sum(each.numel() for each in exported)
    for each in (small, large):
        assert 0 < each["ms"].low <= each["ms"].value <= each["ms"].high
        assert each["ms"].n == 2


@pytest.mark.usefixtures("presets")
def test_counting_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders, "RESOLUTIONS", (64,))
    monkeypatch.setattr(encoders, "write_bundle", None)
    part = found_by(tmp_path / "found.jsonl", "encoders", "--count-only")
    assert set(part.metrics("small", "64")) == {"parameters", "flop"}


def test_the_operations_of_every_graph_are_counted_by_module() -> None:
    found = count_by_module(PYRAMID_STUDENT, resolution=64)
    encoder = found["image_encoder@64"]
    assert encoder[""] == count(PYRAMID_STUDENT, resolution=64)["flop"]
    assert 0 < encoder["backbone.conv_stem"] < encoder["backbone"] < encoder[""]
    assert min(found[name][""] for name in ("clip_head@64", "text_encoder", "mask_decoder")) > 0
