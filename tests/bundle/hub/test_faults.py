"""Downloads that go wrong: nothing unproven gets a name, and a later load comes to the end."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import namedtuple
from functools import partial
from pathlib import Path

import pytest

from samclip_sdk.bundle.hub.opening import open_named_bundle
from samclip_sdk.bundle.hub.options import HubOptions
from samclip_sdk.bundle.open import Bundle
from samclip_sdk.errors import (
    BundleError,
    BundleTamperedError,
    HubError,
    HubUnreachableError,
    StorageError,
)
from samclip_sdk.system.atomic_file import atomic_file
from tests.bundle.hub.sample import WEIGHTS, id_of, in_repository, sample_bundle
from tests.bundle.hub.server import HubServer
from tests.refusals import refused
from tests.source_tree import ROOT
from tests.system.test_atomic_file import full_disk

FILES = sample_bundle()
CONTENT = FILES[WEIGHTS]
PATH = f"bundle/{WEIGHTS}"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def opened(cache: Path) -> Bundle:
    return open_named_bundle("org/sample", hub=HubOptions(cache_dir=cache))


def ranges(hub: HubServer) -> list[str]:
    """The ranges that were asked for of the weights; "" for the whole file."""
    asked = [each for each in hub.log if each.path == PATH and each.method == "GET"]
    return [each.headers.get("range", "") for each in asked]


def hidden(cache: Path) -> list[Path]:
    """Files in the making."""
    return [path for path in cache.glob("bundles/.*/**/*") if path.is_file()]


def of_bundle(cache: Path) -> set[str]:
    folder = cache / "bundles" / id_of(FILES)
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


class TestCutConnections:
    def test_a_cut_connection_is_gone_on_with(
        self, sample: HubServer, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 10_000)
        sample.faults.cut_after[PATH] = [40_000, 30_000]
        assert opened(cache).file(WEIGHTS).read_bytes() == CONTENT
        assert ranges(sample) == ["", "bytes=40000-", "bytes=70000-"]
        assert hidden(cache) == []

    def test_a_later_load_brings_what_is_missing(self, sample: HubServer, cache: Path) -> None:
        sample.faults.cut_after[PATH] = [60_000, *[0] * 9]
        gather = partial(opened(cache).gather, ["tokenizer.json", WEIGHTS])
        refused(gather, HubUnreachableError, f"{WEIGHTS} of org/sample@")
        assert of_bundle(cache) == {"manifest.json", "tokenizer.json"}
        assert hidden(cache) == []
        sample.faults.cut_after.clear()
        sample.log.clear()
        assert opened(cache).file(WEIGHTS).read_bytes() == CONTENT
        assert sample.paths() == [PATH]

    def test_a_cut_that_looks_like_an_end(self, sample: HubServer, cache: Path) -> None:
        bundle = opened(cache)
        sample.faults.cut_after[PATH] = [60_000]
        sample.faults.no_length = True
        refused(lambda: bundle.file(WEIGHTS), HubUnreachableError, WEIGHTS, "bytes")
        assert of_bundle(cache) == {"manifest.json"}

    def test_a_manifest_that_is_cut(self, sample: HubServer, cache: Path) -> None:
        sample.faults.cut_after["bundle/manifest.json"] = [100]
        assert opened(cache).id == id_of(FILES)
        assert of_bundle(cache) == {"manifest.json"}

    def test_a_killed_process(self, sample: HubServer, cache: Path) -> None:
        sample.faults.stall_after[PATH] = 50_000
        code = (
            "import sys; from samclip_sdk.bundle.hub.opening import open_named_bundle\n"
            "from samclip_sdk.bundle.hub.options import HubOptions\n"
            "open_named_bundle('org/sample', hub=HubOptions(cache_dir=sys.argv[1]))"
            f".file({WEIGHTS!r})"
        )
        process = subprocess.Popen([sys.executable, "-c", code, str(cache)], cwd=ROOT)
        deadline = time.monotonic() + 60
        while not hidden(cache):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert of_bundle(cache) == {"manifest.json"}
        sample.release()
        assert opened(cache).file(WEIGHTS).read_bytes() == CONTENT
        assert [path.name for path in (cache / "bundles").iterdir()] == [id_of(FILES)]


class TestLies:
    @pytest.mark.parametrize(
        ("lie", "reason"),
        [
            (CONTENT[:-1] + b"x", "sha256"),
            (CONTENT + b"x", "longer"),
            (CONTENT * 100, "longer"),
            (CONTENT[:-1], "sha256"),
            (b"", "sha256"),
        ],
    )
    def test_other_bytes_than_the_manifest_states(
        self, sample: HubServer, cache: Path, lie: bytes, reason: str
    ) -> None:
        sample.faults.lies[PATH] = lie
        file = partial(opened(cache).file, WEIGHTS)
        refused(file, BundleTamperedError, f"{WEIGHTS} of org/sample@", reason)
        assert of_bundle(cache) == {"manifest.json"}
        assert hidden(cache) == []
        sample.faults.lies.clear()
        assert opened(cache).file(WEIGHTS).read_bytes() == CONTENT

    @pytest.mark.parametrize("no_length", [False, True])
    def test_a_file_without_end_does_not_fill_the_disk(
        self, sample: HubServer, cache: Path, no_length: bool
    ) -> None:
        """What the hub says of its size is right, and it sends more, as long as anybody listens."""
        bundle = opened(cache)
        sample.faults.lies[PATH], sample.faults.true_heads = CONTENT * 100, True
        sample.faults.no_length = no_length
        with full_disk(len(CONTENT) + 1):
            refused(lambda: bundle.file(WEIGHTS), BundleTamperedError, WEIGHTS, "longer")
        assert hidden(cache) == []


class TestCache:
    def test_a_file_that_was_damaged_here_comes_again(self, sample: HubServer, cache: Path) -> None:
        opened(cache).file(WEIGHTS).write_bytes(b"damaged")
        assert opened(cache).file(WEIGHTS).read_bytes() == CONTENT

    def test_a_manifest_that_was_damaged_here_comes_again(
        self, sample: HubServer, cache: Path
    ) -> None:
        opened(cache)
        path = cache / "bundles" / id_of(FILES) / "manifest.json"
        for content in (b"damaged", FILES["manifest.json"] + b" "):
            path.write_bytes(content)
            offline = HubOptions(cache_dir=cache, local_files_only=True)
            refused(partial(open_named_bundle, "org/sample", hub=offline), HubError, "org/sample")
            assert opened(cache).id == id_of(FILES)

    @pytest.mark.parametrize("content", [b"", b"{}", b"\xff"])
    def test_a_note_that_was_damaged_is_made_again(
        self, sample: HubServer, cache: Path, content: bytes
    ) -> None:
        opened(cache)
        for path in (cache / "refs").iterdir():
            path.write_bytes(content)
        assert opened(cache).id == id_of(FILES)
        open_named_bundle("org/sample", hub=HubOptions(cache_dir=cache, local_files_only=True))

    def test_a_link_that_leads_out_of_the_bundle(
        self, sample: HubServer, cache: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "elsewhere").mkdir()
        (opened(cache).root / "onnx").symlink_to(tmp_path / "elsewhere")
        refused(lambda: opened(cache).file(WEIGHTS), BundleError, WEIGHTS)
        refused(lambda: opened(cache).gather([WEIGHTS]), BundleError, WEIGHTS)
        assert not list((tmp_path / "elsewhere").iterdir())

    def test_no_room(self, sample: HubServer, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        bundle = opened(cache)
        usage = namedtuple("usage", "total used free")
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**6, 10**6, 1000))
        refused(lambda: bundle.file(WEIGHTS), StorageError, "0 MB free", "cache_dir")
        assert ranges(sample) == []

    def test_a_place_that_cannot_be_written(self, sample: HubServer, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"")
        for path in (tmp_path / "file", tmp_path / "a\0b"):
            refused(partial(opened, path), StorageError, "cache_dir")

    def test_a_full_disk_leaves_nothing(self, sample: HubServer, cache: Path) -> None:
        bundle = opened(cache)
        with full_disk(50_000):
            refused(lambda: bundle.file(WEIGHTS), StorageError, cache)
        assert of_bundle(cache) == {"manifest.json"}
        assert hidden(cache) == []

    @pytest.mark.filterwarnings("ignore:flock not supported:UserWarning")
    def test_a_drive_without_locks(
        self, sample: HubServer, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*arguments: object) -> None:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

        bundle = opened(cache)
        monkeypatch.setattr("fcntl.flock", refuse)
        assert bundle.file(WEIGHTS).read_bytes() == CONTENT

    def test_a_cache_that_is_complete_needs_no_writing(
        self, sample: HubServer, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Not by the folder's mode, which root does not heed."""
        opened(cache).file(WEIGHTS)
        sample.commit("org/sample", {"README.md": b"edited"})

        def refuse(path: Path) -> None:
            raise StorageError(f"cannot write {path}: read-only")

        monkeypatch.setattr("samclip_sdk.bundle.hub.cache.atomic_file", refuse)
        assert opened(cache).file(WEIGHTS).read_bytes() == CONTENT
        sample.commit("org/sample", in_repository(sample_bundle("2")))
        refused(lambda: opened(cache), StorageError, "read-only")

    def test_many_at_once_download_a_file_once(self, sample: HubServer, cache: Path) -> None:
        sample.faults.slow_s = 0.02
        contents: list[bytes] = []
        threads = [
            threading.Thread(
                target=lambda: contents.append(opened(cache).file(WEIGHTS).read_bytes())
            )
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert contents == [CONTENT] * 4
        assert ranges(sample) == [""]

    def test_a_manifest_that_another_writes_meanwhile(self, sample: HubServer, cache: Path) -> None:
        """Two that find no manifest both write it: the second while the first downloads."""
        sample.faults.slow_s = 0.1
        bundle = opened(cache)
        threads = [threading.Thread(target=bundle.file, args=[WEIGHTS]) for _ in range(2)]
        threads[0].start()
        deadline = time.monotonic() + 60
        while not hidden(cache):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        with atomic_file(cache / "bundles" / id_of(FILES) / "manifest.json") as file:
            file.write(FILES["manifest.json"])
        threads[1].start()
        for thread in threads:
            thread.join()
        assert ranges(sample) == [""]
