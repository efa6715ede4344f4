"""One contract for every runtime, then what each has of its own."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
import torch
from onnx import TensorProto
from torch import Tensor, nn

from export.coreml.mil_interpreter import MilInterpreter
from samclip_sdk.bundle.contract import contract_graphs, take_short_texts
from samclip_sdk.bundle.files import GraphFile
from samclip_sdk.bundle.graph_spec import GraphSpec, TensorSpec
from samclip_sdk.errors import BundleError
from samclip_sdk.modeling.build import build_model
from samclip_sdk.modeling.checkpoint import save_checkpoint
from samclip_sdk.runtimes.coreml.session import CoreMLSession
from samclip_sdk.runtimes.opening import open_session
from samclip_sdk.runtimes.options import DEFAULT_OPTIONS, RuntimeOptions
from samclip_sdk.runtimes.session import Arrays, Session
from samclip_sdk.runtimes.tensor_checks import FileTensor, check_tensors
from samclip_sdk.runtimes.tensorrt.session import open_trt_session
from samclip_sdk.runtimes.torch.session import Checkpoint, TorchSession
from tests.arithmetic_graph import SPEC, feed
from tests.coreml_packages import convert_module
from tests.example_bundle import CONFIG
from tests.executorch_files import STORED, needs_executorch
from tests.fake_session import FakeSession
from tests.litert_files import write_arithmetic
from tests.refusals import refused
from tests.runtimes.tensorrt.fake_tensorrt import fake_session


def expected(feed: Arrays) -> dict[str, np.ndarray[Any, Any]]:
    left, right = (np.asarray(feed[name], dtype=np.float32) for name in ("left", "right"))
    return {"difference": left - right, "product": left * np.asarray(feed["count"])}


class Arithmetic(nn.Module):
    def forward(self, left: Tensor, right: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
        return left - right, left * count


def write_onnx(
    path: Path,
    *,
    float_type: int = TensorProto.FLOAT,
    width: int = 3,
    rows: int | str = "rows",
    count_name: str = "count",
) -> Path:
    """Inputs and outputs in another order than the contract's: they are bound by name."""
    kind = f"{TensorProto.DataType.Name(float_type).lower()}[{rows}, {width}]"
    text = f"""
        <ir_version: 8, opset_import: ["" : 18]>
        arithmetic (int32[1] {count_name}, {kind} right, {kind} left)
            => ({kind} product, {kind} difference)
        {{
            factor = Cast <to = {float_type}> ({count_name})
            product = Mul (left, factor)
            difference = Sub (left, right)
        }}
    """
    onnx.save(onnx.parser.parse_model(text), path)
    return path


def open_onnx_file(
    path: Path, *, spec: GraphSpec = SPEC, options: RuntimeOptions = DEFAULT_OPTIONS
) -> Session:
    return open_session("onnx", files=[GraphFile(path)], spec=spec, options=options)


def open_onnx(folder: Path) -> Session:
    return open_onnx_file(write_onnx(folder / "graph.onnx"))


def open_openvino(folder: Path) -> Session:
    path = write_onnx(folder / "graph.onnx")
    return open_session("openvino", files=[GraphFile(path)], spec=SPEC)


def open_torch(folder: Path) -> Session:
    return TorchSession(Arithmetic(), spec=SPEC, device="cpu")


def open_coreml(folder: Path) -> Session:
    return CoreMLSession(arithmetic_packages(), spec=SPEC, load=MilInterpreter.load)


