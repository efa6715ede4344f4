from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.encoders import count
from benchmarks.table import read_table
from samclip_sdk.modeling.build import build_model
from samclip_sdk.modeling.config import PRESETS
from tests.benchmarks.measured import part_of, shown
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


def test_operations_by_hand() -> None:
    """4x4 tokens of width 32; windows of 3 make 36 tokens of them in one layer's attention."""
    tokens, width, neck = 16, 32, 32
    patches = 2 * tokens * width * 3 * 16 * 16

    def attention(queries: int, keys: int, side: int) -> int:
        positions = 2 * 2 * queries * side * width  # by row and by column
        return 2 * 2 * queries * keys * width + positions

    layer = 2 * tokens * width * 4 * width + 2 * 2 * tokens * width * 4 * width
    after = 2 * tokens * neck * width + 2 * tokens * neck * neck * 9
    found = count(STUDENT, resolution=64)
    assert found["flop"] == (
        patches + 2 * layer + after + attention(36, 9, 3) + attention(16, 16, 4)
    )
    encoder = build_model(STUDENT).image_encoder
    assert found["parameters"] == sum(each.numel() for each in encoder.parameters())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("huge",), "there is no preset 'huge': vit_b, vit_l, vit_h,"),
        (("mobile", "--resolution", "500"), "resolution 500 is not a positive multiple of 32"),
    ],
)
def test_what_cannot_be_is_one_line(arguments: tuple[str, ...], told: str, tmp_path: Path) -> None:
    code, said = run(*arguments, "--output", str(tmp_path / "found.jsonl"))
    assert code == 1
    assert said.startswith(f"error: {told}")
    assert said.count("\n") == 1


def test_the_table() -> None:
    ms = {"value": 41.5, "low": 40.25, "high": 44}
    rows = [
        {"subject": "mobile", "split": size, "metric": metric, **figure}
        for size, times in (("512", {"ms": ms}), ("1024", {}))
        for metric, figure in {
            "parameters": {"value": 5_338_056},
            "flop": {"value": 7.7e9},
            **times,
        }.items()
    ]
    text = shown("encoders", part_of("encoders", *rows, count_only=False, threads=2))
    assert text.startswith(
        "| preset | parameters, M | GFLOP, 512 px | GFLOP, 1024 px | ms, 512 px | ms, 1024 px |\n"
    )
    assert "| `mobile` | 5.3 | 7.7 | 7.7 | 41.5 (40.2–44) | – |\n" in text
    assert ", 2 threads; " in text
