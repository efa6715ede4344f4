"""LiteRT files of tiny models: they answer as eager torch does, in every precision and bucket.

They need the converter, which has an environment of its own: `make test-litert`.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from export.buckets import BATCH_BUCKETS
from export.graphs import build_graphs
from export.litert.layers import find_layers, many_axes
from export.litert.to_litert import to_litert
from export.source import random_source
from samclip_sdk import SamClip
from samclip_sdk.bundle.open import Bundle
from samclip_sdk.runtimes.litert.interpreter import import_interpreter
from tests.device_bundle import export_alone, verifies_and_answers
from tests.source_tree import ROOT
from tests.tiny_config import MOBILE

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("litert_torch") is None,
    reason="litert-torch is not installed: make test-litert",
)

PRECISIONS = ("fp32", "fp16", "int8")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    source, folder = random_source(MOBILE, seed=1), tmp_path_factory.mktemp("litert") / "bundle"
    return export_alone(source, folder, runtime="litert", precisions=PRECISIONS)


def content(bundle: Bundle, graph: str, precision: str) -> bytes:
    (file,) = bundle.graph_files(graph, runtime="litert", precision=precision)
    return file.path.read_bytes()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_verify_passes_and_loading_does_not_warn(bundle: Bundle, precision: str) -> None:
    verifies_and_answers(bundle, runtime="litert", precision=precision)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_an_embedding_does_not_depend_on_the_bucket(bundle: Bundle, precision: str) -> None:
    with SamClip.load("litert", model=bundle.root, precision=precision) as model:
        session = model.source.session("text_encoder")
        ids = np.zeros((3, MOBILE.text_encoder.context_length), dtype=np.int32)
        ids[:, :3] = [[101, 5, 102], [101, 6, 102], [101, 7, 102]]
        texts = session.run({"input_ids": ids})["text_embeddings"]
        alone = session.run({"input_ids": ids[:1]})["text_embeddings"]
        np.testing.assert_allclose(texts[:1], alone, atol=1e-5)


def test_the_kotlin_package_answers_alike(bundle: Bundle) -> None:
    """Its adapter passes the bundle's goldens in every precision, through LiteRT's C library."""
    where = {
        "PYTHON": sys.executable,
        "SAMCLIP_LITERT": str(Path(import_interpreter().__file__).with_name("libLiteRt.so")),
        "SAMCLIP_LITERT_BUNDLE": str(bundle.root),
    }
    done = subprocess.run(
        [ROOT / "examples/android/test"], env=os.environ | where, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "graphs[2] int8 prompt_encoder" in done.stdout.partition("on LiteRT")[2]


def test_the_converter_writes_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    graphs = build_graphs(random_source(MOBILE, seed=1).model, resolutions=[64])
    to_litert(next(each for each in graphs if each.part == "prompt_encoder"))
    assert capfd.readouterr() == ("", "")


def test_signatures_share_their_weights(bundle: Bundle) -> None:
    """Each product is in all signatures of the file, with one weight."""
    found = find_layers(content(bundle, "mask_decoder", "fp32"))
    assert len(found) > 10
    assert {len(layer.places) for layer in found} == {len(BATCH_BUCKETS)}


@pytest.mark.parametrize("precision", PRECISIONS)
def test_no_tensor_has_more_axes_than_a_phones_gpu_takes(bundle: Bundle, precision: str) -> None:
    for graph in bundle.manifest.graphs:
        assert list(many_axes(content(bundle, graph, precision))) == []


def types(data: bytes) -> set[str]:
    interpreter = import_interpreter().Interpreter(model_content=data)
    return {np.dtype(each["dtype"]).name for each in interpreter.get_tensor_details()}


def test_what_is_stored_in_less(bundle: Bundle) -> None:
    for graph in bundle.manifest.graphs:
        single, half, int8 = (content(bundle, graph, each) for each in PRECISIONS)
        if graph == "prompt_encoder":  # coordinates must be exact
            assert single == half == int8
            continue
        assert "float16" in types(half) - types(single)
        assert ("int8" in types(int8)) == (graph != "text_encoder")
        if graph != "mask_decoder":  # so small a decoder is mostly its three signatures
            assert len(int8) < len(single)


def stored_types(data: bytes, operator: int) -> set[int]:
    """The types of an operator's weights, as the file has them: a DEQUANTIZE may follow."""
    schema = importlib.import_module("ai_edge_litert.schema_py_generated")
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    found = set()
    for graph in model.subgraphs:
        sources = {int(each.outputs[0]): int(each.inputs[0]) for each in graph.operators}
        for each in graph.operators:
            if model.operatorCodes[each.opcodeIndex].deprecatedBuiltinCode == operator:
                weight = int(each.inputs[1])
                found.add(int(graph.tensors[sources.get(weight, weight)].type))
    return found


def test_depthwise_weights_stay_in_fp32_where_they_are_not_in_int8(bundle: Bundle) -> None:
    schema = importlib.import_module("ai_edge_litert.schema_py_generated")
    half = content(bundle, "image_encoder@64", "fp16")
    operators, types_ = schema.BuiltinOperator, schema.TensorType
    assert stored_types(half, operators.CONV_2D) == {types_.FLOAT16}
    assert stored_types(half, operators.DEPTHWISE_CONV_2D) == {types_.FLOAT32}
