"""Writes the Core ML packages of a bundle: every graph in every precision, each read and run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from export.buckets import bucket_axes, bucket_example
from export.bundle_files import stored_file
from export.coreml.mil_interpreter import MilInterpreter
from export.coreml.to_coreml import (
    TARGET,
    PackageMetadata,
    Weights,
    to_coreml,
)
from export.draft import Draft
from export.graphs import Graph
from export.precision.mixed_precision import halve
from export.program import export_program
from samclip_sdk.bundle.contract import file_stem
from samclip_sdk.bundle.files import GraphFile
from samclip_sdk.bundle.graph_spec import Artifact, Parity, Precision
from samclip_sdk.bundle.manifest import ModelInfo
from samclip_sdk.bundle.open import Bundle
from samclip_sdk.runtimes.coreml.session import CoreMLSession
from samclip_sdk.runtimes.session import Session

MANIFEST = "Manifest.json"

_WEIGHTS: dict[Precision, Weights] = {"int8": "int8", "palette6": "palette6"}


class CoreMLWriter:
    """Writes the Core ML packages of a new bundle.

    Args:
        draft: the draft of the bundle.
        metadata: the metadata of the packages.
    """

    def __init__(self, draft: Draft, *, metadata: PackageMetadata) -> None:
        self._draft = draft
        self._metadata = metadata

    def write(self, graph: Graph, *, precisions: Sequence[Precision]) -> tuple[Artifact, ...]:
        """Writes a graph in every precision; several packages if it has symbolic axes.

        Raises:
            VerificationError: a package's outputs differ too much from eager torch's.
        """
        if not precisions:
            return ()
        (self._draft.folder / "coreml").mkdir(exist_ok=True)
        self._draft.steps.begin(f"converting {graph.name} to Core ML in {', '.join(precisions)}")
        for axes in bucket_axes(graph):
            self._convert(graph, precisions=precisions, axes=axes)
        return tuple(
            artifact for precision in precisions for artifact in self._artifacts(graph, precision)
        )

    def _artifacts(self, graph: Graph, precision: Precision) -> list[Artifact]:
        """Lists the packages of one precision, and compares them with eager torch together."""
        packages = [
            (_package(graph.name, axes=axes, precision=precision), axes)
            for axes in bucket_axes(graph)
        ]
        self._draft.steps.begin(f"checking {graph.name} on Core ML in {precision}")
        parity = self._check(graph, precision=precision, packages=packages)
        return [
            Artifact(
                **stored_file(self._draft.folder, f"{package}/{MANIFEST}").model_dump(),
                runtime="coreml",
                precision=precision,
                target=TARGET,
                axes=axes,
                weights=tuple(
                    stored_file(self._draft.folder, path.relative_to(self._draft.folder).as_posix())
                    for path in sorted((self._draft.folder / package).rglob("*"))
                    if path.is_file() and path.name != MANIFEST
                ),
                parity=parity,
            )
            for package, axes in packages
        ]

    def _convert(
        self, graph: Graph, *, precisions: Sequence[Precision], axes: Mapping[str, int]
    ) -> None:
        """Writes the packages of one bucket: all that compute in fp16 share one program."""
        program = export_program(
            graph.module, example=bucket_example(graph, axes=axes), dynamic_axes={}
        )
        paths = {
            precision: self._draft.folder / _package(graph.name, axes=axes, precision=precision)
            for precision in precisions
        }
        halved = {
            path: _stored_as(precision, part=graph.part)
            for precision, path in paths.items()
            if precision != "fp32"
        }
        if halved:
            half = halve(program, pinned={pin.operation for pin in self._draft.plan[graph.name]})
            to_coreml(half, halved, graph=graph, axes=axes, metadata=self._metadata)
        if "fp32" in paths:  # last, because the conversion changes the program
            full: dict[Path, Weights] = {paths["fp32"]: "as_is"}
            to_coreml(program, full, graph=graph, axes=axes, metadata=self._metadata)

    def _check(
        self,
        graph: Graph,
        *,
        precision: Precision,
        packages: Sequence[tuple[str, Mapping[str, int]]],
    ) -> Parity:
        files = [
            GraphFile(self._draft.folder / package / MANIFEST, precision=precision, axes=axes)
            for package, axes in packages
        ]
        parity = self._draft.check(
            CoreMLSession(files, spec=graph.contract(), load=MilInterpreter.load),
            graph=graph,
            precision=precision,
            kind="Core ML",
            runs_on=f"reference interpreter of ML programs, torch {torch.__version__}",
        )
        return parity.model_copy(update={"on_target": False})


def _package(graph: str, *, axes: Mapping[str, int], precision: Precision) -> str:
    """A package's path in the bundle."""
    lengths = "".join(f".{length}" for axis, length in axes.items() if axis != "num_points")
    return f"coreml/{file_stem(graph)}{lengths}.{precision}.mlpackage"


def _stored_as(precision: Precision, *, part: str) -> Weights:
    """How the weights of a part's packages are stored.

    The text encoder keeps 8 bits: text embeddings are close together, so that 64 values for each
    tensor would change the class of an image.
    """
    if part == "text_encoder" and precision == "palette6":
        return "int8"
    return _WEIGHTS.get(precision, "as_is")


class InterpretedSource:
    """A bundle's Core ML packages, run by the interpreter; implements `ModelSource`."""

    def __init__(self, bundle: Bundle, *, precision: str) -> None:
        self.id = bundle.id
        self.manifest: ModelInfo = bundle.manifest
        self.tokenizer_path = bundle.file("tokenizer.json")
        self.nouns_path: Path | None = None
        self.words_path: Path | None = None
        self.runtime = "coreml"
        self.precision = precision
        self._bundle = bundle

    def session(self, graph: str) -> Session:
        """Opens a graph by its key."""
        files = self._bundle.graph_files(graph, runtime="coreml", precision=self.precision)
        spec = self._bundle.manifest.graphs[graph]
        return CoreMLSession(files, spec=spec, load=MilInterpreter.load)
