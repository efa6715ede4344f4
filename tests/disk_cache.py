"""What takes long to make and is the same each time: kept on disk for later runs and workers.

A folder is kept under a key of all that can change it: every file of the SDK and of the exporter,
the module that makes it, and the versions of all packages.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import inspect
import os
import platform
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from filelock import FileLock

ROOT = Path(__file__).parents[1]
CACHE = ROOT / ".test_cache"
SOURCES = ("samclip_sdk", "export", "tests/tiny_config.py", "tests/full_size.py")
KEPT = 3
"""How many editions of a folder stay, the last used ones: as many branches in work."""


def fill(folder: Path, *, name: str, make: Callable[[Path], object]) -> Path:
    """Copies what `keep` keeps into `folder`, which is returned: a test may change its own copy."""
    shutil.copytree(keep(name, make=make), folder)
    return folder


def keep(name: str, *, make: Callable[[Path], object]) -> Path:
    """The folder that was made before, or is made now; no test may change it.

    Args:
        name: what is kept: one name always holds the same, as long as no source changes.
        make: makes the folder that it is given.
    """
    CACHE.mkdir(exist_ok=True)
    with FileLock(CACHE / f"{name}.lock"):
        kept = CACHE / f"{name}={_key_of_sources(make)}"
        if not kept.is_dir():
            partial = CACHE / f"{name}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            make(partial)
            partial.rename(kept)
        os.utime(kept)
        editions = sorted(CACHE.glob(f"{name}=*"), key=lambda path: path.stat().st_mtime)
        for old in editions[:-KEPT]:
            shutil.rmtree(old)
    return kept


def _key_of(paths: Iterable[Path]) -> str:
    """A key of the names and contents of files."""
    content = hashlib.sha256()
    for path in paths:
        content.update(f"{path} {path.stat().st_size}\n".encode())
        content.update(path.read_bytes())
    return content.hexdigest()[:16]


def _key_of_sources(make: Callable[[Path], object]) -> str:
    module = inspect.getsourcefile(make)
    assert module is not None
    return f"{_key_of_project()}-{_key_of([Path(module)])}"


@functools.cache
def _key_of_project() -> str:
    found = [ROOT / each for each in SOURCES]
    files = [file for each in found for file in (each, *sorted(each.rglob("*"))) if file.is_file()]
    packages = sorted(f"{each.name} {each.version}" for each in importlib.metadata.distributions())
    machine = repr((platform.python_version(), platform.machine(), packages))
    own = _key_of(file for file in files if file.suffix != ".pyc")
    return f"{own}-{hashlib.sha256(machine.encode()).hexdigest()[:16]}"
