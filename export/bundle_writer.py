"""A model -> a bundle folder that is whole, checked and in place, or not there at all."""

from __future__ import annotations

import datetime
import importlib.metadata
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from export.atomic_folder import atomic_folder
from export.external_weights import WeightFile, WeightPrecision, halve_weights
from export.goldens import build_goldens, golden_tokens
from export.graphs import Graph, build_graphs
from export.model_card import model_card
from export.parity import check_parity
from export.probes import Probe, probe_graphs
from export.source import Source
from export.to_onnx import OPSET, data_dependent_operators, to_onnx
from export.tokenizer import write_tokenizer
from samclip_sdk.bundle import file_sha256
from samclip_sdk.errors import StorageError, TextTruncatedWarning, VerificationError
from samclip_sdk.manifest import (
    MANIFEST_NAME,
    TOKENIZER_NAME,
    Artifact,
    GraphSpec,
    ImageSpec,
    Manifest,
    StoredFile,
    Task,
    Tasks,
    TextSpec,
)
from samclip_sdk.text import Tokenizer, read_templates
from samclip_sdk.verify import verify_bundle

Report = Callable[[str], None]

MODEL_CARD = "README.md"


@dataclass(frozen=True)
class ExportOptions:
    """What a bundle holds.

    Attributes:
        resolutions: of image_encoder and clip_head, in pixels; those of the two tasks are added.
        weights: how they are stored; the graphs compute in fp32 either way.
        classification_crop: what classification sees of a raw picture.
    """

    resolutions: tuple[int, ...] = ()
    weights: WeightPrecision = "fp32"
    classification_crop: Literal["letterbox", "center_crop"] = "letterbox"


def write_bundle(source: Source, out: Path, *, options: ExportOptions, report: Report) -> Manifest:
    """Exports, checks and writes a bundle; an older bundle at `out` is replaced.

    Args:
        source: the model.
        out: the folder to make.
        options: what goes into it.
        report: told what is being done.

    Raises:
        VerificationError: a graph does not compute what eager torch computes.
        StorageError: `out` is something else than a bundle, or cannot be written.
    """
    if out.exists() and not (out / MANIFEST_NAME).is_file():
        raise StorageError(f"{out} exists and is not a bundle: it is left as it is")
    with atomic_folder(out) as folder:
        manifest = _fill(folder, source=source, options=options, report=report)
        report("running the goldens")
        verify_bundle(folder).raise_if_failed()
        return manifest


def _fill(folder: Path, *, source: Source, options: ExportOptions, report: Report) -> Manifest:
    """Writes everything into an empty folder, the manifest last."""
    config, tasks = source.model.config, _tasks(source, options=options)
    image = ImageSpec(patch_size=config.image_encoder.patch_size)
    text = TextSpec(
        context_length=config.text_encoder.context_length,
        templates=read_templates(),
        logit_scale=float(source.model.logit_scale.exp()),
    )
    needed = {tasks.segmentation.resolution, tasks.classification.resolution}
    graphs = build_graphs(source.model, resolutions=sorted(needed | set(options.resolutions)))
    tokenizer = _write_tokenizer(folder, context_length=text.context_length)
    _write(folder / "NOTICE", source.notice.encode())
    report("running eager torch")
    probes = probe_graphs(
        graphs,
        resolution=tasks.segmentation.resolution,
        image=image,
        token_ids=_golden_ids(tokenizer),
    )
    goldens = build_goldens(
        graphs,
        probes=probes,
        weights=options.weights,
        resolution=tasks.segmentation.resolution,
        image=image,
        templates=text.templates,
        tokenize=tokenizer,
    )
    for path, content in goldens.items():
        _write(folder / path, content)
    specs = _write_graphs(
        folder, graphs=graphs, probes=probes, source=source, weights=options.weights, report=report
    )
    manifest = Manifest(
        name=config.name,
        revision=source.revision,
        random_weights=source.random_weights,
        model=config,
        image=image,
        tasks=tasks,
        text=text,
        calibration=source.calibration,
        graphs=specs,
        files=tuple(_stored(folder, path) for path in (TOKENIZER_NAME, "NOTICE", *goldens)),
        licences=source.licences,
        provenance={"checkpoint": source.provenance, "export": _provenance(options)},
    )
    return _write_descriptions(folder, manifest=manifest, source=source)


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
    _write(folder / MODEL_CARD, model_card(manifest, card=source.card).encode())
    files = (*manifest.files, _stored(folder, MODEL_CARD))
    complete = manifest.model_copy(update={"files": files})
    _write(folder / MANIFEST_NAME, complete.model_dump_json(indent=1).encode())
    return complete


def _write_graphs(
    folder: Path,
    *,
    graphs: Sequence[Graph],
    probes: Mapping[str, Sequence[Probe]],
    source: Source,
    weights: WeightPrecision,
    report: Report,
) -> dict[str, GraphSpec]:
    """Exports and checks every graph; the resolutions of a part share one weight file."""
    (folder / "onnx").mkdir()
    specs: dict[str, GraphSpec] = {}
    for part in dict.fromkeys(graph.part for graph in graphs):
        members = [graph for graph in graphs if graph.part == part]
        weight_path = folder / "onnx" / f"{part}.weights"
        with weight_path.open("xb") as file:
            store = WeightFile(weight_path.name, file=file)
            for graph in members:
                report(f"exporting {graph.name}")
                _write_graph(folder / _onnx_path(graph), graph=graph, store=store, weights=weights)
        shared: tuple[StoredFile, ...] = (_stored(folder, f"onnx/{weight_path.name}"),)
        if not shared[0].size_bytes:  # a part so small that its graphs hold all of it
            weight_path.unlink()
            shared = ()
        for graph in members:
            report(f"checking {graph.name}")
            parity = check_parity(
                folder / _onnx_path(graph),
                graph=graph,
                probes=probes[graph.name],
                weights=weights,
                random_weights=source.random_weights,
            )
            artifact = Artifact(
                **_stored(folder, _onnx_path(graph)).model_dump(),
                runtime="onnx",
                precision="fp32",
                weights=shared,
                parity=parity,
            )
            specs[graph.name] = GraphSpec(
                inputs=graph.inputs, outputs=graph.outputs, artifacts=(artifact,)
            )
    return {graph.name: specs[graph.name] for graph in graphs}


def _write_graph(path: Path, *, graph: Graph, store: WeightFile, weights: WeightPrecision) -> None:
    model = to_onnx(
        graph.module,
        example=graph.example(),
        dynamic_axes=graph.dynamic_axes(),
        outputs=[spec.name for spec in graph.outputs],
    )
    forbidden = data_dependent_operators(model)
    if forbidden:
        raise VerificationError(f"{graph.name} has data-dependent operators: {sorted(forbidden)}")
    if weights == "fp16":
        halve_weights(model)
    store.move_out(model)
    ir.save(model, path)


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


def _onnx_path(graph: Graph) -> str:
    return f"onnx/{graph.name}.onnx"


def _stored(folder: Path, path: str) -> StoredFile:
    file = folder / path
    return StoredFile(path=path, sha256=file_sha256(file), size_bytes=file.stat().st_size)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
