"""What every measurement records: on which machine, when, by which command, of which model."""

from __future__ import annotations

import os
import platform
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, TypeVar

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

Share = Annotated[float, Field(ge=0, le=1)]

T = TypeVar("T")
AnyRecord = TypeVar("AnyRecord", bound=Record)


class Environment(Record):
    """Where, when and how a measurement was made.

    `command` holds the names of absolute paths only; `threads` is OMP_NUM_THREADS, if set.
    """

    date: str
    command: str
    commit: str | None
    system: str
    cpu: str
    cores: int
    threads: int | None
    versions: dict[str, str]

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


class Run(Record):
    """A measurement, by one command. `seconds` is what it took; null where that was not kept."""

    environment: Environment
    seconds: float | None


class Model(Record):
    """A model that was measured. `revision` names its weights, whatever bundle carries them.

    `runtime` and `precision` are null where more than one was measured, or where they were not
    kept.
    """

    name: str
    revision: str
    runtime: str | None
    precision: str | None
    random_weights: bool

    @property
    def text(self) -> str:
        """Its name and weights, as footnotes tell them."""
        return f"`{self.name}` {self.revision}{', random weights' if self.random_weights else ''}"


def describe_model(manifest: ModelInfo, source: ModelSource | None = None) -> Model:
    """Describes a model, on a source if it was measured on one alone."""
    return Model(
        name=manifest.name,
        revision=manifest.revision,
        runtime=source and source.runtime,
        precision=source and source.precision,
        random_weights=manifest.random_weights,
    )


def describe_environment(arguments: Sequence[str] | None = None) -> Environment:
    """Describes this machine and this moment; `arguments` are this process's own if None."""
    given = sys.argv[1:] if arguments is None else arguments
    threads = os.environ.get("OMP_NUM_THREADS", "")
    more = {package: version for package in _MORE_PACKAGES if (version := package_version(package))}
    commit = None  # outside of git; marked if files differ from it
    with suppress(OSError, subprocess.CalledProcessError):
        command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
        at = {"cwd": Path(__file__).parent, "stderr": subprocess.DEVNULL}
        commit = subprocess.check_output(command, text=True, **at).strip()
    return Environment(
        date=utc_now(),
        command=shlex.join(["python", "-m", "benchmarks", *map(publishable, given)]),
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


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """What work returns, and the milliseconds that it took."""
    started = time.perf_counter()
    return work(), 1000 * (time.perf_counter() - started)


def read_record(kind: type[AnyRecord], path: Path) -> AnyRecord:
    """Reads a file that `write_record` wrote."""
    try:
        return kind.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ValueError(f"{path} holds no {kind.__name__}: {first_fault(error)}") from error


def write_record(record: Record, path: Path) -> None:
    """Writes a record as JSON, whole or not at all; raises StorageError if it cannot."""
    with atomic_file(path) as file:
        file.write(f"{record.model_dump_json(indent=1)}\n".encode())
