"""The bundle's README.md: what the model is, what it reaches, where it comes from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from samclip_sdk.manifest import Manifest


def model_card(manifest: Manifest, *, quality: Mapping[str, Any]) -> str:
    """Writes the card in Markdown.

    Args:
        manifest: of the bundle.
        quality: measured figures: section -> metric -> value; texts are printed as they are.
    """
    parts = [
        f"# {manifest.name}\n\nRevision `{manifest.revision}`. One merged SAM + CLIP model: one "
        "backbone pass, then masks from points and boxes, zero-shot classification, and masks from "
        "text. `manifest.json` describes every file; open the folder with `samclip_sdk`.",
    ]
    if manifest.random_weights:
        parts.append(
            "**Random or uncalibrated weights.** The graphs compute what they should; what they "
            "compute means nothing."
        )
    parts += [
        _use(manifest),
        _quality(quality),
        _graphs(manifest),
        _licences(manifest),
        f"## Provenance\n\n```json\n{json.dumps(manifest.provenance, indent=2)}\n```",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


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


def _quality(quality: Mapping[str, Any]) -> str:
    """A table for each section, a paragraph for each text."""
    if not quality:
        return "## Quality\n\nNot measured."
    parts = ["## Quality"]
    for section, figures in quality.items():
        if isinstance(figures, Mapping):
            rows = [f"| {metric} | {_figure(value)} |" for metric, value in figures.items()]
            parts.append("\n".join([f"| {section} | |", "|---|---|", *rows]))
        else:
            parts.append(f"{section}: {_figure(figures)}")
    return "\n\n".join(parts)


def _figure(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


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
    return "\n".join(["## Licences", "", "| part | licence | source |", "|---|---|---|", *rows])
