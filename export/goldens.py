"""Makes the goldens: the answers of eager torch, for the comparison on devices."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from export.apps.goldens import IMAGE, AskedTexts, app_goldens
from export.golden_tensors import GoldenTensors, storable, widened
from export.graphs import Arrays, Graph
from export.images import held_out_files
from export.options import WeightPrecision
from export.parity import STORAGE_BOUNDS
from export.probes import IMAGES, Probe
from export.task_gates import TaskGate
from samclip_sdk.bundle.contract import graph_key
from samclip_sdk.bundle.manifest import GOLDEN_INDEX, GOLDEN_TENSORS, ModelInfo
from samclip_sdk.device.goldens.schema import (
    GoldenClassEmbeddings,
    GoldenGraph,
    GoldenImageEmbedding,
    GoldenIndex,
    GoldenSegment,
    GoldenText,
)
from samclip_sdk.device.goldens.task_metrics import TaskAnswers
from samclip_sdk.device.goldens.tasks import GoldenImage, GoldenTasks
from samclip_sdk.image.frame import Frame
from samclip_sdk.image.image_prompts import image_prompts

Tokenize = Callable[[Sequence[str]], NDArray[np.int32]]

EMBEDDED_LABELS = ("traffic light",)  # one: for ViT-B its 80 prompts cost a teraflop

_PROBES = {"image_encoder": (0,), "text_encoder": (0,), "prompt_encoder": (2,)}
"""Part -> the probes that become goldens. The inputs of the other parts, and of the image encoder
at a high resolution, take megabytes; the goldens from an image to masks check these graphs."""

_FP16_STORAGE = 1e-3
_CHAINED = 3  # encoder, prompt encoder and decoder each add their error


@dataclass(frozen=True)
class EagerAnswers:
    """What eager torch answers.

    Attributes:
        probes: graph -> probes; some of their inputs become goldens.
        image_embedding: [E], the first image's embedding for classification.
        tasks: held-out images and their answers; None for random weights.
        app_texts: an image, and the answer of `text_to_mask@S`; None for random weights.
    """

    probes: Mapping[str, Sequence[Probe]]
    image_embedding: NDArray[np.float32]
    tasks: TaskGate | None
    app_texts: AskedTexts | None


def build_goldens(
    graphs: Sequence[Graph],
    answers: EagerAnswers,
    *,
    info: ModelInfo,
    weights: WeightPrecision,
    texts: Sequence[GoldenText],
    tokenize: Tokenize,
) -> dict[str, bytes]:
    """Runs eager torch on the inputs of the goldens.

    Args:
        graphs: the bundle's graphs with their eager modules.
        answers: what eager torch has answered already.
        info: the model.
        weights: the precision of the weights in the ONNX files; decides the accepted errors.
        texts: the golden texts with their correct ids.
        tokenize: texts to ids int32 [n,L].

    Returns:
        Path in the bundle -> content.
    """
    max_error = STORAGE_BOUNDS[weights].max_error
    assert max_error is not None
    tensors = GoldenTensors(max_error=max_error + _FP16_STORAGE)
    recorder = _Recorder(graphs, tensors=tensors, box_margin=info.calibration.box_margin)
    # The outputs for the first image, which the goldens hold.
    resolution = info.tasks.segmentation.resolution
    probes, tasks = answers.probes, answers.tasks
    encoded = probes[graph_key("image_encoder", resolution)][0].expected
    image_embeddings = encoded["image_embeddings"]
    lowest = min(graph.resolution for graph in graphs if graph.resolution is not None)
    index = GoldenIndex(
        texts=tuple(texts),
        graphs=tuple(
            recorder.graph(graph, probe=probes[graph.name][index], key=f"{graph.name}.{index}")
            for graph in graphs
            for index in _PROBES.get(graph.part, ())
            if graph.resolution in (None, lowest)
        ),
        segment=tuple(
            recorder.segment(prompt, image_embeddings=image_embeddings, resolution=resolution)
            for prompt in ("point", "box")
        ),
        class_embeddings=(recorder.class_embeddings(info.text.templates, tokenize=tokenize),),
        image_embeddings=(recorder.image_embedding(answers.image_embedding),),
        tasks=None if tasks is None else recorder.tasks(tasks, answers=tasks.reference),
        rectangular_tasks=(
            None
            if tasks is None or tasks.rectangular is None
            else recorder.tasks(tasks, answers=tasks.rectangular, kind="rectangular")
        ),
        **app_goldens(tensors, info=info, texts=answers.app_texts),
    )
    return {
        GOLDEN_INDEX: index.model_dump_json(indent=1).encode(),
        GOLDEN_TENSORS: tensors.content(),
        **({} if tasks is None else held_out_files()),
    }


class _Recorder:
    """Runs eager torch and stores its inputs and outputs."""

    def __init__(
        self, graphs: Sequence[Graph], *, tensors: GoldenTensors, box_margin: float | None
    ) -> None:
        self._graphs = {graph.name: graph for graph in graphs}
        self._tensors = tensors
        self._box_margin = box_margin
        self._tensors.keep(IMAGES[0], key=IMAGE)

    def graph(self, graph: Graph, *, probe: Probe, key: str) -> GoldenGraph:
        """Records one run of one graph."""
        stored = {name: storable(array) for name, array in probe.feed.items()}
        given = {name: widened(array) for name, array in stored.items()}
        same = all(np.array_equal(given[name], array) for name, array in probe.feed.items())
        # The reference is computed from the stored inputs, which are rounded.
        expected = probe.expected if same else graph.reference(given)
        return GoldenGraph(
            graph=graph.name,
            inputs={
                name: self._tensors.keep(array, key=f"{key}.{name}")
                for name, array in stored.items()
            },
            outputs={
                name: self._tensors.expect(array, key=f"{key}.{name}")
                for name, array in expected.items()
            },
        )

    def segment(
        self, prompt: str, *, image_embeddings: NDArray[np.generic], resolution: int
    ) -> GoldenSegment:
        """Records the way from the image to masks, with one point or one box in its pixels."""
        height, width = IMAGES[0].shape[:2]
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
        if self._box_margin is not None:
            kept = masks["low_res_masks"].astype(np.float32)
            prompts.keep_in_boxes(kept, margin=self._box_margin)
            masks["low_res_masks"] = kept
        low_res, iou = (
            self._tensors.expect(
                array, key=f"segment.{prompt}.{name}", max_error=_CHAINED * self._tensors.max_error
            )
            for name, array in masks.items()
        )
        return GoldenSegment(
            image=IMAGE,
            points=points,
            labels=(1,) if points else (),
            box=box,
            low_res_masks=low_res,
            iou_predictions=iou,
        )

    def class_embeddings(
        self, templates: Sequence[str], *, tokenize: Tokenize
    ) -> GoldenClassEmbeddings:
        """Records class embeddings: the normalised mean of the normalised template embeddings."""
        rows = []
        for label in EMBEDDED_LABELS:
            ids = tokenize([template.replace("{}", label) for template in templates])
            mean = self._run("text_encoder", {"input_ids": ids})["text_embeddings"].mean(axis=0)
            rows.append(mean / np.linalg.norm(mean))
        expected = self._tensors.expect(np.stack(rows), key="class_embeddings")
        return GoldenClassEmbeddings(labels=EMBEDDED_LABELS, expected=expected)

    def image_embedding(self, embedding: NDArray[np.float32]) -> GoldenImageEmbedding:
        """Records the way from the image to its embedding."""
        error = _CHAINED * self._tensors.max_error
        expected = self._tensors.expect(embedding, key="image_embedding", max_error=error)
        return GoldenImageEmbedding(image=IMAGE, expected=expected)

    def tasks(self, gate: TaskGate, *, answers: TaskAnswers, kind: str = "tasks") -> GoldenTasks:
        """Records eager torch's answers about the held-out images."""
        keep = self._tensors.keep
        return GoldenTasks(
            vocabulary=tuple(gate.vocabulary),
            pictures=tuple(
                GoldenImage(
                    path=path,
                    boxes=tuple(tuple(box) for box in image.boxes.tolist()),
                    labels=image.labels,
                    box_masks=keep(np.packbits(boxes), key=f"{kind}.{path}.box_masks"),
                    text_masks=keep(np.packbits(texts), key=f"{kind}.{path}.text_masks"),
                )
                for path, image, boxes, texts in zip(
                    held_out_files(),
                    gate.images,
                    answers.box_masks,
                    answers.text_masks,
                    strict=True,
                )
            ),
            embeddings=keep(storable(answers.embeddings), key=f"{kind}.embeddings"),
            logits=keep(answers.logits, key=f"{kind}.logits"),
        )

    def _run(self, name: str, feed: Arrays) -> dict[str, NDArray[np.generic]]:
        return self._graphs[name].reference(feed)
