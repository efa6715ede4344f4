"""Weights that a byte holds: rounded once, stored alike by every graph, and decoded to the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from export.bundle_writer import write_bundle
from export.external_weights import WeightFiles, shrink_weights
from export.options import ExportOptions
from export.precision.mixed_precision import halve
from export.program import export_program
from export.source import Source, random_source
from export.to_onnx import to_onnx
from export.weight_rounding import Axes, on_grid, round_modules, round_weights
from samclip_sdk.bundle.graph_spec import TensorSpec
from samclip_sdk.errors import VerificationError
from samclip_sdk.modeling.batch_norm import fold_batch_norm
from tests.refusals import refused
from tests.tiny_config import TINY


class Everything(nn.Module):
    """Every kind of product, each of its weights a byte, between some that stay."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(4096, 16)
        self.linear = nn.Linear(16, 4096)
        self.conv = nn.Conv2d(256, 256, 1, bias=False)
        self.norm = nn.BatchNorm2d(256)
        self.depthwise = nn.Conv2d(256, 256, 17, padding="same", groups=256)
        self.up = nn.ConvTranspose2d(256, 64, 2, stride=2)
        self.small = nn.Linear(8, 8)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.linear(self.table(ids)).reshape(1, 256, 4, 4)
        x = self.depthwise(self.norm(self.conv(x)))
        y: Tensor = self.small(self.up(x))
        return y


BYTES = 4096 * 16 + 16 * 4096 + 256 * 256 + 256 * 64 * 4
IDS = torch.tensor([7], dtype=torch.int32)


@pytest.fixture(scope="module")
def module() -> Everything:
    torch.manual_seed(0)
    module = Everything().eval().requires_grad_(False)
    nn.init.normal_(module.norm.weight)  # of either sign: it turns grids over
    nn.init.uniform_(module.norm.running_var, 0.5, 2)
    module.norm.weight[:9] = 1e-6  # dead channels, whose folded weights fp16 cannot tell apart
    return module


@pytest.fixture(scope="module")
def rounded(module: Everything) -> Everything:
    torch.manual_seed(0)
    copy = Everything().eval()
    copy.load_state_dict(module.state_dict())
    round_modules(copy)
    return copy.requires_grad_(False)


@pytest.fixture(scope="module")
def program(rounded: Everything) -> ExportedProgram:
    copy = Everything().eval()
    copy.load_state_dict(rounded.state_dict())
    fold_batch_norm(copy, example=IDS)
    return export_program(copy.requires_grad_(False), example={"ids": IDS}, dynamic_axes={})


def to_graph(program: ExportedProgram) -> ir.Model:
    return to_onnx(
        program,
        inputs=[TensorSpec(name="ids", dtype="int32", shape=(1,))],
        outputs=[TensorSpec(name="y", dtype="float32", shape=(1, 64, 8, 8))],
    )


@pytest.mark.parametrize(
    ("shape", "axes", "steps"),
    [
        ((8, 64), Axes(channels=0, summed=1), (8, 4, 1)),
        ((8, 113, 3, 3), Axes(channels=0, summed=1), (8, 1, 1, 1, 1)),
        ((96, 8), Axes(channels=1, summed=0), (6, 1, 8)),
        ((24, 8), Axes(channels=1, summed=0), (1, 1, 8)),
        ((50, 8), Axes(channels=1, summed=None), (1, 8)),
    ],
)
def test_a_group_has_a_step_and_uses_all_of_its_grid(
    shape: tuple[int, ...], axes: Axes, steps: tuple[int, ...]
) -> None:
    weight = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    counts, found = on_grid(weight, axes=axes)
    assert found.shape == steps
    shared = tuple(axis for axis, length in enumerate(steps) if length == 1)
    np.testing.assert_allclose(np.abs(counts).max(axis=shared), 127, rtol=1e-5)
    np.testing.assert_allclose((counts * found).reshape(shape), weight, rtol=1e-5)


def test_a_weight_moves_by_half_a_step_at_most(module: Everything, rounded: Everything) -> None:
    weight, axes = module.linear.weight.numpy(), Axes(channels=0, summed=1)
    _, steps = on_grid(weight, axes=axes)
    moved = np.abs(rounded.linear.weight.numpy() - weight).reshape(4096, 1, 16)
    assert (moved <= 0.5001 * steps).all()
    assert (moved > 0).any()


def test_a_rounded_model_is_another_revision() -> None:

    source = random_source(TINY, seed=0)
    assert round_weights(source).revision != source.revision
    assert round_weights(source).model is not source.model


def test_graphs_share_their_bytes_and_compute_the_rounded_model(
    rounded: Everything, program: ExportedProgram, tmp_path: Path
) -> None:
    single, half = to_graph(program), to_graph(halve(program, pinned=set()))
    with WeightFiles(tmp_path, part="part") as store:
        for precision, model in {"int8": single.clone(), "fp16": half, "fp32": single}.items():
            shrink_weights(model, stored="int8")
            store.add(model, name=f"{precision}.onnx", precision=precision)
        store.write()
    assert (tmp_path / "part.fp16-fp32-int8.weights").stat().st_size >= BYTES
    wanted = rounded(IDS).numpy()
    for precision, bound in (("int8", 2e-3), ("fp32", 2e-3), ("fp16", 1e-2)):
        path = tmp_path / f"{precision}.onnx"
        stored = [each.const_value for each in ir.load(path).graph.initializers.values()]
        assert sum(each.size for each in stored if each.dtype == ir.DataType.UINT8) == BYTES
        session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
        (found,) = session.run(None, {"ids": IDS.numpy()})
        assert np.abs(found - wanted).max() < bound * np.abs(wanted).max(), precision


@pytest.mark.slow
def test_a_trained_model_may_lose_no_answer_by_rounding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it does, that is found before any graph is written."""

    def coarse(source: Source) -> Source:
        rounded = round_weights(source)
        for each in rounded.model.parameters():
            each.data += each.std(correction=0) * torch.randn_like(each) / 2
        return rounded

    monkeypatch.setattr("export.bundle_writer.round_weights", coarse)
    source = replace(random_source(TINY, seed=0), random_weights=False)
    options = ExportOptions(weights="int8")
    refused(
        lambda: write_bundle(source, tmp_path / "bundle", options=options),
        VerificationError,
        "--weights fp32",
    )
    assert not list(tmp_path.iterdir())
