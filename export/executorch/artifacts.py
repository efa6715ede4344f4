"""Writes the ExecuTorch programs of a bundle: every graph in every precision, each compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch.export import ExportedProgram

from export.bundle_files import store
from export.draft import Draft
from export.executorch.quantize import quantize
from export.executorch.rewriting import Int8Layer
from export.executorch.to_executorch import Lowered, lower, trace_buckets
from export.graphs import Arrays, Graph
from export.parity import refuse_int8
from samclip_sdk.bundle.contract import file_stem, takes_coordinates
from samclip_sdk.bundle.files import GraphFile
from samclip_sdk.bundle.graph_spec import Artifact, Measurement, Precision
from samclip_sdk.errors import VerificationError
from samclip_sdk.modeling.bert_text_encoder import BertTextEncoder
from samclip_sdk.runtimes.executorch.session import ExecuTorchSession
from samclip_sdk.system.packages import package_version

MIN_DELEGATED = {"image_encoder": 0.95, "clip_head": 0.95}
"""Part -> the smallest share of its multiply-adds inside delegates. Outside of them ExecuTorch's
portable kernels compute, which are many times slower."""

_MIN_IOU = 0.975
"""The mean IoU of masks that layers in int8 are searched with: above that of the gate, because the
search computes in torch, and the delegate rounds a little otherwise."""


class ExecuTorchWriter:
    """Writes the ExecuTorch programs of a new bundle.

    Args:
        draft: the draft of the bundle.
        calibration: graph -> the inputs that int8 takes its ranges from.
    """

    def __init__(self, draft: Draft, *, calibration: Mapping[str, Sequence[Arrays]]) -> None:
        self._draft = draft
        self._calibration = calibration
        self._worst_first: dict[str, tuple[str, ...]] = {}

    def write(self, graph: Graph, *, precisions: Sequence[Precision]) -> tuple[Artifact, ...]:
        """Writes a graph in every precision.

        Raises:
            VerificationError: a file's outputs differ too much from eager torch's, or delegates
                compute too little of it.
        """
        if not precisions:
            return ()
        self._draft.steps.begin(f"converting {graph.name} to ExecuTorch in {', '.join(precisions)}")
        programs = trace_buckets(graph)
        return tuple(self._artifact(graph, programs, precision=each) for each in precisions)

    def _artifact(
        self, graph: Graph, programs: Mapping[str, ExportedProgram], *, precision: Precision
    ) -> Artifact:
        self._draft.steps.begin(f"checking {graph.name} on ExecuTorch in {precision}")
        lowered = self._lower(graph, programs, precision=precision)
        delegated = read_delegated(graph, lowered)
        path = f"executorch/{file_stem(graph.name)}.{precision}.pte"
        stored = store(self._draft.folder, path, lowered.content)
        parity = self._draft.check(
            ExecuTorchSession(GraphFile(self._draft.folder / path), spec=graph.contract()),
            graph=graph,
            precision=precision,
            kind="ExecuTorch",
            runs_on=f"executorch {package_version('executorch')} XNNPACK",
        )
        return Artifact(
            **stored.model_dump(),
            runtime="executorch",
            precision=precision,
            parity=parity.model_copy(update={"measurements": (*parity.measurements, delegated)}),
        )

    def _lower(
        self, graph: Graph, programs: Mapping[str, ExportedProgram], *, precision: Precision
    ) -> Lowered:
        """Lowers a graph. That which takes coordinates is in fp32 in every precision.

        So is a small BERT: most of its activations have outliers, and a label is embedded once.
        """
        exact = takes_coordinates(graph.contract()) or isinstance(graph.eager, BertTextEncoder)
        in_float = precision == "fp32" or exact
        return lower(
            programs,
            inputs=[spec.name for spec in graph.inputs],
            outputs=[spec.name for spec in graph.outputs],
            int8={} if in_float else self._in_int8(graph, programs),
        )

    def _in_int8(
        self, graph: Graph, programs: Mapping[str, ExportedProgram]
    ) -> dict[str, Int8Layer]:
        """The layers of a graph that compute in int8."""
        probes = self._draft.probes[graph.name]
        layers, worst_first = quantize(
            programs,
            graph=graph,
            feeds=self._calibration[graph.name],
            probes=[probe.feed for probe in probes],
            refuse=lambda found: refuse_int8(
                found,
                graph=graph,
                probes=probes,
                random_weights=self._draft.random_weights,
                iou=_MIN_IOU,
            ),
            worst_first=self._worst_first.get(graph.part, ()),
        )
        if worst_first:  # the same layers cost most at every resolution
            self._worst_first[graph.part] = worst_first
        return layers


def read_delegated(graph: Graph, lowered: Lowered) -> Measurement:
    """The share of a graph's multiply-adds inside delegates, for the manifest.

    Raises:
        VerificationError: it is too small.
    """
    bound = MIN_DELEGATED.get(graph.part, 0.0)
    if lowered.delegated < bound:
        raise VerificationError(
            f"ExecuTorch: XNNPACK computes {lowered.delegated:.1%} of the multiply-adds of "
            f"{graph.name}, at least {bound:.0%} are needed: write the rest in operators that it "
            "takes, see export/executorch/operators.py"
        )
    return Measurement(
        metric="delegated_multiply_adds", measured=lowered.delegated, bound=bound, better="higher"
    )
