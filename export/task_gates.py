"""The gate on whole tasks: a set of artifacts is written only if it answers as eager torch does.

It is for trained weights only, because the answers of random ones have no meaning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from export.graphs import Graph
from samclip_sdk.bundle.contract import graph_key, take_rectangles
from samclip_sdk.bundle.graph_spec import Artifact, Measurement
from samclip_sdk.bundle.manifest import Manifest, ModelInfo
from samclip_sdk.device.golden_checks import answer_tasks
from samclip_sdk.device.goldens.task_metrics import (
    TASK_BOUNDS,
    TaskAnswers,
    TaskImage,
    compare_answers,
)
from samclip_sdk.engine.engine import Engine
from samclip_sdk.errors import VerificationError
from samclip_sdk.runtimes.session import Session
from samclip_sdk.runtimes.source import ModelSource
from samclip_sdk.runtimes.torch.session import TorchSession


@dataclass(frozen=True)
class EagerSource:
    """The model's own parts in eager torch, the reference; implements `ModelSource`."""

    id: str
    manifest: ModelInfo
    tokenizer_path: Path
    graphs: Sequence[Graph]
    runtime: str = "torch"
    precision: str = "fp32"
    nouns_path: Path | None = None
    words_path: Path | None = None

    def session(self, graph: str) -> Session:
        """Opens a graph by its key."""
        (found,) = (each for each in self.graphs if each.name == graph)
        spec = take_rectangles(found.contract()) if found.rectangular else found.contract()
        return TorchSession(found.eager, spec=spec, device="cpu")


@dataclass(frozen=True)
class _OneGraph:
    """Eager torch with one graph from another source; implements `ModelSource`."""

    eager: EagerSource
    other: ModelSource
    graph: str
    nouns_path: Path | None = None
    words_path: Path | None = None

    @property
    def id(self) -> str:
        return self.eager.id

    @property
    def manifest(self) -> ModelInfo:
        return self.eager.manifest

    @property
    def tokenizer_path(self) -> Path:
        return self.eager.tokenizer_path

    @property
    def runtime(self) -> str:
        return self.eager.runtime

    @property
    def precision(self) -> str:
        return self.eager.precision

    def session(self, graph: str) -> Session:
        return (self.other if graph == self.graph else self.eager).session(graph)


class TaskGate:
    """Holds eager torch's answers, and compares sets of artifacts with them.

    Args:
        eager: the reference.
        images: images that were in no training.
        vocabulary: the words that the images are classified with.

    Attributes:
        images: as given.
        vocabulary: as given.
        reference: eager torch's answers.
        rectangular: its answers about the same images without their padding to a square; None if
            the model needs squares.
    """

    def __init__(
        self, eager: EagerSource, *, images: Sequence[TaskImage], vocabulary: Sequence[str]
    ) -> None:
        self.images = images
        self.vocabulary = vocabulary
        self._eager = eager
        self.reference: TaskAnswers = self._answer(eager, squares=True)
        self.rectangular: TaskAnswers | None = None
        if eager.manifest.model.takes_rectangles:
            self.rectangular = self._answer(eager, squares=False)

    def check(
        self, candidate: ModelSource, *, precision: str, kind: str
    ) -> tuple[Measurement, ...]:
        """Measures a set of artifacts.

        Args:
            candidate: the set, with all graphs.
            precision: the set's precision; decides the bounds.
            kind: the set's name in an error, "onnx int8" for instance.

        Returns:
            The metrics, all within their bounds.

        Raises:
            VerificationError: a metric breaks its bound; the message names the graph that alone
                lowers it most.
        """
        bounds = TASK_BOUNDS[precision]
        with closing(Engine(candidate)) as engine:
            resolution = candidate.manifest.tasks.segmentation.resolution
            squares = not engine.takes_rectangles(graph_key("image_encoder", resolution))
        metrics = self._compare(candidate, squares=squares)
        broken = {name: value for name, value in metrics.items() if value < bounds[name]}
        if broken:
            worst = max(broken, key=lambda name: bounds[name] - broken[name])
            graph, alone = self._blame(candidate, metric=worst, squares=squares)
            raise VerificationError(
                f"{kind} is not eager torch: {worst} is {broken[worst]:.4f}, its bound "
                f"{bounds[worst]:g}; {graph} by itself brings it to {alone:.4f}"
            )
        return tuple(
            Measurement(metric=name, measured=value, bound=bounds[name], better="higher")
            for name, value in metrics.items()
        )

    def _blame(self, candidate: ModelSource, *, metric: str, squares: bool) -> tuple[str, float]:
        """The graph that lowers a metric most while all others run in eager torch."""
        alone = {}
        for graph in self._eager.graphs:
            mixed = _OneGraph(self._eager, candidate, graph.name)
            alone[graph.name] = self._compare(mixed, squares=squares)[metric]
        worst = min(alone, key=alone.__getitem__)
        return worst, alone[worst]

    def _compare(self, source: ModelSource, *, squares: bool) -> dict[str, float]:
        reference = self.reference if squares else self.rectangular
        assert reference is not None
        return compare_answers(self._answer(source, squares=squares), reference=reference)

    def _answer(self, source: ModelSource, *, squares: bool) -> TaskAnswers:
        with closing(Engine(source)) as engine:
            return answer_tasks(
                engine, self.images, vocabulary=self.vocabulary, whole_squares=squares
            )


def add_measurements(
    manifest: Manifest, measured: Mapping[tuple[str, str], Sequence[Measurement]]
) -> Manifest:
    """Adds the measurements of a set on whole tasks to the parity of each of its artifacts.

    Args:
        manifest: the bundle's manifest.
        measured: runtime and precision -> the measurements of the set.
    """
    graphs = {
        name: graph.model_copy(
            update={"artifacts": tuple(_with(each, measured) for each in graph.artifacts)}
        )
        for name, graph in manifest.model_graphs.items()
    }
    graphs = {**manifest.graphs, **graphs}
    return manifest.model_copy(update={"graphs": graphs})


def _with(
    artifact: Artifact, measured: Mapping[tuple[str, str], Sequence[Measurement]]
) -> Artifact:
    added = measured[artifact.runtime, artifact.precision]
    measurements = (*artifact.parity.measurements, *added)
    parity = artifact.parity.model_copy(update={"measurements": measurements})
    return artifact.model_copy(update={"parity": parity})
