"""CI leaves a target out only if nothing that it depends on has changed, and says what failed."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType

import pytest

from tests.source_tree import ROOT, imported_names, parse

MAKEFILE = """\
fuzz:
\techo made $(CASES) >>made.txt
\t[ ! -e broken ]
check:
\techo lint says no; exit 1
"""


def load_lanes() -> ModuleType:
    spec = importlib.util.spec_from_file_location("ci_lanes", ROOT / ".ci" / "lanes.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


lanes = load_lanes()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of a target that takes nothing, and of one that fails."""
    monkeypatch.delenv("FULL", raising=False)
    monkeypatch.setenv("CASES", "9")
    files = {
        "Makefile": MAKEFILE,
        ".gitignore": "/build/\n/made.txt\n*.pyc\n",
        "pyproject.toml": "",
        ".ci/run": "",
        "samclip_sdk/client.py": "1",
        "tests/fuzz/test_texts.py": "1",
        "docs/index.md": "1",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    (tmp_path / "build").mkdir()
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    subprocess.run(["git", "add", "."], cwd=tmp_path, check=True)
    return tmp_path


def run(root: Path, target: str = "fuzz") -> tuple[int, bool]:
    """How often the target was made so far, and whether this run succeeded."""
    succeeded = lanes.run_target(target, root=root, log=root / "build" / f"{target}.log")
    made = root / "made.txt"
    return made.read_text().count("made\n") if made.exists() else 0, succeeded


def change(name: str) -> Callable[[Path], object]:
    return lambda root: (root / name).write_text("2")


def test_what_succeeded_is_not_run_again(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(checkout) == (1, True)
    assert run(checkout) == (1, True)
    monkeypatch.setenv("FULL", "1")
    assert run(checkout) == (2, True)


@pytest.mark.parametrize(
    "changed",
    [
        change("samclip_sdk/client.py"),
        change("samclip_sdk/new.py"),
        change("tests/fuzz/test_texts.py"),
        change("tests/conftest.py"),
        change("pyproject.toml"),
        change(".ci/run"),
        lambda root: (root / "samclip_sdk/client.py").unlink(),
        lambda root: (root / "samclip_sdk/client.py").chmod(0o755),
        lambda root: (root / "samclip_sdk/client.py").rename(root / "samclip_sdk/front.py"),
    ],
)
def test_a_change_has_it_run(changed: Callable[[Path], object], checkout: Path) -> None:
    run(checkout)
    changed(checkout)
    assert run(checkout) == (2, True)
    assert run(checkout) == (2, True)


def test_other_packages_have_it_run(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(checkout)
    monkeypatch.setattr(lanes, "installed_packages", lambda: ("numpy 99",))
    assert run(checkout) == (2, True)


@pytest.mark.parametrize("name", ["docs/index.md", "samclip_sdk/client.pyc", "build/new.txt"])
def test_what_it_does_not_depend_on_is_no_reason(name: str, checkout: Path) -> None:
    run(checkout)
    (checkout / name).write_text("2")
    assert run(checkout) == (1, True)


def test_a_failure_is_run_until_it_succeeds(checkout: Path) -> None:
    run(checkout)
    (checkout / "broken").touch()
    (checkout / "samclip_sdk/client.py").write_text("2")
    assert run(checkout) == (2, False)
    assert run(checkout) == (3, False)
    (checkout / "broken").unlink()
    assert run(checkout) == (4, True)
    assert run(checkout) == (4, True)


def test_what_changes_during_a_run_is_tried_by_the_next(checkout: Path) -> None:
    makefile = checkout / "Makefile"
    makefile.write_text(MAKEFILE.replace("made.txt", "made.txt; echo >>samclip_sdk/client.py", 1))
    assert run(checkout) == (1, True)
    assert run(checkout) == (2, True)


def test_a_lane_goes_on_after_a_failure_and_the_last_lines_tell_of_it(checkout: Path) -> None:
    logs = checkout / "build"
    failed = lanes.run_lanes([["check", "no-target", "fuzz"]], root=checkout, logs=logs)
    assert failed == ["check", "no-target"]
    (logs / "test.log").write_text(
        "passed\nFAILED tests/test_a.py::test_one[x] - assert 1 == 2\n"
        "ERROR tests/test_b.py - OSError\n1 failed\nmake: *** [Makefile:1: test] Error 1\n"
    )
    assert lanes.summarize(["check", "test"], logs=logs) == [
        "FAILED: check, test",
        "check: lint says no",
        "test: tests/test_a.py::test_one[x] tests/test_b.py",
    ]
    assert len(lanes.summarize(["check"] * 20, logs=logs)) == lanes.LAST_LINES


def test_every_target_is_in_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z0-9-]+):", makefile, flags=re.MULTILINE))
    words = (ROOT / ".ci" / "run").read_text(encoding="utf-8").partition("lanes.py")[2]
    named = set(re.findall(r"[a-z0-9-]+", words))
    assert set(lanes.INPUTS) | set(lanes.TOOLS) <= named <= targets


TESTS_OF = {
    "fuzz": ["tests/fuzz"],
    "test-litert": ["tests/export/litert"],
    "test-executorch": ["tests/export/executorch"],
    "test-slow-export": ["tests/export", "tests/modeling", "tests/parity"],
    "test-slow-training": ["tests/training"],
}
"""Target -> the folders of its tests."""


@pytest.mark.parametrize("target", TESTS_OF)
def test_a_target_depends_on_every_module_that_its_tests_import(target: str) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--", *lanes.INPUTS[target]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    waiting = [path for folder in TESTS_OF[target] for path in (ROOT / folder).rglob("*.py")]
    found = set[Path]()
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += modules_of(imported_names(parse(path)))
    assert found
    assert not {path.relative_to(ROOT).as_posix() for path in found} - set(listed)


def modules_of(names: Iterable[str]) -> list[Path]:
    """The files of this project's modules among dotted names."""
    paths = (ROOT / f"{name.replace('.', '/')}.py" for name in names)
    return [path for path in paths if path.is_file()]
