"""The user's caches, shared by many processes, and of no use: read-only, full, without locks."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from samclip_sdk import SamClip
from samclip_sdk.bundle.open import cache_folder, open_bundle
from samclip_sdk.device.auto_records import Selection
from samclip_sdk.errors import StorageError
from samclip_sdk.text.stored_labels import text_cache_folder
from tests.drawings import TINY_BUNDLE
from tests.fake_source import sample_image
from tests.refusals import refused

ROOT = Path(__file__).parents[2]
LABELS = [f"label {number}" for number in range(12)]
IMAGE = sample_image()
PROCESSES = 8
Mount = Callable[..., Path]

ASKS = """
import hashlib, sys, time
from samclip_sdk import SamClip
from tests.faults.test_caches import LABELS, IMAGE

runtime, model, start = sys.argv[1:]
time.sleep(max(0, float(start) - time.time()))  # all at once
with SamClip.load(runtime, model=model, threads=1) as model:
    logits = model.classify(IMAGE, LABELS).logits
print(hashlib.sha256(logits.tobytes()).hexdigest(), model.source.runtime)
"""


@pytest.fixture(scope="module")
def zipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tests only read it."""
    base = tmp_path_factory.mktemp("zipped") / "bundle"
    return Path(shutil.make_archive(str(base), "zip", TINY_BUNDLE))


def ask_at_once(zipped: Path, user: Path, *, runtime: str) -> list[str]:
    """What each of `PROCESSES` processes answers, that begin together."""
    environment = {
        **os.environ,
        "XDG_CACHE_HOME": str(user / "cache"),
        "XDG_DATA_HOME": str(user / "data"),
        "OMP_NUM_THREADS": "1",
    }
    words = [sys.executable, "-c", ASKS, runtime, str(zipped), str(time.time() + 4)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    processes = [
        subprocess.Popen(words, cwd=ROOT, env=environment, **pipes) for _ in range(PROCESSES)
    ]
    answers = [process.communicate(timeout=600)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * PROCESSES, answers
    return [answer.splitlines()[-1] for answer in answers]


def check_caches(user: Path) -> None:
    """Every file is whole, and there is none that should not be."""
    (bundles,) = (user / "cache").rglob("bundles")
    (bundle,) = bundles.iterdir()
    open_bundle(bundle).verify()
    assert bundle.name == open_bundle(TINY_BUNDLE).id
    (texts,) = (user / "cache").rglob("text")
    kept = list(texts.iterdir())
    assert len(kept) == len(LABELS)
    assert all(path.stat().st_size == 32 + 4 * 192 for path in kept)


@pytest.mark.slow
def test_eight_processes_on_one_cold_cache(zipped: Path, tmp_path: Path) -> None:
    answers = ask_at_once(zipped, tmp_path / "user", runtime="onnx")
    with SamClip.load("onnx", model=TINY_BUNDLE, threads=1, text_cache=False) as alone:
        expected = alone.classify(IMAGE, LABELS)
    digest = hashlib.sha256(expected.logits.tobytes()).hexdigest()
    assert answers == [f"{digest} onnx"] * PROCESSES
    check_caches(tmp_path / "user")


@pytest.mark.slow
def test_eight_processes_choose_the_runtime_at_once(zipped: Path, tmp_path: Path) -> None:
    """Each tries all, for nothing is known yet; one's choice is kept, whole."""
    answers = ask_at_once(zipped, tmp_path / "user", runtime="auto")
    (selected,) = (tmp_path / "user" / "data").rglob("*.json")
    assert [path.name for path in selected.parent.iterdir()] == [selected.name]
    assert Selection.model_validate_json(selected.read_bytes()).runtime in {
        each.split()[1] for each in answers
    }


@pytest.fixture(params=["read-only", "full", "no locks", "no rights to lock", "a circle of links"])
def useless(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Makes the user's folders of no use in one way."""
    path = tmp_path / "user"
    if request.param in ("read-only", "full"):
        mount: Mount = request.getfixturevalue("mount")
        path = mount("size=64k")
        for each in ("cache", "data"):
            (path / each).mkdir()
        if request.param == "full":
            free = os.statvfs(path)
            (path / "others").write_bytes(bytes(free.f_bavail * free.f_frsize))
        else:
            mount("ro", again=path)
    elif request.param == "a circle of links":
        path.symlink_to(path)
    else:
        number = errno.ENOLCK if request.param == "no locks" else errno.EPERM

        def refuse(*arguments: object) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr("fcntl.flock", refuse)
    monkeypatch.setenv("XDG_CACHE_HOME", str(path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(path / "data"))
    return str(request.param)


def test_a_useless_cache_changes_no_answer(useless: str) -> None:
    with SamClip.load("onnx", model=TINY_BUNDLE, threads=1, text_cache=False) as model:
        expected = model.classify(IMAGE, LABELS[:3]).logits
    for _ in range(2):
        with SamClip.load("onnx", model=TINY_BUNDLE, threads=1) as model:
            np.testing.assert_array_equal(model.classify(IMAGE, LABELS[:3]).logits, expected)
    works = "lock" in useless
    folder = text_cache_folder()
    assert (os.path.isdir(folder) and len(os.listdir(folder)) == 3) == works


def test_a_zipped_bundle_says_what_to_do(useless: str, zipped: Path) -> None:
    if "lock" in useless:  # It needs none.
        for _ in range(2):
            open_bundle(zipped).verify()
        assert [path.name for path in cache_folder().iterdir()] == [open_bundle(zipped).id]
        return
    refused(lambda: open_bundle(zipped), StorageError, zipped, "XDG_CACHE_HOME")
    assert not list(cache_folder().parents[1].rglob("manifest.json"))
