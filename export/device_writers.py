"""Writes a graph for the runtimes of devices, which read files of their own beside ONNX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from export.coreml.artifacts import CoreMLWriter
from export.coreml.to_coreml import PackageMetadata
from export.draft import Draft
from export.executorch.artifacts import ExecuTorchWriter
from export.graphs import Arrays, Graph
from export.litert.artifacts import LiteRTWriter
from export.options import ExportOptions
from samclip_sdk.bundle.graph_spec import Artifact


class DeviceWriters:
    """The writers of Core ML, LiteRT and ExecuTorch.

    Args:
        draft: the draft of the bundle.
        calibration: graph -> the inputs that int8 takes its ranges from.
        metadata: the model's, for Core ML packages.
        options: in which precisions each writes.

    Attributes:
        coreml: the writer of Core ML packages.
    """

    def __init__(
        self,
        draft: Draft,
        *,
        calibration: Mapping[str, Sequence[Arrays]],
        metadata: PackageMetadata,
        options: ExportOptions,
    ) -> None:
        self.coreml = CoreMLWriter(draft, metadata=metadata)
        self._litert = LiteRTWriter(draft, calibration=calibration)
        self._executorch = ExecuTorchWriter(draft, calibration=calibration)
        self._options = options

    def write(self, graph: Graph) -> tuple[Artifact, ...]:
        """Writes a graph for each runtime, and compares each file with eager torch.

        Raises:
            VerificationError: a file's outputs differ too much.
        """
        return (
            *self.coreml.write(graph, precisions=self._options.coreml),
            *self._litert.write(graph, precisions=self._options.litert),
            *self._executorch.write(graph, precisions=self._options.executorch),
        )
