"""The goldens: what eager torch answers, for devices to compare themselves with."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from export.graphs import Arrays, Graph
from export.options import WeightPrecision
from export.parity import STORAGE_BOUNDS
from export.pictures import held_out_files
from export.probes import PICTURES, Probe
from export.task_gates import TaskGate
from samclip_sdk.bundle.contract import graph_key
from samclip_sdk.bundle.manifest import GOLDEN_INDEX, GOLDEN_TENSORS, ImageSpec
from samclip_sdk.goldens.schema import (
    Expected,
    GoldenClassEmbeddings,
    GoldenGraph,
    GoldenIndex,
    GoldenLetterbox,
    GoldenSegment,
    GoldenTokens,
)
from samclip_sdk.goldens.tasks import GoldenPicture, GoldenTasks
from samclip_sdk.image import Frame, letterbox
from samclip_sdk.image_prompts import image_prompts

Tokenize = Callable[[Sequence[str]], NDArray[np.int32]]

GOLDEN_LABELS = ("traffic light",)  # one: for ViT-B its 80 prompts cost a teraflop

_PICTURE = "picture"
_PROBES = {"prompt_encoder": (1, 2), "mask_decoder": (1,)}
_MAX_VALUES = 2048
_FP16_STORAGE = 1e-3
_CHAINED = 3  # encoder, prompt encoder and decoder each add their error


def build_goldens(
    graphs: Sequence[Graph],
    *,
    probes: Mapping[str, Sequence[Probe]],
    weights: WeightPrecision,
    resolution: int,
    image: ImageSpec,
    tokens: Sequence[GoldenTokens],
    templates: Sequence[str],
    tokenize: Tokenize,
    tasks: TaskGate | None,
) -> dict[str, bytes]:
    """Runs eager torch on what the goldens hold.

    Args:
        graphs: of the bundle, with their eager modules.
        probes: of each graph; some of their inputs become goldens.
        weights: how the ONNX files store theirs; decides the errors allowed.
        resolution: of segmentation.
        image: the bundle's.
        tokens: texts with the ids that the tokenizer must give them.
        templates: prompt templates of class embeddings.
        tokenize: texts to ids int32 [n,L].
        tasks: held-out pictures and eager torch's answers; none of random weights.

    Returns:
        Path in the bundle -> content.
    """
    max_error = STORAGE_BOUNDS[weights].max_error
    assert max_error is not None
    recorder = _Recorder(graphs, max_error=max_error + _FP16_STORAGE, pad_colour=image.pad_colour)
    resolutions = sorted({graph.resolution for graph in graphs if graph.resolution})
    # Of the first picture, which the goldens hold.
    encoded = probes[graph_key("image_encoder", resolution)][0].expected
    image_embeddings = encoded["image_embeddings"]
    index = GoldenIndex(
        tokens=tuple(tokens),
        letterbox=tuple(recorder.letterbox(each) for each in resolutions),
        graphs=tuple(
            recorder.graph(graph, probe=probes[graph.name][index], key=f"{graph.name}.{index}")
            for graph in graphs
            for index in _PROBES.get(graph.name, (0,))
        ),
        segment=tuple(
            recorder.segment(prompt, image_embeddings=image_embeddings, resolution=resolution)
            for prompt in ("point", "box")
        ),
        class_embeddings=(recorder.class_embeddings(templates, tokenize=tokenize),),
        tasks=None if tasks is None else recorder.tasks(tasks),
    )
    return {
        GOLDEN_INDEX: index.model_dump_json(indent=1).encode(),
        GOLDEN_TENSORS: recorder.tensors(),
        **({} if tasks is None else held_out_files()),
    }


class _Recorder:
    """Runs eager torch and stores each tensor once, in fp16."""

    def __init__(
        self, graphs: Sequence[Graph], *, max_error: float, pad_colour: tuple[int, int, int]
    ) -> None:
        self._graphs = {graph.name: graph for graph in graphs}
        self._max_error = max_error
        self._pad_colour = pad_colour
        self._tensors: dict[str, NDArray[np.generic]] = {_PICTURE: PICTURES[0]}

    def tensors(self) -> bytes:
        """The content of `golden/tensors.npz`."""
        content = io.BytesIO()
        # numpy's types take a name that is known here only as a str for its own flag.
        # numpy's types take any name for `allow_pickle`, which is a bool.
        np.savez_compressed(content, **self._tensors)  # type: ignore[arg-type]
        return content.getvalue()

    def letterbox(self, resolution: int) -> GoldenLetterbox:
        """The picture as the model sees it."""
        image, _ = letterbox(PICTURES[0], resolution=resolution, pad_colour=self._pad_colour)
        key = self._keep(image, key=f"{_PICTURE}@{resolution}")
        return GoldenLetterbox(image=_PICTURE, resolution=resolution, output=key)

    def graph(self, graph: Graph, *, probe: Probe, key: str) -> GoldenGraph:
        """One run of one graph."""
        stored = {name: _storable(array) for name, array in probe.feed.items()}
        widened = {name: _widened(array) for name, array in stored.items()}
        same = all(np.array_equal(widened[name], array) for name, array in probe.feed.items())
        # The reference is of the inputs as they are stored, rounding included.
        expected = probe.expected if same else graph.reference(widened)
        return GoldenGraph(
            graph=graph.name,
            inputs={name: self._keep(array, key=f"{key}.{name}") for name, array in stored.items()},
            outputs={
                name: self._expect(array, key=f"{key}.{name}", max_error=self._max_error)
                for name, array in expected.items()
            },
        )

    def segment(
        self, prompt: str, *, image_embeddings: NDArray[np.generic], resolution: int
    ) -> GoldenSegment:
        """From the picture to masks, with one point or one box in its pixels."""
        height, width = PICTURES[0].shape[:2]
        points = ((0.42 * width, 0.55 * height),) if prompt == "point" else ()
        box = None if points else (0.2 * width, 0.25 * height, 0.7 * width, 0.8 * height)
        decoder = self._graphs["mask_decoder"]
        prompts = image_prompts(
            points or None, point_labels=[1] if points else None, boxes=box
        ).in_model(
            Frame.fit(height, width, resolution=resolution),
            mask_side=int(decoder.outputs[0].shape[-1]),
        )
        sparse = self._run("prompt_encoder", next(prompts.batches(1)))
        masks = self._run("mask_decoder", {"image_embeddings": image_embeddings, **sparse})
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

    def class_embeddings(
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

    def tasks(self, gate: TaskGate) -> GoldenTasks:
        """What eager torch answers about the held-out pictures."""
        answers = gate.reference
        return GoldenTasks(
            vocabulary=tuple(gate.vocabulary),
            pictures=tuple(
                GoldenPicture(
                    path=path,
                    boxes=tuple(tuple(box) for box in picture.boxes.tolist()),
                    labels=picture.labels,
                    box_masks=self._keep(np.packbits(boxes), key=f"{path}.box_masks"),
                    text_masks=self._keep(np.packbits(texts), key=f"{path}.text_masks"),
                )
                for path, picture, boxes, texts in zip(
                    held_out_files(),
                    gate.pictures,
                    answers.box_masks,
                    answers.text_masks,
                    strict=True,
                )
            ),
            embeddings=self._keep(_storable(answers.embeddings), key="tasks.embeddings"),
            classes=self._keep(answers.classes, key="tasks.classes"),
        )

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


def _storable(array: NDArray[np.generic]) -> NDArray[np.generic]:
    """Floats as fp16, anything else as it is."""
    return array.astype(np.float16) if array.dtype == np.float32 else array


def _widened(array: NDArray[np.generic]) -> NDArray[np.generic]:
    return array.astype(np.float32) if array.dtype == np.float16 else array
