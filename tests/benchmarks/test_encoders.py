from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.costs import EncoderCost, EncoderCosts, find_presets, render_encoders
from benchmarks.record import describe_environment
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
    code, said = run("small", *sizes, *timing, "--output", str(tmp_path / "found.json"))
    assert code == 0, said
    found = EncoderCosts.model_validate_json((tmp_path / "found.json").read_bytes())
    assert [(each.preset, each.resolution) for each in found.encoders] == [
        ("small", 32),
        ("small", 64),
    ]
    small, large = found.encoders
    # Convolutions take four times as many; what follows a mean over the map takes the same.
    assert 3.9 * small.flop < large.flop < 4 * small.flop
    # As it is exported: BatchNorm's four values a channel have become one bias.
    encoder = build_model(PYRAMID_STUDENT).image_encoder
    own = sum(each.numel() for each in encoder.parameters())
    biases = sum(
        each.numel() for name, each in encoder.named_buffers() if name.endswith("running_mean")
    )
    assert small.parameters == own + biases
    assert all(len(each.rounds_p50_ms) == 2 for each in found.encoders)
    assert all(ms > 0 for each in found.encoders for ms in each.rounds_p50_ms)
    assert "| preset | parameters, M | GFLOP, 32 px | GFLOP, 64 px | ms, 32 px |" in said


@pytest.mark.usefixtures("presets")
def test_counting_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.operations.write_bundle", None)
    path = tmp_path / "found.json"
    code, said = run("--resolution", "64", "--count-only", "--output", str(path))
    assert code == 0, said
    found = json.loads(path.read_bytes())["encoders"]
    assert [(each["preset"], each["rounds_p50_ms"]) for each in found] == [
        ("small", []),
        ("student", []),
    ]
    assert "no time was measured yet" in said


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("huge",), "there is no preset 'huge': vit_b, vit_l, vit_h,"),
        (("mobile", "--resolution", "500"), "resolution 500 is not a positive multiple of 32"),
    ],
)
def test_what_cannot_be_is_one_line(arguments: tuple[str, ...], told: str, tmp_path: Path) -> None:
    code, said = run(*arguments, "--output", str(tmp_path / "found.json"))
    assert code == 1
    assert said.startswith(f"error: {told}")
    assert said.count("\n") == 1


def cost(resolution: int, *rounds_ms: float) -> EncoderCost:
    return EncoderCost(
        preset="mobile",
        resolution=resolution,
        parameters=5_338_056,
        flop=7_700_865_024,
        rounds_p50_ms=rounds_ms,
    )


def test_the_table() -> None:
    costs = EncoderCosts(
        environment=describe_environment(["encoders"]),
        seconds=1.0,
        threads=2,
        encoders=(cost(512, 41.5, 40.25, 44.0), cost(1024)),
    )
    text = render_encoders(costs)
    assert text.startswith(
        "| preset | parameters, M | GFLOP, 512 px | GFLOP, 1024 px | ms, 512 px | ms, 1024 px |\n"
    )
    assert "| `mobile` | 5.3 | 7.7 | 7.7 | 41.5 (40.2–44) | – |\n" in text
    assert "2 threads" in text


def test_large_encoders_are_counted_when_they_are_asked_for() -> None:
    assert {"vit_l", "vit_h"} & find_presets(()).keys() == set()
    assert list(find_presets(("vit_l", "mobile"))) == ["vit_l", "mobile"]
