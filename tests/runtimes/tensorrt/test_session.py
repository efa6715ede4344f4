"""What TensorRT's sessions have of their own, on a fake GPU; see test_on_gpu.py for a real one."""

from __future__ import annotations

from pathlib import Path

import pytest

from samclip_sdk.errors import BundleError, SamClipError
from samclip_sdk.runtimes.tensorrt.engine import CompiledEngine
from samclip_sdk.runtimes.tensorrt.memory import DeviceMemory
from samclip_sdk.runtimes.tensorrt.session import EngineRefusedError, TrtSession, load_or_rebuild
from tests.runtimes.tensorrt.fake_tensorrt import FakeCuda, FakeEngine, fake_session, no_reason
from tests.runtimes.test_sessions import SPEC, check, check_in_threads, expected, feed


class TestSession:
    def test_calls_of_a_split(self) -> None:
        cuda = FakeCuda()
        engine = FakeEngine(SPEC, answer=expected, cuda=cuda)
        session = TrtSession(engine, spec=SPEC, memory=DeviceMemory(cuda), reason=no_reason)
        session.run(feed(33))
        assert [shapes["left"][0] for shapes in engine.contexts[0].shapes] == [16, 16, 1]
        assert {shapes["count"] for shapes in engine.contexts[0].shapes} == {(1,)}

    def test_an_fp16_engine_keeps_the_contracts_dtypes(self) -> None:
        check(fake_session(SPEC, answer=expected, half=True), feed(), atol=1e-2)

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

    def test_threads_of_two_sessions_take_turns(self) -> None:
        memory = DeviceMemory(FakeCuda())
        check_in_threads(*(fake_session(SPEC, answer=expected, memory=memory) for _ in range(2)))


@pytest.mark.parametrize(
    ("cached", "refused", "built"),
    [
        (True, [b"old"], [False, True]),
        (True, [b"old", b"new"], [False, True]),
        (False, [b"new"], [True]),
    ],
)
def test_an_engine_of_another_gpu_or_version_is_built_again_once(
    tmp_path: Path, cached: bool, refused: list[bytes], built: list[bool]
) -> None:
    path, seen = tmp_path / "graph.engine", list[bool]()
    if cached:
        path.touch()

    def compiled() -> CompiledEngine:
        seen.append(not path.exists())
        path.touch()
        return CompiledEngine(path, data=b"new" if seen[-1] else b"old", built=seen[-1])

    def deserialize(data: bytes) -> bytes:
        if data in refused:
            raise EngineRefusedError("TensorRT refuses the engine: another version")
        return data

    if b"new" in refused:
        with pytest.raises(BundleError, match="another version"):
            load_or_rebuild(compiled, deserialize=deserialize)
    else:
        assert load_or_rebuild(compiled, deserialize=deserialize) == b"new"
    assert seen == built
