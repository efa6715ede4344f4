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
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.reliability.victims import VICTIMS, Victim
from benchmarks.suite import Measuring, Seed
from samclip_sdk.errors import one_line

IN_A_ROW = 4
"""A command is killed so many times before it may come to its end."""

Run = Callable[..., tuple[int | None, str]]

_DATE = re.compile(rb'"date_created": "[^"]*"')
_PICKLED = ("/data.pkl", "/serialization_id")
_MEASURED = ("log.jsonl", "tensorboard")
"""Logs hold how long each step took, and the means since a start: they are not compared."""


def kills(
    measured: Measuring,
    size: Annotated[int, typer.Option(min=1, help="moments, of all commands")] = 200,
    seed: Seed = 0,
) -> None:
    """Kills commands at random moments, and compares what restarts end with, byte for byte.

    Of a command `alone_s` is the length of an uninterrupted run, anywhere in which a moment is;
    `early` runs ended before their moment came, and `whole` is how many restarts ended with the
    files of an uninterrupted run, and no other; the run's settings tell of the rest.
    """
    for index, victim in enumerate(VICTIMS):
        moments = (size + index) // len(VICTIMS)  # which add up to the size
        with tempfile.TemporaryDirectory() as scratch:
            kill_often(measured, victim, Path(scratch), kills=moments, seed=seed)
        measured.save()


def kill_often(
    measured: Measuring, victim: Victim, folder: Path, *, kills: int, seed: int
) -> list[str]:
    """Kills a command at random moments, and looks at what its restarts end with.

    The folder is an empty one, for the command's files. After `IN_A_ROW` kills at most, a restart
    is let run to its end. Returns what was wrong with them.

    Raises:
        ValueError: the command fails, or ends otherwise a second time, without any kill.
    """
    inputs, work = folder / "inputs", folder / "work"
    inputs.mkdir(parents=True)
    victim.make_inputs(inputs)
    generator, faults, early, done, restarts = random.Random(f"{seed} {victim.name}"), [], 0, 0, 0
    with victim.around() as environment:
        run = partial(_run, victim.arguments(inputs), work, environment)
        expected, alone_s = _uninterrupted(victim.name, run, work)
        again, _ = _uninterrupted(victim.name, run, work)
        if problem := difference(expected, again):
            raise ValueError(f"{victim.name} does not end twice with the same files: {problem}")
        while done < kills:
            _empty(work)
            for _ in range(min(IN_A_ROW, kills - done)):
                code, _ = run(after_s=generator.uniform(0, alone_s))
                early += code is not None
                done += 1
                measured.say(victim.name, done, kills)
            restarts += 1
            code, said = run()
            problem = f"exit code {code}: {said}" if code else difference(expected, contents(work))
            if problem:
                faults.append(f"after {done} kills: {one_line(problem)}")
    figures = {"early": early, "restarts": restarts, "whole": restarts - len(faults)}
    measured.settings["faults"] = faults
    measured.add(f"kills: {victim.name}", alone_s=round(alone_s, 2), kills=kills, **figures)
    return faults


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


def _uninterrupted(name: str, run: Run, work: Path) -> tuple[dict[str, str], float]:
    _empty(work)
    since = time.perf_counter()
    code, said = run()
    if code:
        raise ValueError(f"{name} fails without any kill: exit code {code}: {said}")
    return contents(work), time.perf_counter() - since


def _empty(work: Path) -> None:
    shutil.rmtree(work, ignore_errors=True)
    for name in ("home", "cache", "data", "temporary"):
        (work / name).mkdir(parents=True)


def _run(
    arguments: Sequence[str],
    work: Path,
    environment: dict[str, str],
    *,
    after_s: float | None = None,
) -> tuple[int | None, str]:
    """Runs a command, and kills it after a while with every process that it has started.

    Returns:
        Its exit code, None if it was still running then; and the last line that it said.
    """
    own = {
        "HOME": work / "home",
        "XDG_CACHE_HOME": work / "cache",
        "XDG_DATA_HOME": work / "data",
        "TMPDIR": work / "temporary",
        "PYTHONPATH": Path.cwd(),
        "PYTHONDONTWRITEBYTECODE": 1,  # which Python would leave half written
        "OMP_NUM_THREADS": 1,  # sums in one order
    }
    output = work / "output.txt"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=work,
            env={**os.environ, **environment, **{name: str(each) for name, each in own.items()}},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    code = None
    try:
        with suppress(subprocess.TimeoutExpired):
            code = process.wait(after_s)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return code, output.read_text(errors="replace").strip().rpartition("\n")[2]
