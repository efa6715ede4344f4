"""The one long table of measured figures: `docs/benchmarks/<suite>.jsonl`, a line a figure.

A file has parts. A part begins with the line of its run, `{"run": {...}}`: where, when, how and of
which model it was measured. The figures of the run follow, a line each.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field, ValidationError

from samclip_sdk.bundle.manifest import ModelInfo
from samclip_sdk.runtimes.source import ModelSource
from samclip_sdk.runtimes.versions import installed_versions
from samclip_sdk.system.atomic_file import atomic_file
from samclip_sdk.system.hardware import cpu_name
from samclip_sdk.system.packages import package_version
from samclip_sdk.system.records import Record, first_fault
from samclip_sdk.system.timing import utc_now

_MORE_PACKAGES = ("opencv-python-headless", "timm")
_ABSOLUTE = re.compile(r"(?<![\w.:/~-])/(?:[^\s/:,;'\"()]+/)*(?=[^\s/:,;'\"()]+)")


class Model(Record):
    """A model that was measured. `revision` names its weights, whatever bundle carries them.

    `runtime` and `precision` are null where more than one was measured, or where they were not
    kept.
    """

    name: str
    revision: str
    runtime: str | None = None
    precision: str | None = None
    random_weights: bool = False

    @property
    def text(self) -> str:
        """Its name and weights, as footnotes tell them."""
        return f"`{self.name}` {self.revision}{', random weights' if self.random_weights else ''}"


class Run(Record):
    """Where, when and how a part was measured.

    `command` holds the names of absolute paths only; `threads` is OMP_NUM_THREADS, if set;
    `seconds` is what it took, null where that was not kept. `settings` is all that was asked for,
    and what is told in words.
    """

    suite: str
    date: str
    command: str
    commit: str | None = None
    system: str
    cpu: str
    cores: int
    threads: int | None = None
    versions: dict[str, str]
    seconds: float | None = None
    model: Model | None = None
    settings: dict[str, Any] = Field(default_factory=dict)

    @property
    def day(self) -> str:
        """When, without the hour."""
        return self.date[:10]

    @property
    def machine(self) -> str:
        """The processor, its cores, and when."""
        return f"{self.cpu}, {self.cores} cores, {self.day}"

    @property
    def footnote(self) -> str:
        """On what, when and by which command."""
        return f"{self.machine}. Measured by `{self.command}`."


class Row(Record):
    """A figure: what was measured of a subject, in a split or of a size, "" where there is none.

    `low` and `high` are its interval or spread; `n` is of how many things it is a figure.
    """

    suite: str
    subject: str
    split: str = ""
    metric: str
    value: float
    low: float | None = None
    high: float | None = None
    n: int | None = None


class Part(NamedTuple):
    """A run, and its figures by (subject, split, metric)."""

    run: Run
    rows: dict[tuple[str, str, str], Row]

    @classmethod
    def of(cls, run: Run, rows: Iterable[Row]) -> Part:
        """Puts rows together."""
        part = cls(run, {})
        for row in rows:
            part.add(row)
        return part

    def add(self, row: Row) -> None:
        """Takes a figure; raises ValueError if there is one of the same, or it is of other runs."""
        key = (row.subject, row.split, row.metric)
        if key in self.rows or row.suite != self.run.suite:
            raise ValueError(f"{' '.join(key)} is there twice, or of another suite than its run")
        self.rows[key] = row

    def get(self, subject: str, metric: str, split: str = "") -> Row | None:
        """A figure; None if it was not measured."""
        return self.rows.get((subject, split, metric))

    def value(self, subject: str, metric: str, split: str = "") -> float | None:
        """A figure alone."""
        row = self.get(subject, metric, split)
        return None if row is None else row.value

    @property
    def subjects(self) -> list[str]:
        """In the order in which they were measured."""
        return list(dict.fromkeys(subject for subject, _, _ in self.rows))

    def splits(self, subject: str | None = None, metric: str | None = None) -> list[str]:
        """Those of a subject and metric, or of all."""
        found = (
            split
            for own, split, name in self.rows
            if subject in (None, own) and metric in (None, name)
        )
        return list(dict.fromkeys(found))

    def by_subject(self, split: str, metric: str = "ms") -> dict[str, float]:
        """A figure of each subject that has it in a split."""
        return {
            row.subject: row.value
            for row in self.rows.values()
            if (row.split, row.metric) == (split, metric)
        }

    def metrics(self, subject: str, split: str = "") -> dict[str, Row]:
        """All figures of a subject in a split, by metric."""
        return {
            row.metric: row
            for row in self.rows.values()
            if (row.subject, row.split) == (subject, split)
        }


class Table(NamedTuple):
    """The parts of a file; a figure is in one of them only."""

    parts: tuple[Part, ...] = ()

    def merge(self, part: Part) -> Table:
        """The table with a new part; other parts lose the subjects that the new one has."""
        new, kept = set(part.subjects), []
        for old in self.parts:
            rows = [row for row in old.rows.values() if row.subject not in new]
            kept += [Part.of(old.run, rows)] if rows else []
        return Table((*kept, part))


def read_table(path: Path) -> Table:
    """Reads what `write_table` wrote.

    Raises:
        ValueError: the file is damaged; it says in which line, and what is wrong.
    """
    parts: list[Part] = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            told = json.loads(line)
            if set(told) == {"run"}:
                parts.append(Part(Run.model_validate(told["run"]), {}))
            else:
                parts[-1].add(Row.model_validate(told))
        except (ValueError, TypeError, IndexError) as error:
            why = first_fault(error) if isinstance(error, ValidationError) else error
            raise ValueError(f"{path}, line {number}: {why}") from error
    return Table(tuple(parts))


def write_table(table: Table, path: Path) -> None:
    """Writes a table whole or not at all; raises StorageError if it cannot."""
    with atomic_file(path) as file:
        for part in table.parts:
            lines = [{"run": part.run.model_dump(exclude_defaults=True)}]
            for row in part.rows.values():
                told = row.model_dump(exclude_defaults=True)
                lines.append({name: _plain(each) for name, each in told.items()})
            file.writelines(f"{json.dumps(each, ensure_ascii=False)}\n".encode() for each in lines)


def _plain(value: object) -> object:
    """Whole numbers without a point."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def describe_model(manifest: ModelInfo, source: ModelSource | None = None) -> Model:
    """Describes a model, on a source if it was measured on one alone."""
    return Model(
        name=manifest.name,
        revision=manifest.revision,
        runtime=source and source.runtime,
        precision=source and source.precision,
        random_weights=manifest.random_weights,
    )


def describe_run(suite: str) -> Run:
    """Describes this machine and this moment."""
    threads = os.environ.get("OMP_NUM_THREADS", "")
    more = {package: version for package in _MORE_PACKAGES if (version := package_version(package))}
    commit = None  # outside of git; marked if files differ from it
    with suppress(OSError, subprocess.CalledProcessError):
        command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
        at = {"cwd": Path(__file__).parent, "stderr": subprocess.DEVNULL}
        commit = subprocess.check_output(command, text=True, **at).strip()
    return Run(
        suite=suite,
        date=utc_now(),
        command=shlex.join(["python", "-m", "benchmarks", *map(publishable, sys.argv[1:])]),
        commit=commit,
        system=f"{platform.system()} {platform.machine()}",
        cpu=cpu_name(),
        cores=os.cpu_count() or 1,
        threads=int(threads) if threads.isdigit() else None,
        versions={"python": platform.python_version(), **installed_versions(), **more},
    )


def publishable(text: str) -> str:
    """The text as one line, of absolute paths only the names: a folder tells who measured."""
    return _ABSOLUTE.sub("", " ".join(text.split()))
