"""The gate lets nothing through that is not the contract's graph with eager torch's values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from export.graphs import Graph, build_graphs
from export.parity import BOUNDS, STORAGE_BOUNDS, Bounds, check_parity, read_outputs
from export.probes import Probe, probe_graphs
from samclip_sdk.bundle.contract import file_stem
from samclip_sdk.bundle.files import GraphFile
from samclip_sdk.bundle.manifest import ImageSpec
from samclip_sdk.errors import VerificationError
from samclip_sdk.modeling.build import build_model
from samclip_sdk.runtimes.onnx.session import OrtSession
from samclip_sdk.runtimes.session import Session
from tests.tiny_config import BUNDLED


def graphs_and_probes(model: object) -> tuple[dict[str, Graph], dict[str, list[Probe]]]:
    graphs = build_graphs(model, resolutions=(32, 64))
    ids = np.array([[101, word, 102, *[0] * 21] for word in (5, 6, 7, 8)], dtype=np.int32)
    probes = probe_graphs(
        graphs, resolution=64, image=ImageSpec(patch_size=16), token_ids=(ids[:1], ids[1:])
    )
    return {graph.name: graph for graph in graphs}, probes


@pytest.fixture(scope="module")
def other() -> tuple[dict[str, Graph], dict[str, list[Probe]]]:
    return graphs_and_probes(build_model(BUNDLED, seed=2))


def open_graph(bundle: Path, graph: Graph) -> Session:
    return OrtSession(
        GraphFile(bundle / "onnx" / f"{file_stem(graph.name)}.onnx"), spec=graph.contract()
    )


@pytest.mark.parametrize(
    "name", ["image_encoder@64", "clip_head@32", "text_encoder", "prompt_encoder", "mask_decoder"]
)
@pytest.mark.parametrize(
    ("bounds", "metric"), [(STORAGE_BOUNDS["fp16"], "max_error"), (BOUNDS["int8"], "min_cosine")]
)
def test_other_weights_are_refused(
    tiny_bundle: Path,
    other: tuple[dict[str, Graph], dict[str, list[Probe]]],
    name: str,
    bounds: Bounds,
    metric: str,
) -> None:
    graphs, probes = other
    with pytest.raises(VerificationError, match=rf"{name} on this is not eager torch: {metric}"):
        check_parity(
            open_graph(tiny_bundle, graphs[name]),
            graph=graphs[name],
            probes=probes[name],
            bounds=bounds,
            random_weights=True,
            runs_on="this",
        )


def test_what_is_not_finite_is_refused_in_any_precision() -> None:
    expected = {"image_tokens": np.ones((1, 4), dtype=np.float32)}
    found = {"image_tokens": np.array([[1, 1, np.inf, 1]], dtype=np.float32)}
    for bounds in (*BOUNDS.values(), *STORAGE_BOUNDS.values()):
        readings = read_outputs([found], expected=[expected], bounds=bounds, random_weights=True)
        assert not all(reading.kept for reading in readings)
