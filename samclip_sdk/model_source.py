"""Where a model's graphs come from: a bundle on a runtime, or a checkpoint in eager torch."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from samclip_sdk.bundle.artifact_sets import find_set
from samclip_sdk.bundle.manifest import TOKENIZER_NAME, ModelInfo
from samclip_sdk.bundle.open import Bundle
from samclip_sdk.errors import BundleError, UnverifiedArtifactWarning
from samclip_sdk.runtimes.base import DEFAULT_OPTIONS, RuntimeOptions
from samclip_sdk.runtimes.opening import open_session
from samclip_sdk.session import Session
from samclip_sdk.sign_off import sign_off_path

_OF_OTHERS_FILES = ("openvino", "tensorrt")
"""Runtimes that read ONNX files, whose parity was measured on onnxruntime."""


class ModelSource(Protocol):
    """Where the graphs come from: a bundle on some runtime, or a checkpoint in eager torch."""

    @property
    def id(self) -> str:
        """Changes with anything that changes an output."""

    @property
    def runtime(self) -> str:
        """What runs the graphs: "onnx", "openvino", "coreml", "tensorrt" or "torch"."""

    @property
    def precision(self) -> str:
        """Of the graphs."""

    @property
    def manifest(self) -> ModelInfo:
        """Sizes, tasks, templates, thresholds."""

    @property
    def tokenizer_path(self) -> Path:
        """The model's tokenizer.json."""

    def session(self, graph: str) -> Session:
        """Opens a graph by its key, such as `image_encoder@256`."""


class BundleSource:
    """A bundle on a runtime. All that it will run is verified here; sessions are opened later.

    Warns with UnverifiedArtifactWarning of artifacts that were never compared with eager torch on
    the runtime that they are for, until `samclip verify` has passed on this device.

    Args:
        bundle: where the artifacts are.
        runtime: "onnx", "openvino", "coreml" or "tensorrt"; OpenVINO reads the ONNX files, and
            TensorRT builds its engines from them.
        precision: that it runs in; the bundle's preferred one if None.
        options: of the runtime.
        warn: False for who is about to verify them.

    Attributes:
        bundle: as given.
        id: of the bundle.
        manifest: of the bundle.
        runtime: as given.
        precision: that it runs in.

    Raises:
        BundleError: a graph has no such artifact, or a file is missing.
        BundleTamperedError: a file was changed.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        runtime: str,
        precision: str | None,
        options: RuntimeOptions = DEFAULT_OPTIONS,
        warn: bool = True,
    ) -> None:
        self.bundle = bundle
        self.id = bundle.id
        self.manifest: ModelInfo = bundle.manifest
        self.runtime = runtime
        self._options = options
        found = find_set(bundle, runtime=runtime, precision=precision)
        self.precision = found.precision
        self._files = {
            graph: tuple(
                replace(file, precision=found.precision)
                for file in bundle.graph_files(
                    graph, runtime=found.artifact_runtime, precision=found.artifact_precision
                )
            )
            for graph in bundle.manifest.graphs
        }
        if warn:
            self._warn_of_unproven()

    def _warn_of_unproven(self) -> None:
        """Of what no one has seen run right, unless it passed here."""
        proven = all(file.proven for files in self._files.values() for file in files)
        report = sign_off_path(
            self.id,
            runtime=self.runtime,
            precision=self.precision,
            compute_units=self._options.compute_units,
        )
        if (proven and self.runtime not in _OF_OTHERS_FILES) or report.is_file():
            return
        warnings.warn(
            f"the {self.runtime} {self.precision} graphs of {self.manifest.name} were never "
            "compared with their reference on a device like this: run `samclip verify "
            f"{self.bundle.root} --runtime {self.runtime}` here",
            UnverifiedArtifactWarning,
            stacklevel=3,
        )

    @property
    def tokenizer_path(self) -> Path:
        """The bundle's tokenizer.json, verified."""
        return self.bundle.file(TOKENIZER_NAME)

    def session(self, graph: str) -> Session:
        """Opens a graph by its key.

        Raises:
            BundleError: there is no text_encoder.
        """
        if graph not in self._files:
            # The manifest guarantees every other graph that the client runs.
            raise BundleError(
                f"the bundle {self.manifest.name} has no {graph}: it knows the labels of its "
                "vocabulary packs only, see load_vocabulary"
            )
        return open_session(
            self.runtime,
            files=self._files[graph],
            spec=self.bundle.manifest.graphs[graph],
            options=self._options,
        )
