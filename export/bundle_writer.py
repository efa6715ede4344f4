"""A model -> a bundle folder that is whole, checked and in place, or not there at all."""

from __future__ import annotations

import datetime
import importlib.metadata
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from export.bundle_files import store, stored_file
from export.coreml.artifacts import CoreMLWriter, InterpretedSource
from export.coreml.to_coreml import PackageMetadata
from export.external_weights import WeightPrecision
from export.goldens import build_goldens, golden_tokens
from export.graphs import Arrays, build_graphs
from export.held_out import calibration_pictures, held_out_pictures
from export.model_card import model_card
from export.onnx_artifacts import OnnxWriter
from export.parity import BOUNDS
from export.precision.plan import NumericGate, plan_precision
from export.probes import PICTURES, Probe, probe_graphs
from export.program import export_program
from export.source import Source
from export.task_gates import EagerSource, TaskGate
from export.to_onnx import OPSET
from export.tokenizer import write_tokenizer
from samclip_sdk.atomic_folder import atomic_folder
from samclip_sdk.bundle.artifact_sets import artifact_sets
from samclip_sdk.bundle.graph_spec import Artifact, GraphSpec, Measurement, Pin, Precision
from samclip_sdk.bundle.manifest import (
    MANIFEST_NAME,
    TOKENIZER_NAME,
    ImageSpec,
    Manifest,
    ModelInfo,
    Task,
    Tasks,
    TextSpec,
)
from samclip_sdk.bundle.open import Bundle
from samclip_sdk.errors import StorageError, TextTruncatedWarning, VerificationError
from samclip_sdk.model_source import BundleSource, ModelSource
from samclip_sdk.text import Tokenizer, read_templates
from samclip_sdk.verify.verify import verify_bundle

Report = Callable[[str], None]

MODEL_CARD = "README.md"
AUTHOR = "the authors of samclip-sdk"
ONNX_PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")
COREML_PRECISIONS: tuple[Precision, ...] = get_args(Precision)


@dataclass(frozen=True)
class ExportOptions:
    """What a bundle holds.

    Attributes:
        onnx: the precisions of its ONNX files, the preferred one first.
        coreml: the precisions of its Core ML packages, likewise.
        resolutions: of image_encoder and clip_head, in pixels; those of the two tasks are added.
        weights: how graphs that compute in fp32 store theirs.
        classification_crop: what classification sees of a raw picture.
    """

    onnx: tuple[Precision, ...] = ("fp32",)
    coreml: tuple[Precision, ...] = ()
    resolutions: tuple[int, ...] = ()
    weights: WeightPrecision = "fp32"
    classification_crop: Literal["letterbox", "center_crop"] = "letterbox"

    def __post_init__(self) -> None:
        if not self.onnx and not self.coreml:
            raise ValueError("a bundle needs graphs: ask for some of ONNX or Core ML")
        known_precisions(self.onnx, known=ONNX_PRECISIONS)
        known_precisions(self.coreml, known=COREML_PRECISIONS)


def known_precisions(asked: Sequence[str], *, known: Sequence[Precision]) -> tuple[Precision, ...]:
    """The names `asked` as precisions; ValueError if one of them is not `known`."""
    unknown = [name for name in asked if name not in known]
    if unknown:
        raise ValueError(f"there is no {unknown[0]!r} here: use {', '.join(known)}")
    return tuple(precision for name in asked for precision in known if precision == name)


def write_bundle(source: Source, out: Path, *, options: ExportOptions, report: Report) -> Manifest:
    """Exports, checks and writes a bundle; an older bundle at `out` is replaced.

    Args:
        source: the model.
        out: the folder to make.
        options: what goes into it.
        report: told what is being done.

    Raises:
        VerificationError: a graph does not compute what eager torch computes, or a set of them
            does not answer what it answers.
        StorageError: `out` is something else than a bundle, or cannot be written.
    """
    if out.exists() and not (out / MANIFEST_NAME).is_file():
        raise StorageError(f"{out} exists and is not a bundle: it is left as it is")
    with atomic_folder(out) as folder:
        manifest = _Writer(folder, source=source, options=options, report=report).write()
        for precision in options.onnx:
            report(f"running the goldens in {precision}")
            verify_bundle(folder, precision=precision).raise_if_failed()
        return manifest


