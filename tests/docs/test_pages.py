"""What the pages show runs and prints what they say; what they name is there."""

from __future__ import annotations

import ast
import contextlib
import inspect
import io
import re
import runpy
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from samclip_sdk import SamClip
from samclip_sdk.bundle.open import DEFAULT_MODEL, EMBEDDED
from samclip_sdk.cli.app import app
from tests.docs.pages import PAGES, ROOT, Block, blocks, inline_commands
from tests.docs.usage import usage_problem

TOLERANCE = 0.02
"""How far a number may be from the one that a page shows: CPUs round differently."""

_STEPS = re.compile(r"^(?:\w+ \d+ ms,? ?)+$", flags=re.MULTILINE)
"""The line of what each step took; a page need not show it."""
_MEASURED = re.compile(r"[\d.,]+ ?(ms|s|MB|images/s)\b")
_NUMBER = re.compile(r"-?\d+\.\d+|-?\d+")


def programs(page: str) -> list[Block]:
    return [block for block in blocks(page) if not block.reason]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of a reader: the examples, a folder of photos, and a bundle."""
    built = shutil.ignore_patterns("node_modules", "dist", "build", ".build", ".gradle")
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=built)
    shutil.copytree(ROOT / "examples" / "images", tmp_path / "photos")
    (tmp_path / "my-bundle").symlink_to(EMBEDDED / DEFAULT_MODEL)
    monkeypatch.chdir(tmp_path)
    return tmp_path


_SLOW = {f"docs/how-to/{name}.md" for name in ("annotate", "many-images", "teach-your-own-things")}
"""Pages whose programs take ten seconds and more."""


@pytest.mark.usefixtures("checkout")
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=[pytest.mark.slow] if page in _SLOW else [])
        for page in PAGES
        if programs(page)
    ],
)
def test_what_a_page_shows_runs_and_prints_what_it_says(page: str) -> None:
    """Runs the blocks of a page in their order; those of Python are one program."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in programs(page):
        where = f"{page}:{block.line}"
        if block.language == "python":
            printed = run_python(block.code, names=names, where=where)
        else:
            printed = "".join(run_command(words, where=where) for words in block.commands())
        if block.output is not None:
            assert_prints(printed, block.output, where=where)


def run_python(code: str, *, names: dict[str, Any], where: str) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(code, where, "exec"), names)
    return printed.getvalue()


def run_command(words: Sequence[str], *, where: str) -> str:
    """Runs one command line in this process."""
    match words:
        case ["samclip", *arguments]:
            result = CliRunner().invoke(app, arguments)
            assert result.exit_code == 0, f"{where}: {words}: {result.output}{result.exception!r}"
            return result.stdout
        case ["python", script, *arguments] if script.startswith("examples/"):
            return run_script(script, arguments)
        case _:
            pytest.fail(f"{where}: {' '.join(words)} is not run; a comment above must say why")


def run_script(script: str, arguments: Sequence[str]) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [script, *arguments])
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            runpy.run_path(script, run_name="__main__")
    return printed.getvalue()


def assert_prints(printed: str, shown: str, *, where: str) -> None:
    """Holds the output to the page's, but for spaces, times and the last digits of numbers."""
    plain = [
        " ".join(_MEASURED.sub("TIME", _STEPS.sub("", text)).split()) for text in (printed, shown)
    ]
    numbers = [[float(each) for each in _NUMBER.findall(text)] for text in plain]
    words = [_NUMBER.sub("0", text) for text in plain]
    assert words[0] == words[1], f"{where} prints\n{printed}"
    assert numbers[0] == pytest.approx(numbers[1], abs=TOLERANCE, rel=TOLERANCE), (
        f"{where} prints\n{printed}"
    )


@pytest.mark.parametrize("page", PAGES)
def test_commands_have_the_options_that_are_shown(page: str) -> None:
    """Parses every command line of ours, those too that are not run and those in the prose."""
    programs = [block for block in blocks(page) if block.language == "bash"]
    shown = [words for block in programs for words in block.commands()]
    problems = [
        *((words, usage_problem(words)) for words in shown),
        *((words, usage_problem(words, whole=False)) for words in inline_commands(page)),
    ]
    assert not [f"{' '.join(words)}: {problem}" for words, problem in problems if problem]


def test_wrong_usage_is_found() -> None:
    """The test above proves nothing if any line would do."""
    assert "No such option" in usage_problem(["samclip", "verify", "--images", "x"])
    assert usage_problem(["samclip", "info", "--runtimes", "one", "two"]).startswith("unexpected")
    assert usage_problem(["samclip", "classify"]) == "image_label missing"
    assert usage_problem(["samclip", "classify"], whole=False) == ""
    assert usage_problem(["samclip", "classiffy", "x.jpg"]) == "no command classiffy"


@pytest.mark.parametrize("page", PAGES)
def test_calls_have_the_arguments_that_are_shown(page: str) -> None:
    """Binds the calls of SamClip's methods in the blocks that are not run."""
    for block in blocks(page):
        if block.language == "python" and block.reason:
            for call, method in calls_of_samclip(ast.parse(block.code)):
                keywords = {each.arg: None for each in call.keywords if each.arg}
                try:
                    inspect.signature(method).bind(*(None for _ in call.args), **keywords)
                except TypeError as error:
                    pytest.fail(f"{page}:{block.line}: {ast.unparse(call)}: {error}")


def calls_of_samclip(tree: ast.Module) -> Iterator[tuple[ast.Call, Any]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            match node.func.value:
                case ast.Name(id="SamClip"):
                    yield node, getattr(SamClip, node.func.attr)
                case ast.Name(id="model"):
                    yield node, getattr(SamClip, node.func.attr).__get__(object())


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z0-9-]+):", makefile, flags=re.MULTILINE))
    programs = [block for page in PAGES for block in blocks(page) if block.language == "bash"]
    commands = [words for block in programs for words in block.commands()]
    named = {words[1] for words in commands if words[0] == "make" and len(words) > 1}
    prose = "".join((ROOT / page).read_text(encoding="utf-8") for page in PAGES)
    named |= set(re.findall(r"`make ([a-z0-9-]+)`", prose))
    assert named <= targets


def test_the_rooms_are_those_of_the_architecture() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    folders = ("samclip_sdk", "export", "training", "benchmarks")
    rooms = {path.parent.name for each in folders for path in (ROOT / each).glob("*/__init__.py")}
    assert len(rooms) > 20
    assert not {room for room in rooms if f" {room}/" not in page}


@pytest.mark.parametrize("page", PAGES)
def test_local_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#\s]+)", text)
    local = [link for link in links if not link.startswith(("http://", "https://"))]
    assert not [link for link in local if not ((ROOT / page).parent / link).exists()]


@pytest.mark.parametrize("page", PAGES)
def test_pages_name_no_missing_module(page: str) -> None:
    """A path in backticks that looks like one of ours is one of ours."""
    text = (ROOT / page).read_text(encoding="utf-8")
    folders = "samclip_sdk|export|training|benchmarks|examples|tests|docs"
    paths = set(re.findall(rf"`((?:{folders})/[\w./-]*)`", text))
    assert not [path for path in paths if not (ROOT / path).exists()]
