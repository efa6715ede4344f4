"""TensorRT sessions: the contract, and what is done with engines.

What runs here on a machine without a GPU runs against `fake_tensorrt`, which see for what that
proves. The same contract runs on a GPU where `-m gpu` is given; see test_trt_on_gpu.py too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from samclip_sdk.bundle.files import GraphFile
from samclip_sdk.errors import BundleError, SamClipError
from samclip_sdk.runtimes.session import Session
from samclip_sdk.runtimes.tensorrt.engine import CompiledEngine
from samclip_sdk.runtimes.tensorrt.memory import DeviceMemory
from samclip_sdk.runtimes.tensorrt.session import (
    EngineRefusedError,
    TrtSession,
    load_or_rebuild,
    open_trt_session,
)
from tests.runtimes import test_sessions as contract
from tests.runtimes.tensorrt.fake_tensorrt import FakeCuda, FakeEngine, fake_session, no_reason
from tests.runtimes.test_sessions import SPEC, check, expected, feed, write_onnx

ROWS = {"rows": (1, 4, 16)}


def open_fake(folder: Path) -> Session:
    return fake_session(SPEC, answer=expected)


def open_on_gpu(folder: Path) -> Session:
    file = GraphFile(write_onnx(folder / "graph.onnx"))
    return open_trt_session(file, spec=SPEC, cache=folder / "cache", profile=ROWS)


@pytest.fixture(params=[open_fake, pytest.param(open_on_gpu, marks=pytest.mark.gpu)])
def opener(request: pytest.FixtureRequest) -> Callable[[Path], Session]:
    found: Callable[[Path], Session] = request.param
    return found


@pytest.fixture
def session(opener: Callable[[Path], Session], tmp_path: Path) -> Iterator[Session]:
    opened = opener(tmp_path)
    yield opened
    opened.close()


# The contract of every runtime, collected here once more with the fixtures above. 17 rows are more
# than the engine takes in one call.
test_says_what_it_takes_and_returns = contract.test_says_what_it_takes_and_returns
test_runs = contract.test_runs
test_binds_by_name = contract.test_binds_by_name
test_takes_arrays_of_any_layout = contract.test_takes_arrays_of_any_layout
test_neither_keeps_nor_changes_its_arrays = contract.test_neither_keeps_nor_changes_its_arrays
test_refuses_a_feed = contract.test_refuses_a_feed
test_closes = contract.test_closes


@pytest.mark.parametrize("rows", [16, 32, 40])
def test_splits_what_is_more_than_the_engine_takes(session: Session, rows: int) -> None:
    check(session, feed(rows))


class TestSession:
    def test_calls_of_a_split(self) -> None:
        cuda = FakeCuda()
        engine = FakeEngine(SPEC, answer=expected, cuda=cuda)
        session = TrtSession(engine, spec=SPEC, memory=DeviceMemory(cuda), reason=no_reason)
        session.run(feed(33))
        assert [shapes["left"][0] for shapes in engine.contexts[0].shapes] == [16, 16, 1]
        assert {shapes["count"] for shapes in engine.contexts[0].shapes} == {(1,)}

    def test_an_fp16_engine_keeps_the_contracts_dtypes(self) -> None:
        session = fake_session(SPEC, answer=expected, half=True)
        found = session.run(feed())
        for name, wanted in expected(feed()).items():
            assert found[name].dtype == np.float32
            np.testing.assert_allclose(found[name], wanted, atol=1e-2)

    def test_a_run_that_fails_gives_everything_back(self) -> None:
        cuda = FakeCuda()
        engine = FakeEngine(SPEC, answer=expected, cuda=cuda)
        memory = DeviceMemory(cuda)
        session = TrtSession(engine, spec=SPEC, memory=memory, reason=lambda: "sparks")
        check(session, feed())
        used = len(cuda.blocks)
        engine.contexts[0].fails = True
        for _ in range(3):
            with pytest.raises(SamClipError, match="could not run the graph: sparks"):
                session.run(feed())
        engine.contexts[0].fails = False
        check(session, feed())
        assert len(cuda.blocks) == used
        session.close()
        assert not cuda.blocks
        assert not cuda.streams

    def test_threads_take_turns(self) -> None:
        memory = DeviceMemory(FakeCuda())
        sessions = [fake_session(SPEC, answer=expected, memory=memory) for _ in range(2)]
        failures: list[BaseException] = []

        def work(session: TrtSession) -> None:
            try:
                for rows in range(1, 40):
                    check(session, feed(rows))
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(each,)) for each in sessions]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures


class TestRebuild:
    """What happens to an engine from another GPU or version."""

    def compiled(self, path: Path, *, fresh: list[bool]) -> Callable[[], CompiledEngine]:
        def compile_() -> CompiledEngine:
            built = not path.exists()
            fresh.append(built)
            path.touch()
            return CompiledEngine(path, data=b"new" if built else b"old", built=built)

        return compile_

    def deserialize(self, data: bytes) -> str:
        if data == b"old":
            raise EngineRefusedError("TensorRT refuses the engine: another version")
        return "engine"

    def test_a_refused_engine_of_the_cache_is_built_again(self, tmp_path: Path) -> None:
        path = tmp_path / "graph.engine"
        path.touch()
        fresh: list[bool] = []
        compile_ = self.compiled(path, fresh=fresh)
        assert load_or_rebuild(compile_, deserialize=self.deserialize) == "engine"
        assert fresh == [False, True]

    @pytest.mark.parametrize("cached", [False, True])
    def test_a_fresh_engine_that_is_refused_is_an_error(self, tmp_path: Path, cached: bool) -> None:
        path = tmp_path / "graph.engine"
        if cached:
            path.touch()
        fresh: list[bool] = []

        def refuse(data: bytes) -> None:
            raise EngineRefusedError("TensorRT refuses the engine: it does not like it")

        with pytest.raises(BundleError, match="does not like it"):
            load_or_rebuild(self.compiled(path, fresh=fresh), deserialize=refuse)
        assert fresh == ([False, True] if cached else [True])
