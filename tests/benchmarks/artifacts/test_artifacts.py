"""Every artifact of a checkpoint, measured, kept and shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.artifacts.measure import Runtimes
from benchmarks.artifacts.report import render

ROOT = Path(__file__).parents[3]


def read(path: Path) -> Runtimes:
    return Runtimes.model_validate_json(path.read_bytes())


def test_the_page_shows_what_was_measured() -> None:
    table = render(read(ROOT / "docs" / "runtimes.json"))
    assert table in (ROOT / "docs" / "runtimes.md").read_text(encoding="utf-8")


def test_both_presets_are_there_in_every_precision() -> None:
    for model in read(ROOT / "docs" / "runtimes.json").models:
        kinds = {(row.runtime, row.precision) for row in model.artifacts}
        assert kinds == {
            *(("onnx", each) for each in ("fp32", "fp16", "int8")),
            *(("coreml", each) for each in ("fp16", "int8", "palette6")),
            *(("tensorrt", each) for each in ("fp32", "fp16", "int8")),
        }
        for row in model.artifacts:
            assert bool(row.measurements) == (row.runtime != "tensorrt")
        assert all(bool(row.measurements) != model.random_weights for row in model.sets)


def test_a_page_without_a_place_is_refused_before_any_work(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Page")
    result = CliRunner().invoke(app, ["runtimes", "random:tiny", "--page", str(page)])
    assert result.exit_code == 1
    assert "no place for the table" in result.stderr


@pytest.mark.slow
def test_a_checkpoint_is_measured_and_others_stay(tiny_checkpoint: Path, tmp_path: Path) -> None:
    output, page = tmp_path / "runtimes.json", tmp_path / "page.md"
    output.write_bytes((ROOT / "docs" / "runtimes.json").read_bytes())
    page.write_text("<!-- runtimes -->\n<!-- /runtimes -->\n")
    command = ["runtimes", str(tiny_checkpoint), "--onnx", "fp32", "--coreml", "fp16"]
    result = CliRunner().invoke(
        app, [*command, "--output", str(output), "--page", str(page)], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    *others, found = read(output).models
    assert tuple(others) == read(ROOT / "docs" / "runtimes.json").models
    assert (found.name, found.random_weights) == ("samclip-test", True)
    assert {(row.runtime, row.precision) for row in found.sets} == {
        ("onnx", "fp32"),
        ("coreml", "fp16"),
    }
    assert all(row.bytes > 0 for row in found.artifacts)
    assert sum(row.seconds for row in found.artifacts) > 0
    assert render(read(output)) in page.read_text()
