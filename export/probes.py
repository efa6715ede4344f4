"""Realistic inputs for each graph, made without a data set, and eager torch's outputs.

Each part gets the outputs of the part before it, because random noise is far from the inputs that a
CLIP head or a mask decoder works on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from export.graphs import MULTIPLES, Arrays, Graph
from export.images import draw_image
from samclip_sdk.bundle.contract import graph_key
from samclip_sdk.bundle.manifest import ImageSpec
from samclip_sdk.image.frame import Frame, letterbox
from samclip_sdk.image.model_prompts import BOX_BOTTOM_RIGHT, BOX_TOP_LEFT, FILLER, NOT_A_POINT

FOREGROUND, BACKGROUND = 1, 0

IMAGES = (draw_image(62, 96, seed=1), draw_image(80, 52, seed=2))
"""One wide and one tall image: a square one would hide swapped axes and the padding."""


@dataclass(frozen=True)
class Probe:
    """An input of a graph and eager torch's outputs, both by tensor name."""

    feed: Arrays
    expected: Arrays


def probe_graphs(
    graphs: Sequence[Graph],
    *,
    resolution: int,
    image: ImageSpec,
    token_ids: Sequence[NDArray[np.int32]],
    images: Sequence[NDArray[np.uint8]] = IMAGES,
) -> dict[str, list[Probe]]:
    """Runs every graph's module in eager torch, several times.

    Args:
        graphs: all graphs of the bundle.
        resolution: the resolution of segmentation, at which prompts are decoded.
        image: the bundle's image preprocessing.
        token_ids: batches int32 [n,L].
        images: the images, each uint8 [H,W,3].

    Returns:
        Graph name -> probes.
    """
    by_name = {graph.name: graph for graph in graphs}
    probes: dict[str, list[Probe]] = {graph.name: [] for graph in graphs}

    def probe(name: str, feed: Arrays) -> dict[str, NDArray[np.generic]]:
        expected = by_name[name].reference(feed)
        probes[name].append(Probe(feed, expected))
        return expected

    for ids in token_ids:
        probe("text_encoder", {"input_ids": ids})
    for at in sorted({graph.resolution for graph in graphs if graph.resolution is not None}):
        for pixels in images:
            square, frame = letterbox(pixels, resolution=at, pad_colour=image.pad_colour)
            encoded = probe(graph_key("image_encoder", at), {"image": square})
            token_mask = frame.token_mask(patch_size=image.patch_size)
            head = {"image_tokens": encoded["image_tokens"], "token_mask": token_mask}
            probe(graph_key("clip_head", at), head)
            if at == resolution:
                for feed in prompt_feeds(frame, mask_side=4 * token_mask.shape[-1]):
                    embeddings = {"image_embeddings": encoded["image_embeddings"]}
                    probe("mask_decoder", embeddings | probe("prompt_encoder", feed))
    return probes


def open_probes(probes: Sequence[Probe], *, graph: Graph) -> list[Probe]:
    """Probes of a graph's contract, and of what its ONNX files take besides."""
    more: list[Probe] = []
    if graph.part == "text_encoder":
        more = [_without_padding(probe) for probe in probes]
    if graph.rectangular:
        more = [_in_rectangle(probe, graph=graph) for probe in probes]
    return [*probes, *more]


def _without_padding(probe: Probe) -> Probe:
    """A text encoder's probe without the zeros behind its longest text.

    The output must be the same: ONNX files take texts of any length up to the context length.
    """
    ids = probe.feed["input_ids"]
    longest = int(np.flatnonzero(ids.any(axis=0)).max()) + 1
    return Probe({"input_ids": np.ascontiguousarray(ids[:, :longest])}, probe.expected)


def _in_rectangle(probe: Probe, *, graph: Graph) -> Probe:
    """A probe of the upper two thirds of its maps, as of a wide image.

    Args:
        probe: of whole squares.
        graph: one that also takes rectangles.
    """
    feed = dict(probe.feed)
    for spec in graph.traced_inputs():
        if (step := MULTIPLES.get(str(spec.shape[-2:][0]))) is not None:
            rows = feed[spec.name].shape[-2] * 2 // 3 // step * step
            feed[spec.name] = np.ascontiguousarray(feed[spec.name][..., :rows, :])
    return Probe(feed, graph.reference(feed))


def prompt_feeds(frame: Frame, *, mask_side: int) -> list[Arrays]:
    """Prompts with K = 1, 3 and P = 1, 2, 4: points, boxes, masks, padding and filler."""
    width, height = frame.resized_width_px, frame.resized_height_px
    centre, aside = (0.5 * width, 0.5 * height), (0.3 * width, 0.6 * height)
    corners = ((0.2 * width, 0.25 * height), (0.8 * width, 0.7 * height))
    none = (0.0, 0.0)
    no_masks = np.zeros((3, 1, mask_side, mask_side), dtype=np.float32)
    return [
        _feed([[centre]], labels=[[FOREGROUND]], mask_input=no_masks[:1], has_mask=[0]),
        _feed(
            [[*corners, none, none], [centre, aside, none, none], [aside, none, none, none]],
            labels=[
                [BOX_TOP_LEFT, BOX_BOTTOM_RIGHT, FILLER, FILLER],
                [FOREGROUND, BACKGROUND, NOT_A_POINT, FILLER],
                [FOREGROUND, NOT_A_POINT, FILLER, FILLER],
            ],
            mask_input=no_masks,
            has_mask=[0, 0, 0],
        ),
        _feed(
            [[centre, none], corners, [none, none]],
            labels=[
                [FOREGROUND, NOT_A_POINT],
                [BOX_TOP_LEFT, BOX_BOTTOM_RIGHT],
                [FILLER, FILLER],
            ],
            mask_input=np.concatenate([disc_logits(mask_side, radius=r) for r in (0.2, 0.3, 0.4)]),
            has_mask=[1, 0, 1],
        ),
    ]


def disc_logits(side: int, *, radius: float) -> NDArray[np.float32]:
    """A mask prompt float32 [1,1,side,side]: a disc, with its logits clipped as in text-to-mask."""
    y, x = np.mgrid[:side, :side] / side
    distance = np.hypot(x - 0.45, y - 0.35)
    logits: NDArray[np.float32] = np.clip(60 * (radius - distance), -10, 10).astype(np.float32)
    return logits[None, None]


def _feed(
    coords: Sequence[Sequence[tuple[float, float]]],
    *,
    labels: Sequence[Sequence[int]],
    mask_input: NDArray[np.float32],
    has_mask: Sequence[float],
) -> Arrays:
    return {
        "point_coords": np.array(coords, dtype=np.float32),
        "point_labels": np.array(labels, dtype=np.int32),
        "mask_input": mask_input,
        "has_mask_input": np.array(has_mask, dtype=np.float32),
    }
