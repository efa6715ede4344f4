"""The gate lets nothing through that is not the contract's graph with eager torch's values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from export.graphs import Graph, build_graphs
from export.parity import BOUNDS, STORAGE_BOUNDS, Bounds, check_parity, read_outputs
from export.probes import Probe, probe_graphs, prompt_feeds
from samclip_sdk.bundle.contract import file_stem
from samclip_sdk.bundle.manifest import ImageSpec
from samclip_sdk.errors import VerificationError
from samclip_sdk.modeling.build import build_model
from samclip_sdk.modeling.checkpoint import load_checkpoint
from samclip_sdk.modeling.config import ModelConfig
from samclip_sdk.picture.frame import Frame
from samclip_sdk.runtimes.fake import FakeSession
from samclip_sdk.runtimes.onnx.session import OrtSession
from samclip_sdk.runtimes.session import Session


def graphs_and_probes(model: object) -> tuple[dict[str, Graph], dict[str, list[Probe]]]:
    graphs = build_graphs(model, resolutions=(32, 64))
    ids = np.full((4, 77), 49407, dtype=np.int32)
    ids[:, 1] = [5, 6, 7, 8]
    probes = probe_graphs(
        graphs, resolution=64, image=ImageSpec(patch_size=8), token_ids=(ids[:1], ids[1:])
    )
    return {graph.name: graph for graph in graphs}, probes


@pytest.fixture(scope="module")
def right(tiny_checkpoint: Path) -> tuple[dict[str, Graph], dict[str, list[Probe]]]:
    return graphs_and_probes(load_checkpoint(tiny_checkpoint))


@pytest.fixture(scope="module")
def other(tiny_config: ModelConfig) -> tuple[dict[str, Graph], dict[str, list[Probe]]]:
    return graphs_and_probes(build_model(tiny_config, seed=2))


def open_graph(bundle: Path, graph: Graph) -> Session:
    return OrtSession(bundle / "onnx" / f"{file_stem(graph.name)}.onnx", spec=graph.contract())


@pytest.mark.parametrize("name", ["image_encoder@64", "clip_head@32", "mask_decoder"])
def test_right_graph_passes(
    tiny_bundle: Path, right: tuple[dict[str, Graph], dict[str, list[Probe]]], name: str
) -> None:
    graphs, probes = right
    parity = check_parity(
        open_graph(tiny_bundle, graphs[name]),
        graph=graphs[name],
        probes=probes[name],
        bounds=STORAGE_BOUNDS["fp32"],
        random_weights=False,
        runs_on="this",
    )
    metrics = {each.metric for each in parity.measurements}
    assert ("mean_iou/low_res_masks" in metrics) == (name == "mask_decoder")
    assert ("min_cosine/patch_embeddings" in metrics) == (name == "clip_head@32")
    assert parity.measured_on is not None
    assert parity.measured_on.startswith("this, ")


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


def test_an_output_of_another_shape_is_refused(
    right: tuple[dict[str, Graph], dict[str, list[Probe]]],
) -> None:
    graphs, probes = right
    graph = graphs["prompt_encoder"]
    wrong = {"sparse_mask": np.zeros((1, 1), dtype=np.float32)}
    session = FakeSession(graph.contract(), answer=lambda _: wrong)
    with pytest.raises(VerificationError, match="broke its contract"):
        check_parity(
            session,
            graph=graph,
            probes=probes["prompt_encoder"],
            bounds=STORAGE_BOUNDS["fp32"],
            random_weights=True,
            runs_on="this",
        )


def test_what_is_not_finite_is_refused_in_any_precision() -> None:
    expected = {"image_tokens": np.ones((1, 4), dtype=np.float32)}
    found = {"image_tokens": np.array([[1, 1, np.inf, 1]], dtype=np.float32)}
    for bounds in (*BOUNDS.values(), *STORAGE_BOUNDS.values()):
        readings = read_outputs([found], expected=[expected], bounds=bounds, random_weights=True)
        assert not all(reading.kept for reading in readings)


def test_probes_cover_the_prompts_that_go_wrong() -> None:
    feeds = prompt_feeds(Frame.fit(62, 96, resolution=64), mask_side=32)
    shapes = [feed["point_labels"].shape for feed in feeds]
    assert {k for k, _ in shapes} == {1, 3}
    assert {p for _, p in shapes} == {1, 2, 4}
    labels = np.concatenate([feed["point_labels"].ravel() for feed in feeds])
    assert set(labels.tolist()) == {-2, -1, 0, 1, 2, 3}
    assert {0.0, 1.0} == set(feeds[-1]["has_mask_input"].tolist())


def test_probes_hold_padding(right: tuple[dict[str, Graph], dict[str, list[Probe]]]) -> None:
    _, probes = right
    wide, tall = (probe.feed["token_mask"] for probe in probes["clip_head@64"])
    assert wide[0, -1, 0] == 0
    assert wide[0, 0, -1] == 1
    assert tall[0, -1, 0] == 1
    assert tall[0, 0, -1] == 0
