"""Runs targets of the Makefile in parallel lanes, and says in its last lines what failed.

    .ci/lanes.py LANE [LANE...]

A lane is a list of targets with commas between, which run one after the other.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LAST_LINES = 10

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


@functools.cache
def install_tools() -> None:
    """Installs what is missing of `TOOLS`, if this is root on Debian; if not, says so."""
    if os.geteuid() == 0:
        try:
            subprocess.run([ROOT / ".ci/install_tools"], timeout=600, check=True)
        except (OSError, subprocess.SubprocessError) as error:
            print(f"not all tools of other languages could be installed: {error}", flush=True)


def run_target(target: str, *, root: Path, log: Path) -> bool:
    """Makes a target, if its tools are here; its output goes into `log`.

    Returns:
        Whether nothing of it failed.
    """
    if target in TOOLS:
        install_tools()
    if missing := [tool for tool in TOOLS.get(target, ()) if shutil.which(tool) is None]:
        print(f"{target}: NOT RUN, for there is no {missing[0]}", flush=True)
        return True
    start = time.monotonic()
    env = {name: value for name, value in os.environ.items() if name not in LESS}
    with log.open("wb") as file:
        done = subprocess.run(["make", target], cwd=root, env=env, stdout=file, stderr=file)
    end = "failed" if done.returncode else "succeeded"
    print(f"{target}: {end} in {time.monotonic() - start:.0f} s", flush=True)
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
