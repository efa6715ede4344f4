"""The goldens: what eager torch answers, for devices to compare themselves with."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export.external_weights import WeightPrecision
from export.graphs import Arrays, Graph
from export.parity import MAX_ERROR
from export.probes import PICTURES, Probe
from samclip_sdk.goldens import (
    Expected,
    GoldenClassEmbeddings,
    GoldenGraph,
    GoldenIndex,
    GoldenLetterbox,
    GoldenSegment,
    GoldenTokens,
)
from samclip_sdk.image import letterbox
from samclip_sdk.prompts import geometric_prompts

Tokenize = Callable[[Sequence[str]], NDArray[np.int32]]

GOLDEN_LABELS = ("dog", "traffic light")

_TOKENS = Path(__file__).with_name("golden_tokens.json")
_PICTURE = "picture"
_PROBES_PER_GRAPH = {"prompt_encoder": (1, 2), "mask_decoder": (1,)}
_MAX_VALUES = 2048
_FP16_STORAGE = 1e-3
_CHAINED = 3  # encoder, prompt encoder and decoder each add their error


class GoldenWriter:
    """Collects tensors, each once, and the index that refers to them.

    Args:
        graphs: of the bundle, with their eager modules.
        weights: how the ONNX files store theirs; decides the errors allowed.
    """

    def __init__(self, graphs: Sequence[Graph], *, weights: WeightPrecision) -> None:
        self._graphs = {graph.name: graph for graph in graphs}
        self._max_error = MAX_ERROR[weights] + _FP16_STORAGE
        self._tensors: dict[str, NDArray[np.generic]] = {_PICTURE: PICTURES[0]}

    def build(
        self,
        probes: Mapping[str, Sequence[Probe]],
        *,
        resolution: int,
        pad_colour: tuple[int, int, int],
        templates: Sequence[str],
        tokenize: Tokenize,
    ) -> GoldenIndex:
        """Runs eager torch on what the goldens hold.

        Args:
            probes: of each graph; some of their inputs become goldens.
            resolution: of segmentation.
            pad_colour: of the letterbox.
            templates: prompt templates of class embeddings.
            tokenize: texts to ids int32 [n,77].
        """
        resolutions = {g.resolution for g in self._graphs.values() if g.resolution is not None}
        return GoldenIndex(
            tokens=golden_tokens(),
            letterbox=tuple(
                self._letterbox(each, pad_colour=pad_colour) for each in sorted(resolutions)
            ),
            graphs=tuple(
                self._graph(graph, probe=probes[name][index], key=f"{name}.{index}")
                for name, graph in self._graphs.items()
                for index in _PROBES_PER_GRAPH.get(name, (0,))
            ),
            segment=tuple(
                self._segment(prompt, resolution=resolution, pad_colour=pad_colour)
                for prompt in ("point", "box")
            ),
            class_embeddings=(self._class_embeddings(templates, tokenize=tokenize),),
        )

    def tensors(self) -> bytes:
        """The content of `golden/tensors.npz`."""
        content = io.BytesIO()
        np.savez_compressed(content, **self._tensors)  # type: ignore[arg-type]
        return content.getvalue()

    def _letterbox(self, resolution: int, *, pad_colour: tuple[int, int, int]) -> GoldenLetterbox:
        image, _ = letterbox(PICTURES[0], resolution=resolution, pad_colour=pad_colour)
        key = self._keep(image, key=f"{_PICTURE}@{resolution}")
        return GoldenLetterbox(image=_PICTURE, resolution=resolution, output=key)

    def _graph(self, graph: Graph, *, probe: Probe, key: str) -> GoldenGraph:
        stored = {name: _storable(array) for name, array in probe.feed.items()}
        # The reference is of the inputs as they are stored, rounding included.
        expected = graph.reference({name: _widened(array) for name, array in stored.items()})
        return GoldenGraph(
            graph=graph.name,
            inputs={name: self._keep(array, key=f"{key}.{name}") for name, array in stored.items()},
            outputs={
                name: self._expect(array, key=f"{key}.{name}", max_error=self._max_error)
                for name, array in expected.items()
            },
        )

    def _segment(
        self, prompt: str, *, resolution: int, pad_colour: tuple[int, int, int]
    ) -> GoldenSegment:
        """From the picture to masks, with one point or one box in its pixels."""
        height, width = PICTURES[0].shape[:2]
        points = ((0.42 * width, 0.55 * height),) if prompt == "point" else ()
        box = None if points else (0.2 * width, 0.25 * height, 0.7 * width, 0.8 * height)
        image, frame = letterbox(PICTURES[0], resolution=resolution, pad_colour=pad_colour)
        encoded = self._run(f"image_encoder@{resolution}", {"image": image})
        decoder = self._graphs["mask_decoder"]
        prompts = geometric_prompts(
            points or None,
            labels=[1] if points else None,
            boxes=box,
            mask_input=None,
            frame=frame,
            mask_side=int(decoder.outputs[0].shape[-1]),
        )
        sparse = self._run("prompt_encoder", next(prompts.batches(1)))
        masks = self._run(
            "mask_decoder", {"image_embeddings": encoded["image_embeddings"], **sparse}
        )
        low_res, iou = (
            self._expect(
                array, key=f"segment.{prompt}.{name}", max_error=_CHAINED * self._max_error
            )
            for name, array in masks.items()
        )
        return GoldenSegment(
            image=_PICTURE,
            points=points,
            labels=(1,) if points else (),
            box=box,
            low_res_masks=low_res,
            iou_predictions=iou,
        )

    def _class_embeddings(
        self, templates: Sequence[str], *, tokenize: Tokenize
    ) -> GoldenClassEmbeddings:
        """The normalised mean of the normalised embeddings over the templates."""
        rows = []
        for label in GOLDEN_LABELS:
            ids = tokenize([template.replace("{}", label) for template in templates])
            mean = self._run("text_encoder", {"input_ids": ids})["text_embeddings"].mean(axis=0)
            rows.append(mean / np.linalg.norm(mean))
        expected = self._expect(np.stack(rows), key="class_embeddings", max_error=self._max_error)
        return GoldenClassEmbeddings(labels=GOLDEN_LABELS, expected=expected)

    def _run(self, name: str, feed: Arrays) -> dict[str, NDArray[np.generic]]:
        return self._graphs[name].reference(feed)

    def _expect(self, output: NDArray[np.generic], *, key: str, max_error: float) -> Expected:
        # An odd step visits every column and channel of maps whose sides are powers of two.
        step = max(1, output.size // _MAX_VALUES) | 1
        key = self._keep(_storable(output.reshape(-1)[::step]), key=key)
        return Expected(tensor=key, step=step, max_error=max_error)

    def _keep(self, array: NDArray[np.generic], *, key: str) -> str:
        """Stores an array as `key` unless it is there already; returns the key it has."""
        for other, kept in self._tensors.items():
            if kept.dtype == array.dtype and np.array_equal(kept, array):
                return other
        self._tensors[key] = array
        return key


def golden_tokens() -> tuple[GoldenTokens, ...]:
    """The golden texts with open_clip's ids of them; a test compares the file with open_clip."""
    content = json.loads(_TOKENS.read_text(encoding="utf-8"))
    return tuple(GoldenTokens.model_validate(entry) for entry in content)


def _storable(array: NDArray[np.generic]) -> NDArray[np.generic]:
    """Floats as fp16, anything else as it is."""
    return array.astype(np.float16) if array.dtype == np.float32 else array


def _widened(array: NDArray[np.generic]) -> NDArray[np.generic]:
    return array.astype(np.float32) if array.dtype == np.float16 else array
