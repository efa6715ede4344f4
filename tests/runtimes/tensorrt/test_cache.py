"""Engines kept on the disk: built once, and again for whatever changed."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from samclip_sdk.bundle.files import GraphFile
from samclip_sdk.errors import StorageError
from samclip_sdk.runtimes.tensorrt.cuda import Gpu
from samclip_sdk.runtimes.tensorrt.engine import WAITING, compile_engine, engine_cache, is_compiled
from samclip_sdk.runtimes.tensorrt.network import import_tensorrt
from tests.runtimes.tensorrt.test_engine import GPU, ROWS, compile_in
from tests.runtimes.test_sessions import SPEC, write_onnx

ROOT = Path(__file__).parents[3]


class TestCache:
    def test_builds_once(self, tmp_path: Path) -> None:
        file = GraphFile(write_onnx(tmp_path / "graph.onnx"))
        options = {"spec": SPEC, "cache": tmp_path / "cache" / "engines", "profile": ROWS}
        assert not is_compiled(file, gpu=GPU, **options)
        first, second = compile_in(tmp_path), compile_in(tmp_path)
        assert is_compiled(file, gpu=GPU, **options)
        assert not is_compiled(file, gpu=Gpu("another", "9.0"), **options)
        assert (first.built, second.built) == (True, False)
        assert (first.path, first.data) == (second.path, second.data)
        assert first.path.name.startswith("graph-")

    def test_anything_else_is_another_engine(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        compile_in(tmp_path)
        for other in (
            {"gpu": Gpu("NVIDIA Pretend 4080", "8.9")},
            {"gpu": Gpu(GPU.name, "8.6")},
            {"profile": {"rows": (1, 4, 8)}},
            {"weights_sha256": ("0" * 64,)},
            {"weights_sha256": ("1" * 64,)},
            {"onnx_sha256": "2" * 64},
        ):
            assert compile_in(tmp_path, **other).built
        engines = list((tmp_path / "cache" / "engines").glob("*.engine"))
        assert len(engines) == 7
        assert not compile_in(tmp_path).built
        monkeypatch.setattr(import_tensorrt(), "__version__", "99.0.0")
        assert compile_in(tmp_path).built

    def test_a_cache_that_cannot_be_written(self, tmp_path: Path) -> None:
        (tmp_path / "cache").write_text("a file where the folder should be")
        with pytest.raises(StorageError, match=rf"{tmp_path}.*set XDG_CACHE_HOME"):
            compile_in(tmp_path)

    def test_a_cache_that_can_only_be_read(self, tmp_path: Path) -> None:
        """A device whose image was made with its engines in it: no lock is taken."""
        first = compile_in(tmp_path)
        lock = first.path.with_suffix(".lock")
        lock.unlink()
        lock.mkdir()
        assert not compile_in(tmp_path).built

    def test_a_drive_without_locks(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Engines are built and kept there all the same; another fault of the lock is told."""

        def refuse(number: int) -> None:
            def acquire(self: FileLock, *arguments: object, **options: object) -> None:
                raise OSError(number, os.strerror(number))

            monkeypatch.setattr(FileLock, "acquire", acquire)

        refuse(errno.ENOLCK)
        assert [compile_in(tmp_path).built for _ in range(2)] == [True, False]
        refuse(errno.EACCES)
        with pytest.raises(StorageError, match="engines cannot be written"):
            compile_in(tmp_path, onnx_sha256="2" * 64)

    def test_lies_in_the_users_cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert engine_cache().name == "tensorrt"
        path = write_onnx(tmp_path / "graph.onnx")
        compiled = compile_engine(GraphFile(path), spec=SPEC, gpu=GPU, profile=ROWS)
        assert compiled.path.parent == engine_cache()

    def test_two_processes_build_one_engine(self, tmp_path: Path) -> None:
        """Both wait for this one, which holds the lock; then one builds and the other takes it."""
        import fcntl

        path = compile_in(tmp_path).path
        path.unlink()
        program = f"""
from pathlib import Path
from samclip_sdk.bundle.graph_spec import GraphSpec
from samclip_sdk.bundle.files import GraphFile
from samclip_sdk.runtimes.tensorrt.cuda import Gpu
from samclip_sdk.runtimes.tensorrt.engine import compile_engine

compiled = compile_engine(
    GraphFile(Path({str(tmp_path / "graph.onnx")!r})),
    spec=GraphSpec.model_validate_json({SPEC.model_dump_json()!r}),
    gpu={GPU!r},
    cache=Path({str(path.parent)!r}),
    profile={ROWS!r},
    on_progress=lambda phase, step, steps: print(phase, flush=True),
)
print("built" if compiled.built else "taken")
"""
        with path.with_suffix(".lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            processes = [
                subprocess.Popen(
                    [sys.executable, "-c", program],
                    cwd=ROOT,
                    stdout=subprocess.PIPE,
                    text=True,
                )
                for _ in range(2)
            ]
            for process in processes:
                assert process.stdout is not None
                assert process.stdout.readline().strip() == WAITING
        answers = [process.communicate(timeout=60)[0].split()[-1] for process in processes]
        assert sorted(answers) == ["built", "taken"]
        assert not compile_in(tmp_path).built
