"""`python -m benchmarks latency | latency-report | compare`."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from benchmarks.__main__ import app
from benchmarks.speed.report import render
from benchmarks.speed.schema import read_latency

FAKE = "tests.benchmarks.speed.fake_subject:Fake"
QUICK = ("--rounds", "1", "--seconds", "0", "--at-least", "1")
START, END = "<!-- latency -->", "<!-- /latency -->"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments])


def test_measured_reported_and_compared(tmp_path: Path) -> None:
    output, page, chart = (tmp_path / name for name in ("latency.json", "page.md", "chart.png"))
    page.write_text(f"{START}\n{END}\n", encoding="utf-8")
    specs = (f"{FAKE},sleep_ms=1", f"{FAKE},key=gone,fails=open")
    subjects = [part for spec in specs for part in ("--subject", spec)]
    done = run("latency", *subjects, *QUICK, "--output", output, "--page", page)
    assert done.exit_code == 0, done.output
    record = read_latency(output)
    assert record.settings.baseline == "fake"
    assert [row.key for row in record.subjects] == ["fake"]
    assert [failure.at for failure in record.failures] == ["open"]
    assert page.read_text(encoding="utf-8") == f"{START}\n{render(record)}{END}\n"

    page.write_text(f"{START}\n{END}\n", encoding="utf-8")
    shown = run("latency-report", output, "--page", page, "--figure", chart)
    assert shown.exit_code == 0, shown.output
    assert render(record) in page.read_text(encoding="utf-8")
    assert chart.read_bytes().startswith(b"\x89PNG")

    compared = run("compare", output, output)
    assert compared.exit_code == 0, compared.output
    assert compared.stdout.count("| 1.00 |") == 5


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--subject", "samclop"), "there is no subject 'samclop'"),
        (("--subject", FAKE, "--subject", FAKE), "is there twice"),
        (("--subject", FAKE, "--output", "no folder/a.json"), "folder of no folder/a.json"),
        (("--subject", FAKE, "--page", "README.md"), "no place for the table"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(
    arguments: tuple[str, ...], problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.speed.command.measure_subjects", None)
    monkeypatch.chdir(Path(__file__).parents[3])
    failed = run("latency", *arguments)
    assert failed.exit_code == 1
    assert problem in failed.stderr


def test_where_nothing_was_measured_the_file_says_why(tmp_path: Path) -> None:
    output = tmp_path / "latency.json"
    failed = run("latency", "--subject", f"{FAKE},fails=open", *QUICK, "--output", output)
    assert failed.exit_code == 1
    assert "nothing was measured" in failed.stderr
    assert read_latency(output).failures[0].reason.startswith("RuntimeError: the weights")
