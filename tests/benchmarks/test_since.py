"""This checkout beside an earlier commit: the table, and how the commit is reached."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.pages import render
from benchmarks.since import unpack
from benchmarks.table import Part, Table, read_table
from tests.benchmarks.measured import cells, part_of, shown


def figure(subject: str, split: str, value: float, metric: str = "ms") -> dict[str, Any]:
    spread = {} if metric in ("flop", "gflops", "peak_rss_bytes") else {"low": value, "high": value}
    return {"subject": subject, "split": split, "metric": metric, "value": value, **spread}


def found() -> Part:
    rows = [
        *(figure(who, "encode", ms) for who, ms in (("abc", 50), ("now", 40))),
        *(figure(who, "text3", ms) for who, ms in (("abc", 20), ("now", 18))),
        *(figure(who, "step image_encoder", ms) for who, ms in (("abc", 45), ("now", 36))),
        figure("now", "step image_encoder", 7.2e9, "flop"),
        *(figure("startup", who, s, "seconds") for who, s in (("abc", 2), ("now", 1))),
        *(figure("startup", who, b, "peak_rss_bytes") for who, b in (("abc", 250e6), ("now", 2e8))),
        figure("machine", "", 400, "gflops"),
    ]
    about = {"name": "a model", "notes": "as usual", "versions": {"onnxruntime": "1.20"}}
    load = {"load_average": [0.5, 0.5, 0.5]}
    told = {"commit": "abc", "subjects": {"abc": about, "now": about}, "rounds": 5, "seconds": 2}
    told |= {"device": {"usable_cores": 2}, "before": load, "after": load}
    return part_of("since", *rows, **told)


def test_bars_and_steps_with_their_share_of_the_machine() -> None:
    text = shown("since@since", found())
    assert cells(text, "encoding") == ["<= 1×", "0.800×", "met"]
    assert cells(text, "text-to-mask of an encoded picture")[1:] == ["0.900×", "**missed**"]
    assert cells(text, "the first answer")[1:] == ["0.500×", "met"]
    assert cells(text, "the first answer: peak memory")[1:] == ["0.800×", "met"]
    # 7.2 GFLOP in 36 ms are 200 GFLOP/s, half of the machine's.
    steps = ["45 (45–45)", "36 (36–36)", "0.800×", "7.20", "50 %"]
    assert cells(text, "image encoder") == steps
    assert cells(text, "letterbox") == ["–"] * 5


def test_before_anything_was_measured_the_page_says_so() -> None:
    assert render("since@since", lambda _: Table()) == "This was not measured yet.\n"


def test_a_commits_packages_are_unpacked(tmp_path: Path) -> None:
    folder = unpack("HEAD", tmp_path)
    assert (folder / "samclip_sdk/__init__.py").is_file()


@pytest.mark.slow
def test_the_command(tmp_path: Path) -> None:
    place = tmp_path / "since.jsonl"
    arguments = ["since", "HEAD", "--rounds", "1", "--seconds", "0", "--output", str(place)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    (part,) = read_table(place).parts
    assert not part.run.settings["failures"]
    # The same code and model, but for what is not committed: all but the times is alike.
    then, now = part.run.settings["subjects"].values()
    assert then == now
    assert part.value("now", "flop", "step mask_decoder") > 1e8
    assert part.get(part.run.settings["commit"], "ms", "step postprocess")
