"""Hidden names for files and folders in the making, and the sweep of those whose writer is dead.

A file or folder in the making lies beside what it becomes, so that its last rename never crosses
file systems. Its name holds the machine and the process that write it. A process that is killed
leaves it behind, and a later writer in the same folder removes it.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import time
import uuid
from contextlib import suppress
from functools import cache, lru_cache
from pathlib import Path

REPLACED = "replaced"
"""The folder within a scratch folder that keeps what a new folder takes the place of."""

_NAME = re.compile(r"\.(?P<machine>[0-9a-f]{8})\.(?P<pid>\d{1,7})\.[0-9a-f]{16}\.partial(\.\w+)?")
_UNTOUCHED_S = 7 * 24 * 3600
"""A writer on another machine, or before a restart, counts as dead after so long."""


def hidden_path(target: Path, *, ending: str = "") -> Path:
    """A new hidden name beside `target`; `ending` is for libraries that look at a file's name."""
    name = f".{_machine()}.{os.getpid()}.{secrets.token_hex(8)}.partial{ending}"
    return target.with_name(name)


def sweep(folder: Path) -> None:
    """Removes from a folder what dead processes left half-done."""
    names: list[str] = []
    with suppress(OSError):
        names = os.listdir(folder)
    for name in filter(None, map(_NAME.fullmatch, names)):
        with suppress(OSError):  # Another process sweeps too.
            if _is_dead(folder / name[0], machine=name["machine"], pid=int(name["pid"])):
                discard(folder / name[0])


@lru_cache(maxsize=1024)
def sweep_once(folder: Path) -> None:
    """Sweeps a folder at this process's first write: listing a large one at each would be slow."""
    sweep(folder)


def discard(path: Path) -> None:
    """Removes a file or folder in the making.

    A folder whose place was taken goes back there, unless something else is there by now.
    """
    if path.is_symlink() or not path.is_dir():
        with suppress(OSError):
            path.unlink()
        return
    kept = path / REPLACED
    for replaced in () if kept.is_symlink() else kept.glob("*"):
        target = path.with_name(replaced.name)
        if not os.path.lexists(target):
            try:
                os.rename(replaced, target)
            except OSError:
                return  # It is the only copy.
    shutil.rmtree(path, ignore_errors=True)


def _is_dead(path: Path, *, machine: str, pid: int) -> bool:
    found = path.lstat()
    if os.name == "posix" and found.st_uid != os.geteuid():  # Anybody can make up such a name.
        return False
    if machine != _machine() or os.name != "posix":  # Windows has no harmless signal.
        return time.time() - found.st_mtime > _UNTOUCHED_S
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # It lives, and is another user's.
        return False
    return False


@cache
def _machine() -> str:
    """Eight hex digits for where process ids have one meaning: this start, and this container."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        origin = boot + os.readlink("/proc/self/ns/pid")
    except OSError:  # not Linux: by the network card, for two machines may have one name
        origin = f"{uuid.getnode()}"
    return hashlib.sha256(origin.encode()).hexdigest()[:8]