@functools.cache
def arithmetic_packages() -> list[GraphFile]:
    folder = Path(tempfile.mkdtemp(prefix="arithmetic-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return convert_module(Arithmetic(), spec=SPEC, folder=folder)


def open_litert_file(path: Path, *, spec: GraphSpec = SPEC) -> Session:
    return open_session("litert", files=[GraphFile(path)], spec=spec)


def open_litert(folder: Path) -> Session:
    return open_litert_file(write_arithmetic(folder / "graph.tflite"))


def open_executorch_file(path: Path, *, spec: GraphSpec = SPEC) -> Session:
    return open_session("executorch", files=[GraphFile(path)], spec=spec)


def open_executorch(folder: Path) -> Session:
    return open_executorch_file(STORED)


def open_fake(folder: Path) -> Session:
    return FakeSession(SPEC, answer=expected)


def open_trt(folder: Path) -> Session:
    """On a fake GPU: see fake_tensorrt for what that proves."""
    return fake_session(SPEC, answer=expected)


def open_on_gpu(folder: Path) -> Session:
    file = GraphFile(write_onnx(folder / "graph.onnx"))
    profile = {"rows": (1, 4, 16)}
    return open_trt_session(file, spec=SPEC, cache=folder / "cache", profile=profile)


Opener = Callable[[Path], Session]


@pytest.fixture(
    scope="module",
    params=[
        *(open_onnx, open_openvino, open_torch, open_coreml, open_litert, open_fake, open_trt),
        pytest.param(open_executorch, marks=needs_executorch),
        pytest.param(open_on_gpu, marks=pytest.mark.gpu),
    ],
)
def opener(request: pytest.FixtureRequest) -> Opener:
    found: Opener = request.param
    return found


@pytest.fixture(scope="module")
def session(opener: Opener, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    opened = opener(tmp_path_factory.mktemp("session"))
    yield opened
    opened.close()


def check(session: Session, given: Arrays, *, atol: float = 0.0) -> None:
    found = session.run(given)
    assert list(found) == [spec.name for spec in session.outputs]
    for name, wanted in expected(given).items():
        assert found[name].dtype == np.float32
        np.testing.assert_allclose(found[name], wanted, rtol=1e-6, atol=atol)


def test_says_what_it_takes_and_returns(session: Session) -> None:
    assert (session.inputs, session.outputs) == (SPEC.inputs, SPEC.outputs)


@pytest.mark.parametrize("rows", [1, 2, 16, 40])  # TensorRT's engine takes 16 in one call
def test_runs(session: Session, rows: int) -> None:
    check(session, feed(rows))


def test_threads_take_turns(session: Session) -> None:
    check_in_threads(session)


def check_in_threads(*sessions: Session) -> None:
    """Two threads for each session."""

    def work(session: Session) -> None:
        for rows in range(1, 30):
            check(session, feed(rows))

    with ThreadPoolExecutor(2 * len(sessions)) as pool:
        list(pool.map(work, 2 * sessions))


def test_binds_by_name(session: Session) -> None:
    check(session, dict(reversed(feed().items())))


def test_takes_arrays_of_any_layout(session: Session) -> None:
    given = feed(4)
    given["left"] = np.asfortranarray(given["left"])
    given["right"] = np.broadcast_to(given["right"][:1], (4, 3))
    given["count"].flags.writeable = False
    check(session, given)


def test_neither_keeps_nor_changes_its_arrays(session: Session) -> None:
    given, same = feed(), feed()
    first = session.run(given)
    kept = {name: array.copy() for name, array in first.items()}
    given["left"] += 1
    session.run(given)
    for name, array in kept.items():
        np.testing.assert_array_equal(first[name], array)
    np.testing.assert_array_equal(given["right"], same["right"])


def zeros(*shape: int, dtype: str = "float32") -> np.ndarray[Any, Any]:
    return np.zeros(shape, dtype)


@pytest.mark.parametrize(
    ("name", "array", "named"),
    [
        ("left", zeros(2, 3, dtype="float64"), "left has dtype float64"),
        ("count", zeros(1, dtype="int64"), "count has dtype int64"),
        ("left", zeros(2, 4), "left has shape [2, 4]"),
        ("left", zeros(3, 3), "right has shape [2, 3]"),
        ("left", zeros(2, 3, 1), "left has shape [2, 3, 1]"),
        ("other", zeros(1), "other"),
        ("count", None, "count"),
    ],
)
def test_refuses_a_feed(session: Session, name: str, array: Any, named: str) -> None:
    given = {key: each for key, each in {**feed(), name: array}.items() if each is not None}
    refused(lambda: session.run(given), ValueError, named)


@pytest.mark.parametrize(
    ("axes", "opened", "held"),
    [
        ((None, 77), ("rows", 77), ("rows", 77)),
        (("n", 77), ("rows", 77), ("rows", 77)),
        ((None, None), ("rows", "x[1]"), None),  # it may take more than it must
        ((None, 78), None, None),
        ((3, 77), None, None),
        ((None, 77, 1), None, None),
    ],
)
def test_what_a_file_leaves_open(axes: Any, opened: Any, held: Any) -> None:
    specs = [TensorSpec(name="x", dtype="int32", shape=("rows", 77))]
    found = [FileTensor("x", "int32", axes)]
    for open_axes, shape in ((True, opened), (False, held)):
        if shape is None:
            with pytest.raises(BundleError, match=r"x is int32.*the manifest says int32"):
                check_tensors(found, specs=specs, where="a file", open_axes=open_axes)
        else:
            (own,) = check_tensors(found, specs=specs, where="a file", open_axes=open_axes)
            assert own.shape == shape


def test_closes(opener: Opener, tmp_path: Path) -> None:
    session = opener(tmp_path)
    session.close()
    session.close()
    with pytest.raises(ValueError, match="closed"):
        session.run(feed())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    provenance = {"random_weights": True, "seed": 3}
    save_checkpoint(build_model(CONFIG, seed=3), folder, provenance=provenance)
    return folder


class TestCheckpoint:
    def test_opens_the_five_graphs(self, folder: Path) -> None:
        """At resolutions beside the two tasks' too; outputs keep the contract."""
        checkpoint = Checkpoint(folder)
        lengths = {"num_texts": 2, "num_prompts": 3, "num_points": 2, "num_tokens": 9}
        for name, spec in contract_graphs(CONFIG, resolutions=[32, 48, 64]).items():
            session = checkpoint.session(name)
            if name == "text_encoder":
                spec = take_short_texts(spec)
            assert (session.inputs, session.outputs) == (spec.inputs, spec.outputs)
            given = {
                tensor.name: np.ones(
                    [lengths.get(axis, axis) for axis in tensor.shape], tensor.dtype
                )
                for tensor in spec.inputs
            }
            assert all(np.isfinite(array).all() for array in session.run(given).values())

    def test_runs_the_models_weights(self, folder: Path) -> None:
        ids = np.array([[49406, 320, 1929, 49407, *[0] * 73]], dtype=np.int32)
        model = build_model(CONFIG, seed=3)
        with torch.inference_mode():
            wanted = model.text_encoder(torch.from_numpy(ids)).numpy()
        found = Checkpoint(folder).session("text_encoder").run({"input_ids": ids})
        np.testing.assert_array_equal(found["text_embeddings"], wanted)

    def test_zeros_behind_a_text_change_nothing(self, folder: Path) -> None:
        ids = np.array([[49406, 320, 1929, 49407, *[0] * 73]], dtype=np.int32)
        session = Checkpoint(folder).session("text_encoder")
        whole, short = (
            session.run({"input_ids": each})["text_embeddings"]
            for each in (ids, np.ascontiguousarray(ids[:, :4]))
        )
        np.testing.assert_allclose(short, whole, atol=1e-6)

    def test_describes_the_model(self, folder: Path, tmp_path: Path) -> None:
        plain = Checkpoint(folder)
        assert plain.manifest.model == CONFIG
        assert plain.manifest.random_weights
        assert len(plain.manifest.text.templates) == 80
        assert plain.manifest.text.logit_scale == pytest.approx(1 / 0.07)
        calibrated = self.copy(folder, tmp_path)
        (calibrated / "calibration.json").write_text(
            '{"scale": 30.0, "bias": 0.2, "mask_threshold_score": 0.5, '
            '"presence_threshold": 0.4, "head_only_threshold": 0.6}'
        )
        other = Checkpoint(calibrated)
        assert other.manifest.calibration.presence_threshold == 0.4
        assert other.manifest.random_weights  # which no calibration mends
        assert other.manifest.revision == plain.manifest.revision
        assert other.id != plain.id == Checkpoint(folder).id

    def copy(self, folder: Path, target: Path) -> Path:
        for name in ("model.safetensors", "config.json"):
            (target / name).write_bytes((folder / name).read_bytes())
        return target

    def test_takes_its_own_tokenizer_first(self, folder: Path, tmp_path: Path) -> None:
        own = self.copy(folder, tmp_path)
        (own / "tokenizer.json").write_text("{}")
        assert Checkpoint(own).tokenizer_path == own / "tokenizer.json"
        assert Checkpoint(folder).tokenizer_path.name == "clip_tokenizer.json"
        assert Checkpoint(own).id != Checkpoint(folder).id
