"""Runs targets of the Makefile in parallel lanes, and says in its last lines what failed.

    .ci/lanes.py LANE [LANE...]

A lane is a list of targets with commas between, which run one after the other. A target of `INPUTS`
is left out if it succeeded before with the same inputs. Which inputs these were is kept in
green.json, beside this file; it belongs into the repository. With FULL=1 all targets run.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GREEN = ".ci/green.json"
LAST_LINES = 10

COMMON = (".ci", "Makefile", "pyproject.toml")
APPS = (
    *("examples", "docs/embed", "tests/bundles", "tests/rectangular_goldens.py"),
    *("samclip_sdk/bundle", "samclip_sdk/engine", "samclip_sdk/text/clip_tokenizer.json"),
)
SDK = ("samclip_sdk", *(f":(exclude)samclip_sdk/{room}" for room in ("annotate", "serve")))
INPUTS = {
    "test-c": APPS,
    "test-kotlin": APPS,
    "test-swift": APPS,
    "test-web": (*APPS, "samclip_sdk"),  # its page asks a server
    "test-integrations": ("examples", "samclip_sdk"),
    "test-litert": (*APPS, "export", "samclip_sdk", "tests/export/litert", ":(glob)tests/*.py"),
    "test-executorch": (
        *("export", "samclip_sdk", "tests/export/executorch", "tests/runtimes", "tests/fuzz"),
        *("tests/bundles", "tests/serve", ":(glob)tests/*.py"),
    ),
    "test-arm": ("samclip_sdk", "export", "tests/bundles", ":(glob)tests/*.py"),
    "fuzz": ("samclip_sdk", "tests/fuzz", "tests/serve", "tests/bundles", ":(glob)tests/*.py"),
    "test-slow-export": (
        *("export", "training", *SDK, "tests/export", "tests/modeling", "tests/parity"),
        *("tests/bundles", "tests/docs/pages.py", "tests/runtimes"),
        ":(glob)tests/*.py",
    ),
    "test-slow-training": (
        *("training", "export", *SDK, "tests/training", "tests/parity/reference.py"),
        *(":(glob)tests/*.py", ":(exclude)samclip_sdk/bundle/embedded", ":(exclude)*.md"),
    ),
}
"""Target -> what it depends on, besides `COMMON`: git's pathspecs."""

TOOLS = {
    "test-c": ("gcc",),
    "test-kotlin": ("javac", "gcc"),
    "test-litert": ("javac", "gcc"),
    "test-web": ("chromium", "node"),
    "test-swift": ("swift",),
    "test-integrations": (),
    "test-slow-training": (),
}
"""Target -> the programs without which it is not run. They and their libraries are installed by
.ci/install_tools, if that is possible; of WordNet, one test is not run without it."""

LESS = frozenset({"CASES", "SEED", "PYTEST_ADDOPTS", "SAMCLIP_BUNDLE"})
"""Of the environment. With them a target tries less, or something else: it never sees them."""

_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)
_OF_MAKE = re.compile(r"make(\[\d+\])?: ")
_writing = threading.Lock()


def key_of(target: str, *, root: Path) -> str:
    """A hash of all that a target depends on.

    It covers the files as they are on the disk, committed or not, except those that git ignores;
    the interpreter, the packages beside it, and the versions of the target's tools.
    """
    paths = [*COMMON, *INPUTS[target], f":(exclude){GREEN}"]
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *paths]
    listed = subprocess.run(command, cwd=root, capture_output=True, check=True).stdout
    content = hashlib.sha256("\n".join(_environment(target)).encode())
    for name in sorted(set(listed.decode().split("\0")) - {""}):
        path = root / name
        if path.is_file():  # one that is listed may be deleted, but not in the index
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            content.update(f"{name}\0{os.access(path, os.X_OK)}\0{digest}\n".encode())
    return content.hexdigest()


@functools.cache
def installed_packages() -> tuple[str, ...]:
    """Name and version of every package beside this interpreter."""
    return tuple(sorted(f"{each.name} {each.version}" for each in metadata.distributions()))


