"""This checkout beside an earlier commit: the table, and how the commit is reached."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.pages import render
from benchmarks.since import unpack
from benchmarks.table import Table
from tests.benchmarks.measured import found_by


def test_before_anything_was_measured_the_page_says_so() -> None:
    assert render("since@since", lambda _: Table()) == "This was not measured yet.\n"


def test_a_commits_packages_are_unpacked(tmp_path: Path) -> None:
    folder = unpack("HEAD", tmp_path)
    assert (folder / "samclip_sdk/__init__.py").is_file()


@pytest.mark.slow
def test_the_command(tmp_path: Path) -> None:
    asked = ["since", "HEAD", "--rounds", 1, "--seconds", 0]
    part = found_by(tmp_path / "since.jsonl", *asked)
    assert not part.run.settings["failures"]
    # The same code and model, but for what is not committed: all but the times is alike.
    subjects = part.run.settings["subjects"]
    commit = part.run.settings["commit"]
    assert subjects[commit] == subjects["now"]
    assert subjects[f"{commit}-auto"]["name"] == subjects["now-auto"]["name"]
    assert part.value("now", "flop", "step mask_decoder") > 1e8
    assert part.get(commit, "ms", "step postprocess")
    assert part.get("now-auto", "ms", "text3")