class _Writer:
    """Writes a bundle into an empty folder, the manifest last."""

    def __init__(
        self, folder: Path, *, source: Source, options: ExportOptions, report: Report
    ) -> None:
        self._folder = folder
        self._source = source
        self._options = options
        self._report = report
        self._info = _describe(source, options=options)
        tasks = self._info.tasks
        needed = {tasks.segmentation.resolution, tasks.classification.resolution}
        self._graphs = build_graphs(
            source.model, resolutions=sorted(needed | set(options.resolutions))
        )

    def write(self) -> Manifest:
        """Writes everything, and holds every set of artifacts to eager torch's answers."""
        tokenizer = _write_tokenizer(self._folder, context_length=self._info.text.context_length)
        store(self._folder, "NOTICE", self._source.notice.encode())
        self._report("running eager torch")
        ids = _golden_ids(tokenizer)
        probes = self._probe(PICTURES, token_ids=(ids[:1], ids[1:4]))
        gate = None if self._source.random_weights else self._gate()
        goldens = build_goldens(
            self._graphs,
            probes=probes,
            weights=self._options.weights,
            resolution=self._info.tasks.segmentation.resolution,
            image=self._info.image,
            templates=self._info.text.templates,
            tokenize=tokenizer,
            tasks=gate,
        )
        for path, content in goldens.items():
            store(self._folder, path, content)
        draft = self._write_graphs(probes, tokenizer=tokenizer, files=tuple(goldens))
        manifest = draft if gate is None else self._accept(draft, gate=gate)
        return _write_descriptions(self._folder, manifest=manifest, source=self._source)

    def _write_graphs(
        self, probes: Mapping[str, Sequence[Probe]], *, tokenizer: Tokenizer, files: Sequence[str]
    ) -> Manifest:
        """Writes every graph for every runtime, each held to eager torch by itself."""
        source, options = self._source, self._options
        feeds = self._calibration_feeds(probes, tokenizer=tokenizer)
        plan = self._plan(probes, feeds=feeds)
        onnx = OnnxWriter(
            self._folder,
            probes=probes,
            calibration=feeds,
            plan=plan,
            weights=options.weights,
            random_weights=source.random_weights,
            report=self._report,
        ).write(self._graphs, precisions=options.onnx)
        coreml = CoreMLWriter(
            self._folder,
            probes=probes,
            plan=plan,
            metadata=PackageMetadata(
                model=self._info.name,
                version=source.revision,
                author=AUTHOR,
                licence=source.licences[0].spdx,
            ),
            random_weights=source.random_weights,
            report=self._report,
        )
        specs = {
            graph.name: GraphSpec(
                inputs=graph.inputs,
                outputs=graph.outputs,
                artifacts=(
                    *onnx.artifacts[graph.name],
                    *coreml.write(graph, precisions=options.coreml),
                ),
            )
            for graph in self._graphs
        }
        return Manifest(
            **dict(self._info),
            graphs=specs,
            precision_plan=plan,
            kept_in_float=onnx.kept_in_float,
            files=tuple(
                stored_file(self._folder, path) for path in (TOKENIZER_NAME, "NOTICE", *files)
            ),
            licences=source.licences,
        )

    def _plan(
        self, probes: Mapping[str, Sequence[Probe]], *, feeds: Mapping[str, Sequence[Arrays]]
    ) -> dict[str, tuple[Pin, ...]]:
        """What stays in fp32 in each graph, where anything is in less."""
        reduced = {"fp16"} & set(self._options.onnx) or set(self._options.coreml) - {"fp32"}
        plan = {}
        for graph in self._graphs if reduced else ():
            self._report(f"planning the precision of {graph.name}")
            program = export_program(
                graph.module, example=graph.example(), dynamic_axes=graph.dynamic_axes()
            )
            accept = NumericGate(
                graph,
                probes=probes[graph.name],
                bounds=BOUNDS["fp16"],
                random_weights=self._source.random_weights,
            )
            plan[graph.name] = plan_precision(
                program, graph=graph.name, feeds=feeds[graph.name], accept=accept
            )
        return plan

    def _probe(
        self,
        pictures: Sequence[NDArray[np.uint8]],
        *,
        token_ids: Sequence[NDArray[np.int32]],
    ) -> dict[str, list[Probe]]:
        return probe_graphs(
            self._graphs,
            resolution=self._info.tasks.segmentation.resolution,
            image=self._info.image,
            token_ids=token_ids,
            pictures=pictures,
        )

    def _calibration_feeds(
        self, probes: Mapping[str, Sequence[Probe]], *, tokenizer: Tokenizer
    ) -> dict[str, list[Arrays]]:
        """What ranges are taken from: pictures, or the probes where weights mean nothing."""
        if not self._source.random_weights:
            self._report("running eager torch on the calibration pictures")
            pictures, words = calibration_pictures()
            templates = self._info.text.templates
            texts = [
                templates[number % len(templates)].replace("{}", word)
                for number, word in enumerate(words)
            ]
            ids = tokenizer(texts)
            probes = self._probe(
                pictures, token_ids=[ids[at : at + 8] for at in range(0, len(ids), 8)]
            )
        return {name: [probe.feed for probe in runs] for name, runs in probes.items()}

    def _gate(self) -> TaskGate:
        self._report("asking eager torch about the held-out pictures")
        pictures, vocabulary = held_out_pictures()
        eager = EagerSource(
            id=self._source.revision,
            manifest=self._info,
            tokenizer_path=self._folder / TOKENIZER_NAME,
            graphs=self._graphs,
        )
        return TaskGate(eager, pictures=pictures, vocabulary=vocabulary)

    def _accept(self, draft: Manifest, *, gate: TaskGate) -> Manifest:
        """Adds to each artifact how the set that it belongs to does on whole tasks."""
        bundle = Bundle(self._folder, content=draft.model_dump_json().encode())
        measured = {}
        for runtime, precision in artifact_sets(bundle):
            self._report(f"asking {runtime} {precision} about the held-out pictures")
            candidate: ModelSource = (
                InterpretedSource(bundle, precision=precision)
                if runtime == "coreml"
                else BundleSource(bundle, runtime=runtime, precision=precision)
            )
            measured[runtime, precision] = gate.check(
                candidate, precision=precision, kind=f"{runtime} {precision}"
            )
        return draft.model_copy(
            update={
                "graphs": {
                    name: graph.model_copy(
                        update={
                            "artifacts": tuple(_with(each, measured) for each in graph.artifacts)
                        }
                    )
                    for name, graph in draft.graphs.items()
                }
            }
        )