def _environment(target: str) -> list[str]:
    tools = [
        subprocess.run([tool, "--version"], capture_output=True, text=True, check=True).stdout
        for tool in TOOLS.get(target, ())
    ]
    return [platform.system(), platform.machine(), sys.version, *installed_packages(), *tools]


def read_green(root: Path) -> dict[str, str]:
    """Target -> the hash of its inputs when it last succeeded."""
    path = root / GREEN
    return dict(json.loads(path.read_text())) if path.exists() else {}


def note_green(target: str, key: str, *, root: Path) -> None:
    """Notes that a target succeeded with these inputs, if it has them still.

    What was changed while it ran may not have been tried.
    """
    with _writing:
        if key == key_of(target, root=root):
            content = json.dumps(read_green(root) | {target: key}, indent=1, sort_keys=True)
            (root / GREEN).write_text(f"{content}\n")


@functools.cache
def install_tools() -> None:
    """Installs what is missing of `TOOLS`, if this is root on Debian; if not, says so."""
    if os.geteuid() == 0:
        try:
            subprocess.run([ROOT / ".ci/install_tools"], timeout=600, check=True)
        except (OSError, subprocess.SubprocessError) as error:
            print(f"not all tools of other languages could be installed: {error}", flush=True)


def run_target(target: str, *, root: Path, log: Path) -> bool:
    """Makes a target, unless it is left out; its output goes into `log`.

    Returns:
        Whether it succeeded, or was left out.
    """
    if target in TOOLS:
        install_tools()
    if missing := [tool for tool in TOOLS.get(target, ()) if shutil.which(tool) is None]:
        print(f"{target}: NOT RUN, for there is no {missing[0]}", flush=True)
        return True
    key = key_of(target, root=root) if target in INPUTS else ""
    if key and key == read_green(root).get(target) and not os.environ.get("FULL"):
        print(f"{target}: not run, for it succeeded before with the same inputs", flush=True)
        return True
    start = time.monotonic()
    env = {name: value for name, value in os.environ.items() if name not in LESS}
    with log.open("wb") as file:
        done = subprocess.run(["make", target], cwd=root, env=env, stdout=file, stderr=file)
    end = "failed" if done.returncode else "succeeded"
    print(f"{target}: {end} in {time.monotonic() - start:.0f} s", flush=True)
    if key and done.returncode == 0:
        note_green(target, key, root=root)
    return done.returncode == 0


def run_lanes(lanes: Sequence[Sequence[str]], *, root: Path, logs: Path) -> list[str]:
    """Runs lanes at the same time.

    Returns:
        The targets that failed. A lane goes on after one.
    """
    failed = []

    def run(lane: Iterable[str]) -> None:
        for target in lane:
            log = logs / f"{target}.log"
            try:
                succeeded = run_target(target, root=root, log=log)
            except Exception as error:  # of this target; the others run nevertheless
                log.write_text(f"{error}\n")
                succeeded = False
            if not succeeded:
                failed.append(target)

    threads = [threading.Thread(target=run, args=(lane,)) for lane in lanes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failed


def summarize(failed: Sequence[str], *, logs: Path) -> list[str]:
    """What failed, in at most `LAST_LINES` lines: all targets, then each with its tests.

    Of a target that ran no tests it tells the last line.
    """
    lines = [f"FAILED: {', '.join(failed)}"]
    for target in failed:
        log = (logs / f"{target}.log").read_text(encoding="utf-8", errors="replace")
        tests = list(dict.fromkeys(_FAILED.findall(log)))
        said = [each for each in log.splitlines() if each and not _OF_MAKE.match(each)]
        lines.append(f"{target}: {' '.join(tests or said[-1:])}")
    return lines[:LAST_LINES]


def main(lanes: Sequence[str]) -> int:
    """Runs the lanes, prints the output of all targets, and then what failed."""
    logs = ROOT / "build" / "ci"
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir(parents=True)
    failed = run_lanes([lane.split(",") for lane in lanes], root=ROOT, logs=logs)
    for log in sorted(logs.iterdir(), key=lambda log: log.stem in failed):
        print(f"\n===== {log.stem}\n{log.read_text(encoding='utf-8', errors='replace')}")
    print("\n".join(summarize(failed, logs=logs)) if failed else "All targets succeeded.")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
