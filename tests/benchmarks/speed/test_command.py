"""`python -m benchmarks speed | compare`."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.speed import published
from benchmarks.speed.subject import WORKLOADS
from benchmarks.table import read_table
from tests.benchmarks.measured import found_by, run

FAKE = "tests.benchmarks.speed.fake_subject:Fake"
QUICK = ("--rounds", "1", "--seconds", "0", "--min-runs", "1")


def test_measured_shown_and_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    specs = (f"{FAKE},sleep_ms=1", f"{FAKE},key=gone,fails=open")
    code, said = run("speed", *(part for spec in specs for part in ("--subject", spec)), *QUICK)
    assert code == 0, said
    assert "| text-to-mask, ms |" in said
    (part,) = read_table(Path("runs/speed.jsonl")).parts
    assert (part.run.settings["baseline"], part.subjects) == ("fake", ["fake"])
    # Nothing else was written.
    assert [each.as_posix() for each in Path().rglob("*")] == ["runs", "runs/speed.jsonl"]
    code, said = run("compare", "runs/speed.jsonl", "runs/speed.jsonl")
    assert code == 0, said
    assert said.count("| 1.00×") >= len(WORKLOADS)


def test_the_default_model_beside_its_peers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = f"{FAKE},skills=image_to_masks,key={published.DEFAULT_ONNX}"
    monkeypatch.setattr(published, "default_specs", lambda _runs: (own, "not_installed:Peer"))
    monkeypatch.setattr(published, "verify_sets", lambda *_arguments: {})
    monkeypatch.setattr(published, "measure_startup", lambda *_: None)
    also = ("--also", f"{FAKE},key=another")
    part = found_by(tmp_path / "speed.jsonl", "speed", *QUICK, *also)
    assert part.subjects == [published.DEFAULT_ONNX, "another"]
    settings = part.run.settings
    assert settings["baseline"] == published.DEFAULT_ONNX
    (failure,) = settings["failures"]
    assert (failure["at"], "pip install -e '.[peers]'" in failure["reason"]) == ("open", True)


def test_where_nothing_was_measured_it_is_told_why(tmp_path: Path) -> None:
    output = tmp_path / "speed.jsonl"
    code, said = run("speed", "--subject", f"{FAKE},fails=open", *QUICK, "--output", output)
    assert code == 1
    assert "open: failed, RuntimeError: the weights" in said
    assert not output.exists()
