"""The gate lets nothing through that is not the contract's graph with eager torch's values."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from export.graphs import Graph, build_graphs
from export.parity import check_parity
from export.probes import Probe, probe_graphs, prompt_feeds
from samclip_sdk.errors import VerificationError
from samclip_sdk.image import Frame
from samclip_sdk.manifest import ImageSpec
from samclip_sdk.modeling.build import build_model
from samclip_sdk.modeling.checkpoint import load_checkpoint
from samclip_sdk.modeling.config import ModelConfig


def graphs_and_probes(model: object) -> tuple[dict[str, Graph], dict[str, list[Probe]]]:
    graphs = build_graphs(model, resolutions=(32, 64))  # type: ignore[arg-type]
    ids = np.full((4, 77), 49407, dtype=np.int32)
    ids[:, 1] = [5, 6, 7, 8]
    probes = probe_graphs(graphs, resolution=64, image=ImageSpec(patch_size=8), token_ids=ids)
    return {graph.name: graph for graph in graphs}, probes


@pytest.fixture(scope="module")
def right(tiny_checkpoint: Path) -> tuple[dict[str, Graph], dict[str, list[Probe]]]:
    return graphs_and_probes(load_checkpoint(tiny_checkpoint))


@pytest.mark.parametrize("name", ["image_encoder@64", "clip_head@32", "mask_decoder"])
def test_right_graph_passes(
    tiny_bundle: Path, right: tuple[dict[str, Graph], dict[str, list[Probe]]], name: str
) -> None:
    graphs, probes = right
    parity = check_parity(
        tiny_bundle / "onnx" / f"{name}.onnx",
        graph=graphs[name],
        probes=probes[name],
        weights="fp32",
        random_weights=False,
    )
    metrics = {each.metric for each in parity.measurements}
    assert ("mean_iou/low_res_masks" in metrics) == (name == "mask_decoder")
    assert ("min_cosine/patch_embeddings" in metrics) == (name == "clip_head@32")


@pytest.mark.parametrize(
    "name", ["image_encoder@64", "clip_head@32", "text_encoder", "prompt_encoder", "mask_decoder"]
)
def test_other_weights_are_refused(tiny_bundle: Path, tiny_config: ModelConfig, name: str) -> None:
    graphs, probes = graphs_and_probes(build_model(tiny_config, seed=2))
    with pytest.raises(VerificationError, match="max_error"):
        check_parity(
            tiny_bundle / "onnx" / f"{name}.onnx",
            graph=graphs[name],
            probes=probes[name],
            weights="fp16",
            random_weights=True,
        )


def test_other_tensors_are_refused(
    tiny_bundle: Path, right: tuple[dict[str, Graph], dict[str, list[Probe]]]
) -> None:
    graphs, probes = right
    graph = graphs["prompt_encoder"]
    swapped = dataclasses.replace(graph, inputs=graph.inputs[::-1])
    with pytest.raises(VerificationError, match="its contract says"):
        check_parity(
            tiny_bundle / "onnx" / "prompt_encoder.onnx",
            graph=swapped,
            probes=probes["prompt_encoder"],
            weights="fp32",
            random_weights=True,
        )


def test_not_a_number_is_refused(
    tiny_bundle: Path, right: tuple[dict[str, Graph], dict[str, list[Probe]]]
) -> None:
    graphs, probes = right
    feed = dict(probes["mask_decoder"][0].feed)
    feed["image_embeddings"] = np.full_like(feed["image_embeddings"], np.nan)
    probe = Probe(feed, graphs["mask_decoder"].reference(feed))
    with pytest.raises(VerificationError, match="inf"):
        check_parity(
            tiny_bundle / "onnx" / "mask_decoder.onnx",
            graph=graphs["mask_decoder"],
            probes=[probe],
            weights="fp32",
            random_weights=True,
        )


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
