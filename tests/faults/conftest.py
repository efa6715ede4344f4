"""Small disks of their own, for tests that fill them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


@pytest.fixture
def mount(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Path]]:
    """Mounts an empty disk of so many kB; given one again, changes that to other options."""
    mounted: list[Path] = []

    def run(*words: str) -> None:
        done = subprocess.run(["mount", *words], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")

    def mount_one(options: str, *, again: Path | None = None) -> Path:
        if not sys.platform.startswith("linux"):
            pytest.skip("small disks are tmpfs, of Linux")
        if again is not None:
            run("-o", f"remount,{options}", str(again))
            return again
        path = tmp_path_factory.mktemp("disk")
        run("-t", "tmpfs", "-o", options, "tmpfs", str(path))
        mounted.append(path)
        return path

    yield mount_one
    for path in mounted:
        subprocess.run(["umount", "--lazy", str(path)], check=True)
