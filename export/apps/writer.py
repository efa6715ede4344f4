"""Writes the graphs of apps into a new bundle, and compares each with its reference."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import torch
from numpy.typing import NDArray

from export.apps.joined import Glue, join_graphs, trace_glue
from export.apps.letterbox import letterbox_graph
from export.apps.text_to_mask import TextToMask
from export.bundle_files import stored_file
from export.coreml.artifacts import CoreMLWriter
from export.draft import Draft
from export.graphs import Graph
from export.onnx_artifacts import checked_artifact, file_name, onnxruntime_name
from export.options import ExportOptions
from export.precision.plan import measure_ranges
from export.probes import Probe
from export.program import export_program
from samclip_sdk.bundle.contract import contract_app_graphs, graph_key
from samclip_sdk.bundle.files import GraphFile
from samclip_sdk.bundle.graph_spec import (
    Artifact,
    GraphSpec,
    Measurement,
    Parity,
    Pin,
    Precision,
)
from samclip_sdk.bundle.manifest import ModelInfo
from samclip_sdk.device.goldens.formula import formula_image
from samclip_sdk.errors import VerificationError
from samclip_sdk.image.frame import letterbox
from samclip_sdk.modeling.build import SamClipModel
from samclip_sdk.runtimes.onnx.session import OrtSession

Artifacts = Mapping[str, Sequence[Artifact]]
Asked = tuple[NDArray[np.uint8], NDArray[np.float32]]
"""An image uint8 [H,W,3] and the embeddings [K,E] of the texts for it."""

_PARTS = ("clip_head", "prompt_encoder", "mask_decoder")
_SIZES = ((62, 96), (1021, 1533), (1537, 611), (3, 900))
_ONE_LEVEL = 1.0


def text_to_mask_graph(model: SamClipModel, info: ModelInfo) -> Graph:
    """Makes the graph `text_to_mask@S` of a model."""
    resolution = info.tasks.segmentation.resolution
    name = graph_key("text_to_mask", resolution)
    spec = contract_app_graphs(info.model, resolutions=[])[name]
    module = TextToMask(model, info).eval().requires_grad_(False)
    return Graph(
        name=name,
        part="text_to_mask",
        resolution=resolution,
        module=module,
        eager=module,
        inputs=spec.inputs,
        outputs=spec.outputs,
        rectangular=info.model.takes_rectangles,
    )


def text_to_mask_probes(
    graph: Graph, *, image_encoder: Graph, info: ModelInfo, questions: Sequence[Asked]
) -> list[Probe]:
    """Runs `text_to_mask@S` in eager torch on texts and images."""
    probes = []
    for image, texts in questions:
        square, frame = letterbox(
            image,
            resolution=info.tasks.segmentation.resolution,
            pad_colour=info.image.pad_colour,
        )
        encoded = image_encoder.reference({"image": square})
        known = {**encoded, "extent": frame.extent(), "text_embeddings": texts}
        feed = {spec.name: known[spec.name] for spec in graph.inputs}
        probes.append(Probe(feed, graph.reference(feed)))
    return probes


def text_to_mask_plan(
    graph: Graph, *, plan: Mapping[str, Sequence[Pin]], probe: Probe
) -> tuple[Pin, ...]:
    """The operations that stay in fp32: those of its parts, and all operations between the parts.

    The graph is traced with the probe's number of labels, because Core ML's shapes are fixed too.
    """
    example = {spec.name: torch.tensor(probe.feed[spec.name]) for spec in graph.inputs}
    program = export_program(graph.module, example=example, dynamic_axes={})
    kept = {
        f"{part}{pin.operation if pin.operation.startswith(':') else '.' + pin.operation}": pin
        for part in _PARTS
        for pin in plan[_key(part, graph)]
    }
    pins = []
    for name, seen in measure_ranges(program, feeds=[probe.feed]).items():
        if name in kept:
            pins.append(Pin(operation=name, reason=kept[name].reason, peak=seen.peak))
        elif not name.startswith(tuple(f"{part}{end}" for part in _PARTS for end in ".:")):
            pins.append(Pin(operation=name, reason="contract", peak=seen.peak))
    return tuple(pins)


class AppWriter:
    """Writes `letterbox@S` for every task and `text_to_mask@S`.

    Args:
        draft: the draft of the bundle; it has the probes of `text_to_mask@S`, and a plan if needed.
        info: the model.
        options: the options of the export, with the precisions.
    """

    def __init__(self, draft: Draft, *, info: ModelInfo, options: ExportOptions) -> None:
        self._draft = draft
        self._info = info
        self._options = options

    def write(
        self, graph: Graph, *, parts: Artifacts, coreml: CoreMLWriter
    ) -> dict[str, GraphSpec]:
        """Writes all graphs of apps.

        Args:
            graph: `text_to_mask@S`.
            parts: the ONNX artifacts of the graphs that it is joined from.
            coreml: writes its Core ML packages.

        Returns:
            The graphs by name, with their artifacts; none for LiteRT and
            ExecuTorch, which run the parts.

        Raises:
            VerificationError: a graph's outputs differ too much from its reference.
        """
        specs = self._letterboxes() if self._options.onnx else {}
        joined = self._joined(graph, parts=parts) if self._options.onnx else []
        packages = coreml.write(graph, precisions=self._options.coreml)
        if joined or packages:
            specs[graph.name] = GraphSpec(
                inputs=graph.inputs, outputs=graph.outputs, artifacts=(*joined, *packages)
            )
        return specs

    def _letterboxes(self) -> dict[str, GraphSpec]:
        """Writes the letterbox graph of each task that uses the whole image."""
        self._draft.steps.begin("writing the letterboxes")
        tasks = (self._info.tasks.segmentation, self._info.tasks.classification)
        sides = sorted({task.resolution for task in tasks if task.crop == "letterbox"})
        contract = contract_app_graphs(self._info.model, resolutions=sides)
        return {
            name: spec.model_copy(update={"artifacts": (self._letterbox(name, side, spec),)})
            for side in sides
            for name in [graph_key("letterbox", side)]
            for spec in [contract[name]]
        }

    def _letterbox(self, name: str, side: int, spec: GraphSpec) -> Artifact:
        path = f"onnx/{file_name(name, precision='fp32')}"
        ir.save(letterbox_graph(side, pad_colour=self._info.image.pad_colour), self._at(path))
        session = OrtSession(GraphFile(self._at(path)), spec=spec)
        off = 0.0
        for size in _SIZES:
            image = formula_image(*size)
            wanted, frame = letterbox(
                image, resolution=side, pad_colour=self._info.image.pad_colour
            )
            found = session.run({"picture": image})
            if not np.array_equal(found["extent"], frame.extent()):
                raise VerificationError(f"{name} fits an image of {size} to another size: {found}")
            difference = np.abs(found["image"].astype(np.int16) - wanted.astype(np.int16))
            off = max(off, float(difference.max()))
        session.close()
        if off > _ONE_LEVEL:
            raise VerificationError(f"{name} is {off:g} levels off Pillow, the bound is 1")
        levels = Measurement(metric="levels", measured=off, bound=_ONE_LEVEL, better="lower")
        return Artifact(
            **stored_file(self._draft.folder, path).model_dump(),
            runtime="onnx",
            precision="fp32",
            parity=Parity(measured_on=_runs_on(), measurements=(levels,)),
        )

    def _joined(self, graph: Graph, *, parts: Artifacts) -> list[Artifact]:
        assert isinstance(graph.module, TextToMask)
        glue = trace_glue(graph.module, spec=graph.contract(), rectangular=graph.rectangular)
        return [
            self._join(graph, glue=glue, parts=parts, precision=each) for each in self._options.onnx
        ]

    def _join(
        self, graph: Graph, *, glue: Glue, parts: Artifacts, precision: Precision
    ) -> Artifact:
        self._draft.steps.begin(f"joining {graph.name} in {precision}")
        used = {
            part: artifact
            for part in _PARTS
            for artifact in parts[_key(part, graph)]
            if artifact.precision == precision
        }
        path = f"onnx/{file_name(graph.name, precision=precision)}"
        files = {part: self._at(artifact.path) for part, artifact in used.items()}
        stated = graph.contract().model_copy(update={"inputs": graph.traced_inputs()})
        onnx.save(join_graphs(glue, spec=stated, **files), self._at(path))
        weights = {each.path: each for artifact in used.values() for each in artifact.weights}
        return checked_artifact(
            graph,
            draft=self._draft,
            precision=precision,
            stored=self._options.weights,
            weights=tuple(weights.values()),
        )

    def _at(self, path: str) -> Path:
        return self._draft.folder / path


def _key(part: str, graph: Graph) -> str:
    """The key of a part's graph that `text_to_mask@S` contains."""
    return graph_key(part, graph.resolution)


def _runs_on() -> str:
    return f"{onnxruntime_name()}, {platform.system()} {platform.machine()}"
