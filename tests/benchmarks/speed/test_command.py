"""`python -m benchmarks speed | compare`."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from benchmarks.__main__ import app
from benchmarks.speed import published
from benchmarks.speed.subject import WORKLOADS
from benchmarks.table import read_table

FAKE = "tests.benchmarks.speed.fake_subject:Fake"
QUICK = ("--rounds", "1", "--seconds", "0", "--at-least", "1")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments])


def test_measured_shown_and_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    specs = (f"{FAKE},sleep_ms=1", f"{FAKE},key=gone,fails=open")
    done = run("speed", *(part for spec in specs for part in ("--subject", spec)), *QUICK)
    assert done.exit_code == 0, done.output
    assert "The figures are in runs/speed.jsonl" in done.stderr
    (part,) = read_table(Path("runs/speed.jsonl")).parts
    assert part.run.settings["baseline"] == "fake"
    assert part.subjects == ["fake"]
    assert [failure["at"] for failure in part.run.settings["failures"]] == ["open"]
    assert "| text-to-mask, ms |" in done.stdout
    # Nothing else was written.
    assert [each.as_posix() for each in Path().rglob("*")] == ["runs", "runs/speed.jsonl"]

    compared = run("compare", "runs/speed.jsonl", "runs/speed.jsonl")
    assert compared.exit_code == 0, compared.output
    assert compared.stdout.count("| 1.00×") >= len(WORKLOADS)


def test_the_default_model_beside_its_peers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = f"{FAKE},skills=picture_to_masks,sleep_ms="
    specs = (
        f"{own}20,key={published.DEFAULT_ONNX}",
        f"{own}60,key=yoloe-11s-seg-onnx-k10",
        "not_installed:Peer",
    )
    monkeypatch.setattr(published, "default_specs", lambda _runs: specs)
    monkeypatch.setattr(published, "verify_sets", lambda *_arguments: {})
    monkeypatch.setattr(published, "measure_startup", lambda *_: None)
    output = tmp_path / "speed.jsonl"
    done = run("speed", *QUICK, "--output", output)
    assert done.exit_code == 0, done.output
    # A peer whose package is missing is told once, in one line, and the others are measured.
    missing = [line for line in done.stderr.splitlines() if "not_installed" in line]
    assert missing == [
        "not_installed:Peer, open: failed, ModuleNotFoundError: No module named 'not_installed'; "
        "peers need pip install -e '.[peers]'"
    ]
    (part,) = read_table(output).parts
    assert part.run.settings["baseline"] == published.DEFAULT_ONNX
    assert len(part.subjects) == 2
    # A verdict would depend on how busy the machine is: `test_tables` has them.
    assert "| not measured |" in done.stdout


def test_where_nothing_was_measured_it_is_told_why(tmp_path: Path) -> None:
    output = tmp_path / "speed.jsonl"
    failed = run("speed", "--subject", f"{FAKE},fails=open", *QUICK, "--output", output)
    assert failed.exit_code == 1
    assert "open: failed, RuntimeError: the weights" in failed.stderr
    assert "nothing was measured" in failed.stderr
    assert not output.exists()
