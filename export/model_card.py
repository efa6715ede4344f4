"""Writes the bundle's README.md: the model, its measured quality and its origin."""

from __future__ import annotations

from pathlib import Path

from export.bundle_files import store
from samclip_sdk.bundle.manifest import MANIFEST_NAME, NOT_STATED, Manifest
from samclip_sdk.bundle.training_sets import told_terms, training_sets

MODEL_CARD = "README.md"


def write_descriptions(folder: Path, *, manifest: Manifest, card: str) -> Manifest:
    """Writes the model card, and the manifest, which also lists the card.

    Args:
        folder: the bundle's folder.
        manifest: an earlier card in it is replaced.
        card: the prose and the figures of the model's maker.
    """
    stored = store(folder, MODEL_CARD, model_card(manifest, card=card).encode())
    others = (each for each in manifest.files if each.path != MODEL_CARD)
    complete = manifest.model_copy(update={"files": (*others, stored)})
    store(folder, MANIFEST_NAME, complete.model_dump_json(indent=1).encode())
    return complete


def model_card(manifest: Manifest, *, card: str) -> str:
    """Writes the card in Markdown.

    Args:
        manifest: the bundle's manifest.
        card: prose and measured figures from the model's maker; may be empty.
    """
    parts = [
        f"# {manifest.name}\n\nRevision `{manifest.revision}`. One model by the method of "
        "SAM-CLIP: one backbone pass, then masks from points and boxes, zero-shot classification, "
        "and masks from text. `manifest.json` describes every file; open the folder with "
        "`samclip_sdk`.",
    ]
    if manifest.random_weights:
        parts.append(
            "**Random weights.** The graphs compute what they should; what they compute means "
            "nothing."
        )
    elif not manifest.calibrated:
        parts.append(
            "**Not calibrated.** Scores, presence and masks of texts stand on thresholds that "
            "nobody has chosen for this model. Masks from points and boxes, embeddings and "
            "classification need none."
        )
    parts += [
        _use(manifest),
        card.strip() or "## Quality\n\nNot measured.",
        _licences(manifest),
        _graphs(manifest),
        _provenance(manifest),
    ]
    return "\n\n".join(parts) + "\n"


def _use(manifest: Manifest) -> str:
    tasks, scores = manifest.tasks, manifest.calibration
    return (
        "## Use\n\n"
        f"* Prompts and text-to-mask: {tasks.segmentation.resolution} px, letterboxed. "
        f"Classification: {tasks.classification.resolution} px, {tasks.classification.crop}.\n"
        f"* A label's score is s = {scores.scale:.4g} (cos - {scores.bias:.4g}); it is present "
        f"where sigmoid(s) reaches {scores.presence_threshold:.3g}.\n"
        "* Inputs are plain RGB pixels, 0 to 255: normalisation is inside the graphs."
    )


def _graphs(manifest: Manifest) -> str:
    rows = [
        "## Graphs",
        "",
        "| graph | runtime | file | MB | against eager torch |",
        "|---|---|---|---|---|",
    ]
    for name, graph in manifest.graphs.items():
        for artifact in graph.artifacts:
            size = artifact.size_bytes + sum(file.size_bytes for file in artifact.weights)
            measured = ", ".join(
                f"{each.metric} {each.measured:.3g}" for each in artifact.parity.measurements
            )
            rows.append(
                f"| {name} | {artifact.runtime} | {artifact.path} | {size / 1e6:.1f} | "
                f"{measured or 'not measured here'} |"
            )
    return "\n".join(rows) + "\n\nWeights that several resolutions share are stored once."


def _licences(manifest: Manifest) -> str:
    rows = [f"| {each.part} | {each.spdx} | {each.source} |" for each in manifest.licences]
    table = "\n".join(["## Licences", "", "| part | licence | source |", "|---|---|---|", *rows])
    if all(each.spdx != NOT_STATED for each in manifest.licences):
        return table
    return f"{table}\n\nWhat is not stated here only its makers know: ask them before you ship it."


def _provenance(manifest: Manifest) -> str:
    told = (
        "## Provenance\n\nIn `manifest.json`, `provenance` has the settings, the seeds and the "
        "versions of packages of each training, and of the export."
    )
    sets = training_sets(manifest)
    if not sets:
        return told
    rows = [f"| {name} | {terms} |" for name, terms in sets.items()]
    table = "\n".join(["| photographs | terms |", "|---|---|", *rows])
    return f"{told} The weights were {told_terms(sets)}.\n\n{table}"
