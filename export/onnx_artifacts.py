"""Writes the ONNX files of a bundle: every graph in every precision, compared with eager torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir
from torch.export import ExportedProgram

from export.bundle_files import stored_file
from export.draft import Draft
from export.external_weights import WeightFiles, shrink_weights
from export.graphs import Arrays, Graph
from export.options import WeightPrecision
from export.parity import refuse_int8
from export.precision.activation_ranges import find_layers
from export.precision.mixed_precision import halve
from export.precision.quantize import quantize
from export.probes import Probe, open_probes
from export.to_onnx import data_dependent_operators, to_onnx
from samclip_sdk.bundle.contract import file_stem
from samclip_sdk.bundle.files import GraphFile
from samclip_sdk.bundle.graph_spec import Artifact, Precision, StoredFile
from samclip_sdk.errors import VerificationError
from samclip_sdk.modeling.bert_text_encoder import BertTextEncoder
from samclip_sdk.modeling.prompt_encoder import PromptEncoder
from samclip_sdk.runtimes.onnx.session import OrtSession
from samclip_sdk.system.packages import import_onnxruntime

_COSINES = {"image_encoder": 0.9999, "text_encoder": 0.999}
"""As `export.parity.INT8_COSINES`, of the file that onnxruntime, OpenVINO and TensorRT share."""

ALL_IN_FLOAT = (PromptEncoder, BertTextEncoder)
"""Parts whose int8 graph has no layer in int8. The three small convolutions of mask prompts take
little time; but the refinement of a text's mask uses them, and in int8 they add more error to it
than all other graphs together. In a small BERT most activations have outliers: most of its layers
would have to stay in float anyway, and a label is embedded only once."""


@dataclass(frozen=True)
class OnnxFiles:
    """The written files: graph name -> artifacts, and -> the layers that int8 leaves in float."""

    artifacts: dict[str, tuple[Artifact, ...]]
    kept_in_float: dict[str, tuple[str, ...]]


class OnnxWriter:
    """Writes the ONNX files of a new bundle.

    The graphs of a part share weight files, because most weights are the same at all resolutions
    and precisions.

    Args:
        draft: the draft of the bundle.
        programs: graph -> the program that its files are made from.
        calibration: graph -> the inputs that int8 takes its ranges from.
        weights: the precision in which fp32 graphs store their weights.
    """

    def __init__(
        self,
        draft: Draft,
        *,
        programs: Mapping[str, ExportedProgram],
        calibration: Mapping[str, Sequence[Arrays]],
        weights: WeightPrecision,
    ) -> None:
        self._draft = draft
        self._programs = programs
        self._calibration = calibration
        self._weights = weights

    def write(self, graphs: Sequence[Graph], *, precisions: Sequence[Precision]) -> OnnxFiles:
        """Writes every graph in every precision; artifacts are in the order of `precisions`.

        Raises:
            VerificationError: a graph's outputs differ too much from eager torch's.
        """
        if not precisions:
            return OnnxFiles({graph.name: () for graph in graphs}, kept_in_float={})
        (self._draft.folder / "onnx").mkdir()
        artifacts: dict[str, tuple[Artifact, ...]] = {}
        kept: dict[str, tuple[str, ...]] = {}
        for part in dict.fromkeys(graph.part for graph in graphs):
            members = [graph for graph in graphs if graph.part == part]
            in_float: tuple[str, ...] = ()
            with WeightFiles(self._draft.folder / "onnx", part=part) as store:
                for graph in members:
                    in_float = self._convert(
                        graph, precisions=precisions, store=store, keep=in_float
                    )
                    if in_float:
                        kept[graph.name] = in_float
                weights = store.write()
            shared = {
                name: stored_file(self._draft.folder, f"onnx/{name}")
                for name in sorted({name for names in weights.values() for name in names})
            }
            for graph in members:
                artifacts[graph.name] = tuple(
                    self._check(graph, precision=precision, weights=weights, shared=shared)
                    for precision in precisions
                )
        return OnnxFiles(artifacts, kept)

    def _convert(
        self,
        graph: Graph,
        *,
        precisions: Sequence[Precision],
        store: WeightFiles,
        keep: Sequence[str],
    ) -> tuple[str, ...]:
        """Stores a graph in every precision; returns the layers that int8 leaves in float."""
        program = self._programs[graph.name]
        inputs = graph.traced_inputs()
        single = to_onnx(program, inputs=inputs, outputs=graph.outputs)
        kept: tuple[str, ...] = ()
        # int8 first, because the other precisions change `single`.
        for precision in sorted(precisions, key=("int8", "fp16", "fp32").index):
            self._draft.steps.begin(f"converting {graph.name} in {precision}")
            model = single
            if precision == "fp16":
                pinned = {pin.operation for pin in self._draft.plan[graph.name]}
                # Traced again: what was asked of the first program may have fixed its open axes.
                half = halve(graph.trace(), pinned=pinned)
                model = to_onnx(half, inputs=inputs, outputs=graph.outputs)
            elif precision == "int8":
                model, kept = self._quantize(single, graph=graph, keep=keep)
            name = file_name(graph.name, precision=precision)
            forbidden = data_dependent_operators(model)
            if forbidden:
                raise VerificationError(f"{name} has data-dependent operators: {sorted(forbidden)}")
            shrink_weights(model, stored=self._weights)
            store.add(model, name=name, precision=precision)
        return kept

    def _quantize(
        self, model: ir.Model, *, graph: Graph, keep: Sequence[str]
    ) -> tuple[ir.Model, tuple[str, ...]]:
        """Quantizes the graph to int8; returns it and the layers that stay in float."""
        if isinstance(graph.eager, ALL_IN_FLOAT):
            return model.clone(), tuple(layer.name for layer in find_layers(model))
        probes = open_probes(self._draft.probes[graph.name], graph=graph)
        quantized = quantize(
            model,
            graph=graph.name,
            feeds=self._calibration[graph.name],
            accept=lambda path: self._refusal(path, graph=graph, probes=probes),
            keep=keep,
        )
        return quantized.model, tuple(each.layer for each in quantized.kept_in_float)

    def _check(
        self,
        graph: Graph,
        *,
        precision: Precision,
        weights: Mapping[str, Sequence[str]],
        shared: Mapping[str, StoredFile],
    ) -> Artifact:
        self._draft.steps.begin(f"checking {graph.name} in {precision}")
        own = weights[file_name(graph.name, precision=precision)]
        return checked_artifact(
            graph,
            draft=self._draft,
            precision=precision,
            stored=self._weights,
            weights=tuple(shared[name] for name in own),
        )

    def _refusal(self, path: Path, *, graph: Graph, probes: Sequence[Probe]) -> str | None:
        """The reason why an int8 graph is refused, or None; it is checked as it will be stored."""
        stored = ir.load(path)
        shrink_weights(stored, stored=self._weights)
        ir.save(stored, path)
        session = OrtSession(GraphFile(path), spec=graph.contract())
        return refuse_int8(
            [session.run(probe.feed) for probe in probes],
            graph=graph,
            probes=probes,
            random_weights=self._draft.random_weights,
            cosines=_COSINES,
        )


def checked_artifact(
    graph: Graph,
    *,
    draft: Draft,
    precision: Precision,
    stored: WeightPrecision,
    weights: tuple[StoredFile, ...],
) -> Artifact:
    """Compares a graph's ONNX file in the draft with eager torch, and describes it.

    Args:
        graph: the graph that was written.
        draft: the new bundle.
        precision: the precision that the file computes in.
        stored: what its weights are stored in.
        weights: the files of its weights.

    Raises:
        VerificationError: the file does not run, or its outputs differ too much.
    """
    path = f"onnx/{file_name(graph.name, precision=precision)}"
    parity = draft.check(
        OrtSession(GraphFile(draft.folder / path), spec=graph.contract()),
        graph=graph,
        precision=precision,
        kind="ONNX",
        runs_on=onnxruntime_name(),
        weights=stored,
        probes=open_probes(draft.probes[graph.name], graph=graph),
    )
    return Artifact(
        **stored_file(draft.folder, path).model_dump(),
        runtime="onnx",
        precision=precision,
        weights=weights,
        parity=parity,
    )


def onnxruntime_name() -> str:
    """What a record of a check says of this onnxruntime."""
    return f"onnxruntime {import_onnxruntime().__version__} CPUExecutionProvider"


def file_name(graph: str, *, precision: Precision) -> str:
    """The name of a graph's ONNX file."""
    stem = file_stem(graph)
    return f"{stem}.onnx" if precision == "fp32" else f"{stem}.{precision}.onnx"
