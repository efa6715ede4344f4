"""The paper's ViT-B at 1024 px: the sizes that matter."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from export.buckets import bucket_example
from export.coreml.mil_interpreter import MilInterpreter
from export.coreml.to_coreml import to_coreml
from export.precision.mixed_precision import contract_operations, halve
from export.program import export_program
from samclip_sdk.bundle.files import GraphFile
from samclip_sdk.bundle.open import open_bundle
from samclip_sdk.modeling.build import build_model
from samclip_sdk.modeling.config import VIT_B
from samclip_sdk.runtimes.onnx.session import OrtSession
from tests.coreml_packages import METADATA, error
from tests.disk_cache import ROOT
from tests.export.tiny_programs import full_size_graphs
from tests.full_size import vit_b_bundle

pytestmark = pytest.mark.slow

ENCODER = "image_encoder@1024"
IMAGE = np.random.default_rng(5).integers(0, 256, (1, 3, 1024, 1024)).astype(np.uint8)
QUANTIZE = """
import resource, sys
sys.path.insert(0, sys.argv[1])
import numpy as np, onnx_ir as ir
from export.precision.quantize import quantize

feed = {"image": np.random.default_rng(0).integers(0, 256, (1, 3, 1024, 1024)).astype(np.uint8)}
model = ir.external_data.load_to_model(ir.load(sys.argv[2]))
found = quantize(model, graph="vit_b", feeds=[feed], accept=lambda path: None)
print(len(found.layers), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def encoder_file() -> Path:
    (file,) = open_bundle(vit_b_bundle()).graph_files(ENCODER, runtime="onnx")
    return file.path


def test_vit_b_is_exported() -> None:
    """The export's own gate, and one image more."""
    manifest = open_bundle(vit_b_bundle()).manifest
    assert manifest.random_weights
    session = OrtSession(GraphFile(encoder_file()), spec=manifest.graphs[ENCODER])
    with torch.inference_mode():
        tokens, embeddings = build_model(VIT_B, seed=0).image_encoder(torch.from_numpy(IMAGE))
    expected = {"image_tokens": tokens.numpy(), "image_embeddings": embeddings.numpy()}
    assert error(session.run({"image": IMAGE}), expected=expected) <= 1e-4


def test_int8_takes_less_than_6_gb() -> None:
    command = [sys.executable, "-c", QUANTIZE, str(ROOT), str(encoder_file())]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    layers, peak_kb = map(int, answer.stdout.split())
    assert layers == 12 * 4 + 1 + 2
    assert peak_kb < 6e6


@pytest.mark.parametrize(("precision", "bound"), [("fp32", 1e-5), ("fp16", 2e-2)])
def test_core_ml(tmp_path: Path, precision: str, bound: float) -> None:
    graph = full_size_graphs()[ENCODER]
    program = export_program(graph.module, example=bucket_example(graph, axes={}), dynamic_axes={})
    if precision == "fp16":
        program = halve(program, pinned=contract_operations(program))
    path = tmp_path / "encoder.mlpackage"
    to_coreml(program, {path: "as_is"}, graph=graph, axes={}, metadata=METADATA)
    found = MilInterpreter(path).predict({"image": Image.fromarray(IMAGE[0].transpose(1, 2, 0))})
    assert error(found, expected=graph.reference({"image": IMAGE})) < bound
