"""What the project brings along: no pickle, no network that nobody asked for, no GPL.

Nor does it open images of any format: Pillow hands some of them to other programs.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from docs.licences import closure
from tests.source_tree import ROOT, imported_names, parse, sources

# Each runs code that the data names, or can.
LOADERS = {"pickle.load", "pickle.loads", "pickle.Unpickler", "dill.load", "joblib.load"}
CARRIERS = {"cloudpickle", "dill", "joblib", "shelve"}
# Whoever calls them says that nothing but numbers is read.
SAFE = {
    "torch.load": ("weights_only", True),
    "np.load": ("allow_pickle", False),
    "numpy.load": ("allow_pickle", False),
}
COPYLEFT = ("GPL", "GNU GENERAL", "GNU AFFERO")


def unsafe_calls(tree: ast.Module) -> list[str]:
    found = []
    for node in (each for each in ast.walk(tree) if isinstance(each, ast.Call)):
        name = ast.unparse(node.func)
        said = {each.arg: ast.unparse(each.value) for each in node.keywords}
        if name in LOADERS:
            found.append(name)
        elif name in SAFE and said.get(SAFE[name][0]) != str(SAFE[name][1]):
            found.append(f"{name} without {SAFE[name][0]}={SAFE[name][1]}")
        elif name.endswith("Image.open") and "formats" not in said:
            found.append(f"{name} without formats")
    return found


def test_nothing_is_unpickled() -> None:
    offenders = [
        f"{name}: {what}"
        for name, path in sources().items()
        for what in (
            *unsafe_calls(parse(path)),
            *({each.partition(".")[0] for each in imported_names(parse(path))} & CARRIERS),
        )
        if not (name.startswith("examples") and what.endswith("without formats"))
    ]
    assert offenders == []


@pytest.mark.parametrize(
    "call",
    ["pickle.loads(x)", "torch.load(x, weights_only=False)", "np.load(x)", "Image.open(x)"],
)
def test_what_unpickles_is_found(call: str) -> None:
    assert unsafe_calls(ast.parse(call))


def run_offline(what: str, folder: Path) -> str:
    """Runs tests/offline.py in a process of its own; returns what it printed.

    What the environment says against telemetry is left out.
    """
    own = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.offline", what, str(folder)],
        cwd=ROOT,
        env={**own, "CI": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("runtime", ["onnx", pytest.param("openvino", marks=pytest.mark.slow)])
def test_no_verb_opens_a_socket_or_notes_down_the_device(tmp_path: Path, runtime: str) -> None:
    assert run_offline(runtime, tmp_path) == "done\n"
    kept = [path for path in tmp_path.glob("*/**/*") if path.is_file()]
    assert all("samclip-sdk" in path.parts for path in kept), kept


@pytest.mark.slow
def test_no_command_opens_a_socket(tmp_path: Path) -> None:
    assert run_offline("commands", tmp_path) == "done\n"


def test_a_socket_would_be_seen(tmp_path: Path) -> None:
    assert "socket.getaddrinfo" in run_offline("lookup", tmp_path)


def is_copyleft(licence: str) -> bool:
    """Whether a licence asks the same of what uses it; the LGPL does not, nor does an exception."""
    upper = licence.upper().replace("LGPL", "").replace("LESSER GENERAL", "")
    return any(each in upper for each in COPYLEFT) and "EXCEPTION" not in upper


def test_no_dependency_is_under_the_gpl() -> None:
    """Of the wheel, and of every extra but `peers`, which a benchmark compares with."""
    assert [each for each in closure() if is_copyleft(each.licence)] == []


@pytest.mark.parametrize(
    ("licence", "copyleft"),
    [
        ("AGPL-3.0-or-later", True),
        ("GPL-2.0-only", True),
        ("GNU General Public License v3 (GPLv3)", True),
        ("LGPL-2.1-or-later", False),
        ("GPL-3.0-or-later WITH GCC-exception-3.1", False),
        ("MIT", False),
    ],
)
def test_the_gpl_is_known(licence: str, copyleft: bool) -> None:
    assert is_copyleft(licence) == copyleft