def _with(
    artifact: Artifact, measured: Mapping[tuple[str, str], tuple[Measurement, ...]]
) -> Artifact:
    """An artifact whose parity holds the measurements of its set, too."""
    parity = artifact.parity
    added = measured[artifact.runtime, artifact.precision]
    measurements = (*parity.measurements, *added)
    return artifact.model_copy(
        update={"parity": parity.model_copy(update={"measurements": measurements})}
    )


def _describe(source: Source, *, options: ExportOptions) -> ModelInfo:
    """What there is to know about the model beside its graphs."""
    config = source.model.config
    return ModelInfo(
        name=config.name,
        revision=source.revision,
        random_weights=source.random_weights,
        model=config,
        image=ImageSpec(patch_size=config.image_encoder.patch_size),
        tasks=_tasks(source, options=options),
        text=TextSpec(
            context_length=config.text_encoder.context_length,
            templates=read_templates(),
            logit_scale=float(source.model.logit_scale.exp()),
        ),
        calibration=source.calibration,
        provenance={"checkpoint": source.provenance, "export": _provenance(options)},
    )


def _tasks(source: Source, *, options: ExportOptions) -> Tasks:
    config = source.model.config
    return Tasks(
        segmentation=Task(resolution=config.segmentation_resolution),
        classification=Task(
            resolution=config.classification_resolution, crop=options.classification_crop
        ),
    )


def _write_descriptions(folder: Path, *, manifest: Manifest, source: Source) -> Manifest:
    """Writes the model card, and the manifest that lists it too."""
    card = store(folder, MODEL_CARD, model_card(manifest, card=source.card).encode())
    complete = manifest.model_copy(update={"files": (*manifest.files, card)})
    store(folder, MANIFEST_NAME, complete.model_dump_json(indent=1).encode())
    return complete


def _write_tokenizer(folder: Path, *, context_length: int) -> Tokenizer:
    """Writes `tokenizer.json` and holds it to open_clip's ids."""
    write_tokenizer(folder / TOKENIZER_NAME, context_length=context_length)
    tokenizer = Tokenizer(folder / TOKENIZER_NAME)
    for golden, ids in zip(golden_tokens(), _golden_ids(tokenizer).tolist(), strict=True):
        wanted = [*golden.input_ids, *[0] * (context_length - len(golden.input_ids))]
        if ids != wanted:
            raise VerificationError(
                f"tokenizer.json gives {golden.text!r} other ids than open_clip"
            )
    return tokenizer


def _golden_ids(tokenizer: Tokenizer) -> NDArray[np.int32]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TextTruncatedWarning)  # one text is too long on purpose
        return tokenizer([golden.text for golden in golden_tokens()])


def _provenance(options: ExportOptions) -> dict[str, Any]:
    packages = ("torch", "onnx", "onnxscript", "onnxruntime", "numpy", "pillow")
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "opset": OPSET,
        "weights_stored_as": options.weights,
        "versions": {name: importlib.metadata.version(name) for name in packages},
    }
