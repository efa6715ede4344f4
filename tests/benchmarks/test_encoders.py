from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.encoders import count, count_by_module
from benchmarks.table import read_table
from samclip_sdk.modeling.build import build_model
from samclip_sdk.modeling.config import PRESETS
from tests.tiny_config import PYRAMID_STUDENT, STUDENT


@pytest.fixture
def presets() -> Iterator[None]:
    """Two small ones; what was there is put back in its order, which error messages show."""
    small = {"small": PYRAMID_STUDENT, "student": STUDENT}
    with mock.patch.dict(PRESETS, small, clear=True):
        yield


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["encoders", *arguments])
    return done.exit_code, done.output


@pytest.mark.slow
@pytest.mark.usefixtures("presets")
def test_counts_and_times_on_small_models(tmp_path: Path) -> None:
    sizes = ("--resolution", "32", "--resolution", "64")
    timing = ("--rounds", "2", "--seconds", "0", "--threads", "1")
    code, said = run("small", *sizes, *timing, "--output", str(tmp_path / "found.jsonl"))
    assert code == 0, said
    (part,) = read_table(tmp_path / "found.jsonl").parts
    assert part.splits() == ["32", "64"]
    small, large = (part.metrics("small", size) for size in ("32", "64"))
    # Convolutions take four times as many; what follows a mean over the map takes the same.
    assert 3.9 * small["flop"].value < large["flop"].value < 4 * small["flop"].value
    # As it is exported: BatchNorm's four values a channel have become one bias.
    encoder = build_model(PYRAMID_STUDENT).image_encoder
    own = sum(each.numel() for each in encoder.parameters())
    biases = sum(
        each.numel() for name, each in encoder.named_buffers() if name.endswith("running_mean")
    )
    assert small["parameters"].value == own + biases
    for each in (small, large):
        assert 0 < each["ms"].low <= each["ms"].value <= each["ms"].high
        assert each["ms"].n == 2
    assert "| preset | parameters, M | GFLOP, 32 px | GFLOP, 64 px | ms, 32 px |" in said


@pytest.mark.usefixtures("presets")
def test_counting_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("export.bundle_writer.write_bundle", None)
    path = tmp_path / "found.jsonl"
    code, said = run("--resolution", "64", "--count-only", "--output", str(path))
    assert code == 0, said
    (part,) = read_table(path).parts
    assert part.subjects == ["small", "student"]
    assert set(part.metrics("small", "64")) == {"parameters", "flop"}
    assert "no time was measured yet" in said


def test_the_operations_of_every_graph_are_counted_by_module() -> None:
    found = count_by_module(PYRAMID_STUDENT, resolution=64)
    encoder = found["image_encoder@64"]
    assert encoder[""] == count(PYRAMID_STUDENT, resolution=64)["flop"]
    assert 0 < encoder["backbone.conv_stem"] < encoder["backbone"] < encoder[""]
    assert min(found[name][""] for name in ("clip_head@64", "text_encoder", "mask_decoder")) > 0
