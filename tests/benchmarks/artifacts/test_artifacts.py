"""Every artifact of a checkpoint, measured, kept and shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.artifacts.record import Artifacts, render
from benchmarks.pages import RECORDS, ROOT
from benchmarks.record import read_record

PUBLISHED = ROOT / RECORDS / "artifacts.json"


def test_both_presets_are_there_in_every_precision() -> None:
    for model in read_record(Artifacts, PUBLISHED).models:
        kinds = {(row.runtime, row.precision) for row in model.artifacts}
        assert kinds == {
            *(("onnx", each) for each in ("fp32", "fp16", "int8")),
            *(("coreml", each) for each in ("fp16", "int8", "palette6")),
            *(("tensorrt", each) for each in ("fp32", "fp16", "int8")),
        }
        for row in model.artifacts:
            assert bool(row.measurements) == (row.runtime != "tensorrt")
        assert all(bool(row.measurements) != model.model.random_weights for row in model.sets)


def test_rows_of_the_tables() -> None:
    text = render(read_record(Artifacts, PUBLISHED))
    assert "| onnx int8 | 12.7 | 0.9891 | 0.9788 | 0.9889 | 0.9990 |" in text
    assert "| image_encoder@128 | onnx fp32 | 8.38 | 0.0 | – | 1.8e-05 | – |" in text
    assert text.count("## ") == 2


def test_a_precision_that_is_none_is_refused_before_any_work(tmp_path: Path) -> None:
    place = tmp_path / "artifacts.json"
    command = ["artifacts", "random:tiny", "--onnx", "int4", "--output", str(place)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 1
    assert "there is no precision int4 here" in result.stderr
    assert not place.exists()


@pytest.mark.slow
def test_a_checkpoint_is_measured_and_others_stay(tiny_checkpoint: Path, tmp_path: Path) -> None:
    place = tmp_path / "artifacts.json"
    place.write_bytes(PUBLISHED.read_bytes())
    command = ["artifacts", str(tiny_checkpoint), "--onnx", "fp32", "--coreml", "fp16"]
    result = CliRunner().invoke(app, [*command, "--output", str(place)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    *others, found = read_record(Artifacts, place).models
    assert tuple(others) == read_record(Artifacts, PUBLISHED).models
    assert (found.model.name, found.model.random_weights) == ("samclip-test", True)
    assert {(row.runtime, row.precision) for row in found.sets} == {
        ("onnx", "fp32"),
        ("coreml", "fp16"),
    }
    assert all(row.bytes > 0 for row in found.artifacts)
    assert sum(row.seconds for row in found.artifacts) > 0
