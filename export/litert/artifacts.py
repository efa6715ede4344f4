"""Writes the LiteRT files of a bundle: every graph in every precision, compared with torch."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from export.bundle_files import store
from export.draft import Draft
from export.graphs import Arrays, Graph
from export.litert.quantize import quantize, store_half
from export.litert.to_litert import to_litert
from export.parity import refuse_int8
from samclip_sdk.bundle.contract import file_stem, takes_coordinates
from samclip_sdk.bundle.files import GraphFile
from samclip_sdk.bundle.graph_spec import Artifact, Precision
from samclip_sdk.modeling.bert_text_encoder import BertTextEncoder
from samclip_sdk.runtimes.litert.session import LiteRTSession
from samclip_sdk.system.packages import package_version

_COMPARED = 2  # feeds by which layers are compared: the graph runs on all of them per layer


class LiteRTWriter:
    """Writes the LiteRT files of a new bundle.

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
            VerificationError: a file's outputs differ too much from eager torch's.
        """
        if not precisions:
            return ()
        self._draft.steps.begin(f"converting {graph.name} to LiteRT in {', '.join(precisions)}")
        single = to_litert(graph)
        return tuple(self._artifact(graph, single, precision=each) for each in precisions)

    def _artifact(self, graph: Graph, single: bytes, *, precision: Precision) -> Artifact:
        self._draft.steps.begin(f"checking {graph.name} on LiteRT in {precision}")
        path = f"litert/{file_stem(graph.name)}.{precision}.tflite"
        stored = store(self._draft.folder, path, self._content(graph, single, precision=precision))
        parity = self._draft.check(
            LiteRTSession(GraphFile(self._draft.folder / path), spec=graph.contract()),
            graph=graph,
            precision=precision,
            kind="LiteRT",
            runs_on=f"ai-edge-litert {package_version('ai-edge-litert')} XNNPACK",
        )
        return Artifact(**stored.model_dump(), runtime="litert", precision=precision, parity=parity)

    def _content(self, graph: Graph, single: bytes, *, precision: Precision) -> bytes:
        """The file of a precision. The graph that takes coordinates is in fp32 in all of them."""
        if precision == "fp32" or takes_coordinates(graph.contract()):
            return single
        # In a small BERT most activations have outliers, and a label is embedded only once.
        if precision == "fp16" or isinstance(graph.eager, BertTextEncoder):
            return store_half(single)
        made = quantize(
            single,
            graph=graph,
            feeds=self._calibration[graph.name],
            refuse=lambda content: self._refusal(content, graph=graph),
            run=lambda content: _run(
                content, graph=graph, feeds=self._calibration[graph.name][:_COMPARED]
            ),
            worst_first=self._worst_first.get(graph.part, ()),
        )
        if made.worst_first:  # the same layers cost most at every resolution
            self._worst_first[graph.part] = made.worst_first
        return made.built

    def _refusal(self, content: bytes, *, graph: Graph) -> str | None:
        """The reason why an int8 file is refused, or None."""
        probes = self._draft.probes[graph.name]
        return refuse_int8(
            _run(content, graph=graph, feeds=[probe.feed for probe in probes]),
            graph=graph,
            probes=probes,
            random_weights=self._draft.random_weights,
        )


def _run(content: bytes, *, graph: Graph, feeds: Sequence[Arrays]) -> list[Arrays]:
    with _opened(content, graph=graph) as session:
        return [session.run(feed) for feed in feeds]


@contextmanager
def _opened(content: bytes, *, graph: Graph) -> Iterator[LiteRTSession]:
    """A session of a file that is not written yet."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.tflite"
        path.write_bytes(content)
        session = LiteRTSession(GraphFile(path), spec=graph.contract())
        yield session
        session.close()
