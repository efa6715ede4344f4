"""What a terminal shows while a command works, and what is said if it does not finish."""

from __future__ import annotations

import errno
import io
import json
import sys
from collections.abc import Callable

import pytest
import typer
from rich.console import Console

from samclip_sdk.cli import terminal
from samclip_sdk.cli.terminal import (
    Display,
    PlainProgress,
    WrongUsageError,
    elapsed,
    print_json,
    print_line,
    print_table,
    working,
)
from samclip_sdk.errors import SamClipError


def shown(display: Display) -> str:
    """The line that a terminal shows now."""
    file = io.StringIO()
    Console(file=file, width=160).print(display.progress.get_renderable())
    return " ".join(file.getvalue().split())


@pytest.fixture
def display() -> Display:
    return Display(Console(file=io.StringIO(), force_terminal=True), doing="opening")


def test_a_bar_once_it_is_known_how_much_there_is_to_do(display: Display) -> None:
    assert "opening" in shown(display)
    assert "━" not in shown(display)
    display.show("building the engine of mask_decoder: Timing", 37, 100)
    assert "building the engine of mask_decoder: Timing ━" in shown(display)
    assert "37/100" in shown(display)
    display.say("signing off")
    assert "signing off" in shown(display)
    assert "━" not in shown(display)
    display.show("compiling text_encoder for this CPU", 0, 1)
    assert "━" not in shown(display)


def test_plain_lines_without_a_terminal() -> None:
    file = io.StringIO()
    often, seldom = (PlainProgress(Console(file=file), quiet_s=s) for s in (0, 3600))
    often.show("training [bold]", 3, 9)
    seldom.show("training", 4, 9)
    often.show("writing", 0, 1)
    assert file.getvalue() == "training [bold], 3 of 9\nwriting\n"


def test_a_log_hears_of_one_long_step_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the time so far, though no other step begins."""
    monkeypatch.setattr(terminal, "_QUIET_S", 0.01)
    told = ""
    with working("opening") as display:
        display.show("planning", 3, 9)
        while told.count("planning") < 2:
            told += capsys.readouterr().err
    assert "0:00 planning, 3 of 9\n" in told
    assert elapsed(14 * 60 + 5.6) == "14:05"


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (SamClipError("it is\nbroken"), 1, "error: it is broken\n"),
        (SamClipError("dog\x1b[2J :dog:"), 1, "error: dog\\x1b[2J :dog:\n"),
        (WrongUsageError("give an image"), 2, "error: give an image\n"),
        (KeyboardInterrupt(), 130, "interrupted: counting, 3 of 9; nothing is lost\n"),
    ],
)
def test_how_a_command_ends(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, line: str
) -> None:
    def work() -> None:
        with working("", if_interrupted="nothing is lost") as display:
            display.show("counting", 3, 9)
            raise error

    with pytest.raises(typer.Exit) as left:
        work()
    assert left.value.exit_code == code
    assert capsys.readouterr() == ("", line)


HOSTILE = "[b]dog[/b]\x1b]0;owned\x07\x1b[2J\nrow :dog: \x9b31m \u202egpj.jpg"
SHOWN = r"[b]dog[/b]\x1b]0;owned\x07\x1b[2J\nrow :dog: \x9b31m \u202egpj.jpg"


def test_a_terminal_obeys_nothing_that_a_name_says(
    capsys: pytest.CaptureFixture[str], display: Display
) -> None:
    print_table((HOSTILE, "b"), [(HOSTILE, "1"), ("cat", "2")])
    table = capsys.readouterr().out.splitlines()
    assert len(table) == 6  # the lines of the box, the names of columns, and a line a row
    assert [SHOWN in line for line in table] == [False, True, False, True, False, False]
    print_line(HOSTILE)
    assert capsys.readouterr().out == SHOWN + "\n"
    display.show(HOSTILE, 0, 0)
    assert "\x1b]0" not in shown(display)


@pytest.mark.parametrize("text", [HOSTILE, "\udcff", "\U000e0001", "\u200d", "é 🐕"])
def test_json_is_the_same_content_without_a_sign_that_a_terminal_obeys(
    capsys: pytest.CaptureFixture[str], text: str
) -> None:
    for content in ({"label": text}, json.dumps({"label": text}, ensure_ascii=False)):
        print_json(content)
        (line,) = capsys.readouterr().out.splitlines()
        assert line.isprintable()
        assert json.loads(line) == {"label": text}


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_signs_that_standard_output_has_not_are_shown_by_their_codes(
    monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    """As of a pipe on Windows, or with PYTHONIOENCODING."""
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    print_table(("label",), [("dög 犬",)])
    print_line("dög 犬")
    print_json({"label": "dög 犬"})
    sys.stdout.flush()
    *table, line, found = sys.stdout.buffer.getvalue().decode(encoding).splitlines()
    shown = {"ascii": r"d\xf6g \u72ac", "cp1252": r"dög \u72ac", "utf-8": "dög 犬"}[encoding]
    assert line == shown
    assert shown in table[3]
    assert json.loads(found) == {"label": "dög 犬"}


@pytest.mark.parametrize(
    "printing", [print_line, print_json, lambda text: print_table((text,), [])]
)
def test_an_answer_that_cannot_be_written_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    printing: Callable[[str], None],
) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    # Python has None for a descriptor that is closed.
    for stdout, why in ((Full(), "No space left on device"), (None, "standard output is closed")):
        with monkeypatch.context() as patch:
            patch.setattr("sys.stdout", stdout)
            with pytest.raises(typer.Exit) as left:
                printing("{}")
        assert left.value.exit_code == 1
        assert capsys.readouterr().err == f"error: cannot write the answer: {why}\n"
