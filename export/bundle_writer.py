"""Writes a model's bundle folder: complete and checked, or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch.export import ExportedProgram

from export.apps.goldens import AskedTexts
from export.apps.writer import (
    AppWriter,
    Asked,
    text_to_mask_graph,
    text_to_mask_plan,
    text_to_mask_probes,
)
from export.bundle_files import store, stored_file
from export.coreml.artifacts import InterpretedSource
from export.description import describe, package_metadata
from export.device_writers import DeviceWriters
from export.draft import Draft
from export.goldens import EagerAnswers, build_goldens
from export.graphs import Arrays, Graph, build_graphs
from export.images import calibration_images, half_sized, held_out_images
from export.model_card import write_descriptions
from export.onnx_artifacts import OnnxWriter
from export.options import ExportOptions, check_export, check_out, check_space
from export.parity import BOUNDS
from export.precision.bf16_stem import find_bf16_stems
from export.precision.norms import divide_norms
from export.precision.plan import NumericGate, plan_precision
from export.probes import IMAGES, Probe, probe_graphs
from export.source import Source
from export.steps import Steps, count_steps
from export.task_gates import EagerSource, TaskGate, add_measurements
from export.temporary_files import temporary_files_in
from export.tokenizer import golden_ids, golden_texts, write_tokenizer
from export.weight_rounding import round_weights
from samclip_sdk.bundle.contract import graph_key
from samclip_sdk.bundle.graph_spec import GraphSpec, Pin
from samclip_sdk.bundle.manifest import (
    GOLDEN_LABELS,
    NOUNS_NAME,
    TOKENIZER_NAME,
    Manifest,
    TextToMaskSpec,
)
from samclip_sdk.bundle.open import Bundle
from samclip_sdk.device.verify import verify_bundle
from samclip_sdk.engine.classify import embed_image
from samclip_sdk.engine.engine import Engine
from samclip_sdk.engine.one_pass import Pass
from samclip_sdk.runtimes.artifact_sets import artifact_sets
from samclip_sdk.runtimes.source import BundleSource, ModelSource
from samclip_sdk.system.atomic_folder import atomic_folder
from samclip_sdk.system.progress import OnProgress, no_progress
from samclip_sdk.system.timing import Stopwatch
from samclip_sdk.text.tokenizer import Tokenizer
from samclip_sdk.text.vocabulary import encode_vocabulary


def write_bundle(
    source: Source,
    out: Path,
    *,
    options: ExportOptions,
    on_progress: OnProgress = no_progress,
) -> Manifest:
    """Exports, checks and writes a bundle; an older bundle at `out` is replaced.

    Args:
        source: the model.
        out: the folder to make; if it is a link, its target is written.
        options: the contents of the bundle.
        on_progress: called before each step with a message, the number of steps done, and the
            number of all steps.

    Raises:
        ExportError: the model does not run at one of the resolutions.
        VerificationError: a graph's outputs, or a set's answers, differ too much from eager
            torch's.
        StorageError: `out` exists and is not a bundle, or cannot be written.
        RuntimeMissingError: a package that the export needs is not installed.
    """
    target = check_export(source.model.config, out, options=options)
    parameters = sum(each.numel() for each in source.model.parameters())
    check_space(target, parameters=parameters, options=options)
    with atomic_folder(target) as folder, temporary_files_in(folder / ".temporary"):
        writer = _Writer(folder, source=source, options=options, on_progress=on_progress)
        manifest = writer.write()
        for runtime, precision in options.runnable_sets:
            writer.steps.begin(f"running the goldens on {runtime} in {precision}")
            verify_bundle(folder, runtime=runtime, precision=precision).raise_if_failed()
        check_out(out)  # Again: the work takes minutes, and `out` may exist now.
        return manifest


class _Writer:
    """Writes a bundle into an empty folder, the manifest last."""

    def __init__(
        self, folder: Path, *, source: Source, options: ExportOptions, on_progress: OnProgress
    ) -> None:
        self._folder = folder
        self._given = source
        self._source = round_weights(source) if options.weights == "int8" else source
        self._options = options
        self._info = describe(self._source, options=options)
        tasks = self._info.tasks
        needed = {tasks.segmentation.resolution, tasks.classification.resolution}
        self._resolutions = sorted(needed | set(options.resolutions))
        self._graphs = build_graphs(self._source.model, resolutions=self._resolutions)
        self._text_to_mask = text_to_mask_graph(self._source.model, self._info)
        total = count_steps(
            options, resolutions=len(self._resolutions), random_weights=source.random_weights
        )
        self.steps = Steps(on_progress, total=total + bool(source.nouns))

    def write(self) -> Manifest:
        """Writes everything, and compares every set of artifacts with eager torch's answers."""
        text_encoder = self._info.model.text_encoder
        vocabulary = self._folder / TOKENIZER_NAME
        tokenizer = write_tokenizer(vocabulary, text_encoder, own=self._source.tokenizer)
        texts = golden_texts(text_encoder, vocabulary)
        store(self._folder, "NOTICE", self._source.notice.encode())
        self.steps.begin("running eager torch")
        ids = golden_ids(tokenizer, texts)
        probes = self._probe(IMAGES, token_ids=(ids[:1], ids[1:4]))
        gate = None if self._source.random_weights else self._gate()
        probes[self._text_to_mask.name] = self._text_to_mask_probes(gate)
        asked = None if gate is None else self._asked_texts(gate)
        whole = Pass(Engine(self._eager()), IMAGES[0], task="classification", whole_square=True)
        goldens = build_goldens(
            self._graphs,
            EagerAnswers(probes, embed_image(whole), tasks=gate, app_texts=asked),
            info=self._info,
            weights=self._options.weights,
            texts=texts,
            tokenize=tokenizer,
        )
        files = {**goldens, **self._nouns()}
        if asked is not None:
            files[GOLDEN_LABELS] = asked.pack
        for path, content in files.items():
            store(self._folder, path, content)
        manifest = self._write_graphs(probes, tokenizer=tokenizer, files=tuple(files))
        if gate is not None:
            manifest = self._accept(manifest, gate=gate)
        return write_descriptions(self._folder, manifest=manifest, card=self._source.card)

    def _write_graphs(
        self, probes: Mapping[str, Sequence[Probe]], *, tokenizer: Tokenizer, files: Sequence[str]
    ) -> Manifest:
        """Writes every graph for every runtime, and compares each with eager torch."""
        source, options = self._source, self._options
        feeds = self._calibration_feeds(probes, tokenizer=tokenizer)
        self._graphs = [divide_norms(each, feeds=feeds[each.name]) for each in self._graphs]
        programs = self._trace()
        draft = Draft(
            self._folder,
            probes=probes,
            plan=self._plan(programs, probes=probes, feeds=feeds),
            random_weights=source.random_weights,
            steps=self.steps,
        )
        stems: dict[str, str | None] = {}
        if options.onnx and not source.random_weights:
            stems = find_bf16_stems(self._graphs, programs=programs, feeds=feeds, steps=self.steps)
        onnx = OnnxWriter(
            draft, programs=programs, calibration=feeds, weights=options.weights
        ).write(self._graphs, precisions=options.onnx)
        devices = DeviceWriters(
            draft, calibration=feeds, metadata=package_metadata(source), options=options
        )
        specs = {
            graph.name: GraphSpec(
                inputs=graph.inputs,
                outputs=graph.outputs,
                bf16_stem=stems.get(graph.name),
                artifacts=(*onnx.artifacts[graph.name], *devices.write(graph)),
            )
            for graph in self._graphs
        }
        apps = AppWriter(draft, info=self._info, options=options)
        specs |= apps.write(self._text_to_mask, parts=onnx.artifacts, coreml=devices.coreml)
        return Manifest(
            **dict(self._info),
            graphs=specs,
            text_to_mask=(
                TextToMaskSpec(edition="one_prompt") if self._text_to_mask.name in specs else None
            ),
            precision_plan=draft.plan,
            kept_in_float=onnx.kept_in_float,
            files=tuple(
                stored_file(self._folder, path) for path in (TOKENIZER_NAME, "NOTICE", *files)
            ),
            licences=source.licences,
        )

    def _trace(self) -> dict[str, ExportedProgram]:
        """Traces each graph with its symbolic axes, if ONNX or a precision plan needs it."""
        programs = {}
        for graph in self._graphs if self._options.onnx or self._options.mixed else ():
            self.steps.begin(f"tracing {graph.name}")
            programs[graph.name] = graph.trace()
        return programs

    def _plan(
        self,
        programs: Mapping[str, ExportedProgram],
        *,
        probes: Mapping[str, Sequence[Probe]],
        feeds: Mapping[str, Sequence[Arrays]],
    ) -> dict[str, tuple[Pin, ...]]:
        """Graph -> the operations that stay in fp32; empty if no graph computes in fp16."""
        plan = {}
        for graph in self._graphs if self._options.mixed else ():
            self.steps.begin(f"planning the precision of {graph.name}")
            accept = NumericGate(
                graph,
                probes=probes[graph.name],
                bounds=BOUNDS["fp16"],
                random_weights=self._source.random_weights,
            )
            plan[graph.name] = plan_precision(
                programs[graph.name], graph=graph.name, feeds=feeds[graph.name], accept=accept
            )
        if plan:
            whole = self._text_to_mask
            plan[whole.name] = text_to_mask_plan(whole, plan=plan, probe=probes[whole.name][0])
        return plan

    def _probe(
        self,
        images: Sequence[NDArray[np.uint8]],
        *,
        token_ids: Sequence[NDArray[np.int32]],
    ) -> dict[str, list[Probe]]:
        return probe_graphs(
            self._graphs,
            resolution=self._info.tasks.segmentation.resolution,
            image=self._info.image,
            token_ids=token_ids,
            images=images,
        )

    def _calibration_feeds(
        self, probes: Mapping[str, Sequence[Probe]], *, tokenizer: Tokenizer
    ) -> dict[str, list[Arrays]]:
        """The feeds to take ranges from: photographs, or the probes if the weights are random."""
        if not self._source.random_weights:
            self.steps.begin("running eager torch on the calibration images")
            images, words = calibration_images(self._options.calibration_set)
            templates = self._info.text.templates
            texts = [
                templates[number % len(templates)].replace("{}", word)
                for number, word in enumerate(words)
            ]
            ids = tokenizer(texts)
            batches = [ids[at : at + 8] for at in range(0, len(ids), 8)]
            probes = self._probe(images, token_ids=batches)
        return {name: [probe.feed for probe in runs] for name, runs in probes.items()}

    def _nouns(self) -> dict[str, bytes]:
        """Path -> the pack of the source's nouns, and its table of words; empty without nouns."""
        nouns = self._source.nouns
        if not nouns:
            return {}
        self.steps.begin("embedding the nouns")
        own = [self._source.thresholds.get(noun) for noun in nouns]
        content = encode_vocabulary(
            nouns, embeddings=self._embed(nouns), manifest=self._info, thresholds=own, dtype="int8"
        )
        return {NOUNS_NAME: content, **self._source.words}

    def _embed(self, labels: Sequence[str]) -> NDArray[np.float32]:
        """Embeds labels by eager torch: [K,E]."""
        return Engine(self._eager()).texts.own_embeddings(labels, clock=Stopwatch())

    def _text_to_mask_probes(self, gate: TaskGate | None) -> list[Probe]:
        """Probes as apps run them: images with the labels found in them, or with any labels."""
        found: list[tuple[NDArray[np.uint8], list[str]]] = []
        if gate is not None:
            for image, masks in zip(gate.images, gate.reference.text_masks, strict=True):
                shown = zip(image.labels, masks, strict=True)
                found.append((image.image, [label for label, mask in shown if mask.any()]))
        asked = [(pixels, labels) for pixels, labels in found if labels]
        asked = asked or [(pixels, ["sky", "meadow"]) for pixels in IMAGES]
        return self._ask([(pixels, self._embed(labels)) for pixels, labels in asked])

    def _ask(self, questions: Sequence[Asked]) -> list[Probe]:
        """Runs `text_to_mask@S` in eager torch."""
        graphs = {graph.name: graph for graph in self._graphs}
        encoder = graphs[graph_key("image_encoder", self._text_to_mask.resolution)]
        return text_to_mask_probes(
            self._text_to_mask, image_encoder=encoder, info=self._info, questions=questions
        )

    def _asked_texts(self, gate: TaskGate) -> AskedTexts:
        """The image in which most labels are found, and all of its labels."""
        found = [sum(mask.any() for mask in masks) for masks in gate.reference.text_masks]
        image = gate.images[int(np.argmax(found))]
        pixels = half_sized(image.image, resolution=self._info.tasks.segmentation.resolution)
        embeddings = self._embed(image.labels)
        (probe,) = self._ask([(pixels, embeddings)])
        pack = encode_vocabulary(image.labels, embeddings=embeddings, manifest=self._info)
        return AskedTexts(pixels, pack, probe)

    def _eager(self) -> EagerSource:
        return self._eager_of(self._source, graphs=self._graphs)

    def _eager_of(self, source: Source, *, graphs: Sequence[Graph]) -> EagerSource:
        return EagerSource(
            id=source.revision,
            manifest=self._info,
            tokenizer_path=self._folder / TOKENIZER_NAME,
            graphs=graphs,
        )

    def _gate(self) -> TaskGate:
        self.steps.begin("asking eager torch about the held-out images")
        images, vocabulary = held_out_images()
        gate = TaskGate(self._eager(), images=images, vocabulary=vocabulary)
        if self._source is not self._given:
            self.steps.begin("asking the model about them without its weights rounded")
            graphs = build_graphs(self._given.model, resolutions=self._resolutions)
            given = self._eager_of(self._given, graphs=graphs)
            gate.check(given, precision="fp16", kind="the model of --weights fp32")
        return gate

    def _accept(self, manifest: Manifest, *, gate: TaskGate) -> Manifest:
        """Adds to each artifact the measurements of its set on whole tasks."""
        bundle = Bundle(self._folder, content=manifest.model_dump_json().encode())
        measured = {}
        for runtime, precision in artifact_sets(bundle):
            self.steps.begin(f"asking {runtime} {precision} about the held-out images")
            candidate: ModelSource = (
                InterpretedSource(bundle, precision=precision)
                if runtime == "coreml"
                else BundleSource(bundle, runtime=runtime, precision=precision)
            )
            measured[runtime, precision] = gate.check(
                candidate, precision=precision, kind=f"{runtime} {precision}"
            )
        return add_measurements(manifest, measured)
