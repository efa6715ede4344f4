"""One suite for every runtime that runs here, in every precision, with the same goldens.

Core ML's programs run in the interpreter that stands in for a Mac. TensorRT needs a GPU: see
tests/runtimes/tensorrt/test_on_gpu.py. All of it is slow, since the export in six precisions is;
what each runtime computes of each graph is tested in tests/runtimes and tests/export as well.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

from export.coreml.artifacts import InterpretedSource
from samclip_sdk.bundle.open import Bundle, open_bundle
from samclip_sdk.client import SamClip
from samclip_sdk.device.golden_checks import golden_checks
from samclip_sdk.device.goldens.schema import min_cosine
from samclip_sdk.errors import UnverifiedArtifactWarning
from samclip_sdk.runtimes.artifact_sets import artifact_sets
from samclip_sdk.runtimes.source import BundleSource, ModelSource
from samclip_sdk.text.tokenizer import Tokenizer
from tests.device_bundle import answers_alike_in_every_bucket
from tests.processor import openvino_in_int8

pytestmark = pytest.mark.slow

SETS = (
    ("onnx", "fp32"),
    ("onnx", "fp16"),
    ("onnx", "int8"),
    ("openvino", "fp32"),
    ("openvino", "int8"),
    ("coreml", "fp16"),
    ("coreml", "int8"),
    ("coreml", "palette6"),
)
OVERFLOWING = ("openvino", "int8")
COSINE = {"fp32": 0.99999, "fp16": 0.995, "int8": 0.96, "palette6": 0.96}  # of chained graphs


@pytest.fixture(scope="module")
def bundle(full_export: Path) -> Bundle:
    return open_bundle(full_export / "bundle")


def open_set(bundle: Bundle, runtime: str, precision: str) -> ModelSource:
    if runtime == "coreml":
        return InterpretedSource(bundle, precision=precision)
    return BundleSource(bundle, runtime=runtime, precision=precision, warn=runtime == "onnx")


@pytest.fixture(
    params=[
        pytest.param(each, marks=openvino_in_int8 if each == OVERFLOWING else (), id=" ".join(each))
        for each in SETS
    ]
)
def opened(request: pytest.FixtureRequest, bundle: Bundle) -> Iterator[tuple[SamClip, str]]:
    runtime, precision = request.param
    with SamClip(open_set(bundle, runtime, precision)) as model:
        yield model, precision


def test_the_bundle_holds_every_set(bundle: Bundle) -> None:
    assert set(artifact_sets(bundle)) == {each for each in SETS if each[0] != "openvino"}
    bundle.verify()


def test_int8_leaves_the_prompt_encoder_in_float(bundle: Bundle) -> None:
    """In int8 it cost text-to-mask more than all other graphs together."""
    rounded = {}
    for name in ("prompt_encoder", "mask_decoder"):
        (path,) = (bundle.root / "onnx").glob(f"{name}.int8.onnx")
        nodes = onnx.load(path, load_external_data=False).graph.node
        rounded[name] = sum(node.op_type == "QuantizeLinear" for node in nodes)
    assert rounded["prompt_encoder"] == 0 < rounded["mask_decoder"]
    kept = bundle.manifest.kept_in_float["prompt_encoder"]
    assert {module.split(".")[0] for module in kept} == {"mask_downscaling"}


@pytest.mark.parametrize(
    ("runtime", "precision"),
    [pytest.param(*each, marks=openvino_in_int8 if each == OVERFLOWING else ()) for each in SETS],
)
def test_goldens(bundle: Bundle, runtime: str, precision: str) -> None:
    source = open_set(bundle, runtime, precision)
    checks = list(golden_checks(bundle, source=source, precision=precision))
    assert [check.name for check in checks if not check.passed] == []
    assert len(checks) >= 20


def test_a_prompt_is_answered_as_if_alone(opened: tuple[SamClip, str]) -> None:
    """Whatever its neighbours, and whichever bucket it runs in."""
    model, precision = opened
    answers_alike_in_every_bucket(model, tolerance=1e-4 if precision == "fp32" else 2e-2)


@pytest.mark.parametrize(("runtime", "precision"), SETS)
def test_what_follows_a_text_is_left_out_where_it_can_be(
    bundle: Bundle, runtime: str, precision: str
) -> None:
    """A Core ML package has fixed shapes; an ONNX file takes ids of any length."""
    source = open_set(bundle, runtime, precision)
    session = source.session("text_encoder")
    (ids,) = session.inputs
    assert isinstance(ids.shape[1], int) == (runtime == "coreml")
    if runtime == "coreml":
        return
    encoded = Tokenizer(source.tokenizer_path, context_length=77).encode(["a dog", "a cat"])
    padded = session.run({"input_ids": encoded.ids})["text_embeddings"]
    trimmed = session.run({"input_ids": np.ascontiguousarray(encoded.ids[:, :4])})
    assert min_cosine(trimmed["text_embeddings"], padded, vectors=True) >= COSINE[precision]


def test_core_ml_is_proven_by_an_interpreter_only(bundle: Bundle) -> None:
    for graph in bundle.manifest.graphs.values():
        for artifact in graph.artifacts:
            assert artifact.parity.on_target == (artifact.runtime == "onnx")
            assert artifact.parity.measured_on is not None
    with pytest.warns(UnverifiedArtifactWarning, match="--runtime coreml"):
        BundleSource(bundle, runtime="coreml", precision="fp16")


def test_the_plan_is_in_the_manifest(bundle: Bundle) -> None:
    content = json.loads((bundle.root / "manifest.json").read_text())
    pins = content["precision_plan"]["prompt_encoder"]
    assert {pin["reason"] for pin in pins} >= {"contract"}
    planned = {name for name in bundle.manifest.graphs if not name.startswith("letterbox@")}
    assert set(content["precision_plan"]) == planned
