"""Commands that are killed at random moments: does a restart end as if nothing had happened?

A command gets a folder of its own, in which everything lies that it may write: its output, the
user's caches, home and temporary files. So nothing that is left can hide.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

from benchmarks.record import Run
from samclip_sdk.errors import one_line

IN_A_ROW = 4
"""A command is killed so many times before it may come to its end."""

Start: TypeAlias = "Callable[[], subprocess.Popen[bytes]]"

_DATE = re.compile(rb'"date_created": "[^"]*"')
_PICKLED = ("/data.pkl", "/serialization_id")
_MEASURED = ("log.jsonl", "tensorboard")
"""Logs hold how long each step took, and the means since a start: they are not compared."""


@dataclass(frozen=True)
class Victim:
    """A command to be killed.

    Attributes:
        name: of the command.
        make_inputs: writes what it reads into a folder, once.
        arguments: the folder of inputs -> the command line after `python`; it runs in its own
            folder, and writes below it only.
        around: what goes on while it is tried; it yields more of its environment.
    """

    name: str
    make_inputs: Callable[[Path], None]
    arguments: Callable[[Path], Sequence[str]]
    around: Callable[[], AbstractContextManager[dict[str, str]]] = lambda: nullcontext({})


class KilledCommand(Run):
    """What came of a command that was killed `kills` times, at moments drawn by `seed`.

    A moment is anywhere in `alone_s`, the length of an uninterrupted run. `early` runs ended before
    their moment came, and `whole` is how many restarts ended with the files of an uninterrupted
    run, and no other; `faults` tells of the rest.
    """

    command: str
    seed: int
    kills: int
    early: int
    alone_s: float
    restarts: int
    whole: int
    faults: tuple[str, ...]


def kill_often(
    victim: Victim,
    folder: Path,
    *,
    kills: int,
    seed: int,
    on_progress: Callable[[int, int], None],
) -> tuple[float, int, int, list[str]]:
    """Kills a command at random moments, and looks at what its restarts end with.

    The folder is an empty one, for the command's files. After `IN_A_ROW` kills at most, a restart
    is let run to its end. `on_progress` is told how many kills are done, of how many.

    Returns:
        The seconds of an uninterrupted run, how many runs ended before they were killed, how many
        restarts came to their end, and what was wrong with them.

    Raises:
        ValueError: the command fails, or ends otherwise a second time, without any kill.
    """
    inputs, work = folder / "inputs", folder / "work"
    inputs.mkdir(parents=True)
    victim.make_inputs(inputs)
    generator, faults, early, done, restarts = random.Random(f"{seed} {victim.name}"), [], 0, 0, 0
    with victim.around() as environment:
        start = partial(_start, victim.arguments(inputs), work, environment)
        expected, alone_s = _uninterrupted(victim.name, start, work)
        again, _ = _uninterrupted(victim.name, start, work)
        if problem := difference(expected, again):
            raise ValueError(f"{victim.name} does not end twice with the same files: {problem}")
        while done < kills:
            _empty(work)
            for _ in range(min(IN_A_ROW, kills - done)):
                early += not _killed(start(), after_s=generator.uniform(0, alone_s))
                done += 1
                on_progress(done, kills)
            restarts += 1
            code, said = _ended(start(), work)
            problem = f"exit code {code}: {said}" if code else difference(expected, contents(work))
            if problem:
                faults.append(f"after {done} kills: {one_line(problem)}")
    return alone_s, early, restarts, faults


def contents(folder: Path) -> dict[str, str]:
    """Path -> digest of what is in it, of all files and folders below one; dates aside."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name == "output.txt" or any(each in path.parts for each in _MEASURED):
            continue
        content = _comparable(path) if path.is_file() else b"folder"
        found[name] = hashlib.sha256(content).hexdigest()
    return found


def _comparable(path: Path) -> bytes:
    """What of a file is compared: all but dates; of a training's state, its tensors in order.

    Their names are pickled in another way once they were read back, though all are the same.
    """
    if path.suffix != ".pt" or not zipfile.is_zipfile(path):
        return _DATE.sub(b"", path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        names = [each for each in archive.namelist() if not each.endswith(_PICKLED)]
        return b"".join(name.encode() + archive.read(name) for name in names)


def difference(expected: dict[str, str], found: dict[str, str]) -> str:
    """What differs between two folders; empty if nothing does."""
    lists = {
        "left over": found.keys() - expected.keys(),
        "missing": expected.keys() - found.keys(),
        "other": {name for name in expected.keys() & found.keys() if expected[name] != found[name]},
    }
    return "; ".join(
        f"{kind}: {', '.join(sorted(names))}" for kind, names in lists.items() if names
    )


def _uninterrupted(name: str, start: Start, work: Path) -> tuple[dict[str, str], float]:
    _empty(work)
    since = time.perf_counter()
    code, said = _ended(start(), work)
    if code:
        raise ValueError(f"{name} fails without any kill: exit code {code}: {said}")
    return contents(work), time.perf_counter() - since


def _empty(work: Path) -> None:
    shutil.rmtree(work, ignore_errors=True)
    for name in ("home", "cache", "data", "temporary"):
        (work / name).mkdir(parents=True)


def _start(
    arguments: Sequence[str], work: Path, environment: dict[str, str]
) -> subprocess.Popen[bytes]:
    own = {
        "HOME": work / "home",
        "XDG_CACHE_HOME": work / "cache",
        "XDG_DATA_HOME": work / "data",
        "TMPDIR": work / "temporary",
        "PYTHONPATH": Path.cwd(),
        "PYTHONDONTWRITEBYTECODE": 1,  # which Python would leave half written
        "OMP_NUM_THREADS": 1,  # sums in one order
    }
    with (work / "output.txt").open("wb") as output:
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=work,
            env={**os.environ, **environment, **{name: str(each) for name, each in own.items()}},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _killed(process: subprocess.Popen[bytes], *, after_s: float) -> bool:
    """Kills all of a command after a while; whether it was still running then."""
    try:
        process.wait(after_s)
    except subprocess.TimeoutExpired:
        return True
    finally:
        _kill(process)
    return False


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kills a command, and every process that it has started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        process.wait()


def _ended(process: subprocess.Popen[bytes], work: Path) -> tuple[int, str]:
    """Waits for a command: its exit code, and the last line that it said."""
    try:
        code = process.wait()
    finally:
        _kill(process)
    lines = (work / "output.txt").read_text(errors="replace").split("\n")
    return code, next((line for line in reversed(lines) if line.strip()), "")
