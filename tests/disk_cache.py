"""What takes long to make and is the same each time: kept on disk for later runs and workers.

A folder is kept under a key that holds whatever can change it: the module that makes it and all
modules of the SDK and of the exporter that this imports, directly or by way of others, their data,
and the versions of the packages that compute it. Tests get copies, so that none can change what the
next one sees.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import inspect
import os
import platform
import shutil
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from tests.source_tree import imported_names, parse, sources

ROOT = Path(__file__).parents[1]
CACHE = ROOT / ".test_cache"

SOURCES = ("samclip_sdk", "export", "tests/tiny_config.py")
"""Where data and code are; of the code of a folder only what is imported counts."""

PACKAGES = (
    *("torch", "onnx", "onnx_ir", "onnxscript", "onnxruntime", "coremltools"),
    *("numpy", "pillow", "tokenizers", "open_clip_torch"),
)
KEY_LENGTH = 16
KEPT = 4
"""How many editions of a folder stay, the last used ones: as many branches in work."""


def fill(folder: Path, *, name: str, make: Callable[[Path], object], cache: Path = CACHE) -> Path:
    """Makes a folder, or copies the one that was made before.

    Args:
        folder: to be; it is returned.
        name: what is kept: one name always holds the same, as long as no source changes.
        make: makes the folder that it is given; its module's source is part of the key.
        cache: where folders are kept.
    """
    cache.mkdir(exist_ok=True)
    with FileLock(cache / f"{name}.lock"):
        kept = cache / f"{name}-{_key(make)}"
        if not kept.is_dir():
            partial = cache / f"{name}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            make(partial)
            partial.rename(kept)
            _sweep(cache, name=name)
        os.utime(kept)
        shutil.copytree(kept, folder)
    return folder


def _key(make: Callable[[Path], object]) -> str:
    """Of all that can change what `make` writes."""
    module = inspect.getsourcefile(make)
    assert module is not None
    content = hashlib.sha256(_environment())
    for file in (Path(module), *code_of(Path(module))):
        content.update(f"{file.name} {file.stat().st_size}\n".encode())
        content.update(file.read_bytes())
    return content.hexdigest()[:KEY_LENGTH]


@functools.cache
def code_of(module: Path) -> list[Path]:
    """The files of the SDK and of the exporter that a module of the tests needs."""
    known, found = sources(), set[str]()
    waiting = [*imported_names(parse(module))]
    while waiting:
        name = waiting.pop()
        if name in known and name not in found:
            found.add(name)
            waiting.append(name.rpartition(".")[0])  # importing a.b.c runs a.b too
            if name != "samclip_sdk":  # the front, which whoever imports anything runs
                waiting += imported_names(parse(known[name]))
    return [known[name] for name in sorted(found) if name.partition(".")[0] in SOURCES]


@functools.cache
def _environment() -> bytes:
    versions = [f"{name} {importlib.metadata.version(name)}" for name in PACKAGES]
    content = hashlib.sha256(
        repr((platform.python_version(), platform.machine(), versions)).encode()
    )
    for source in SOURCES:
        path = ROOT / source
        files = [path] if path.is_file() else sorted(path.rglob("*"))
        for file in files:
            if file.is_file() and (file == path or file.suffix not in (".py", ".pyc")):
                content.update(f"{file.relative_to(ROOT)} {file.stat().st_size}\n".encode())
                content.update(file.read_bytes())
    return content.digest()


def _sweep(cache: Path, *, name: str) -> None:
    """Removes all editions but the last used ones."""
    editions = sorted(
        cache.glob(f"{name}-{'?' * KEY_LENGTH}"), key=lambda path: path.stat().st_mtime
    )
    for old in editions[:-KEPT]:
        shutil.rmtree(old)
