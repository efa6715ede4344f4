"""Describes the model of a bundle: the manifest without the graphs, and the model card."""

from __future__ import annotations

import datetime
import importlib.metadata
from pathlib import Path
from typing import Any

from export.bundle_files import store
from export.coreml.to_coreml import PackageMetadata
from export.model_card import model_card
from export.options import ExportOptions
from export.source import Source
from export.to_onnx import OPSET
from samclip_sdk.bundle.manifest import MANIFEST_NAME, Manifest, ModelInfo
from samclip_sdk.text.tokenizer import label_templates

MODEL_CARD = "README.md"
AUTHOR = "the authors of samclip-sdk"
_PACKAGES = ("torch", "onnx", "onnxscript", "onnxruntime", "numpy", "pillow")
_OF_LITERT = ("litert-torch", "ai-edge-quantizer", "ai-edge-litert")
_OF_EXECUTORCH = ("executorch",)


def describe(source: Source, *, options: ExportOptions) -> ModelInfo:
    """Makes the manifest's facts about the model, without its graphs."""
    return ModelInfo.of_checkpoint(
        source.model.config,
        revision=source.revision,
        templates=label_templates(source.model.config.text_encoder),
        logit_scale=float(source.model.logit_scale.exp()),
        calibration=source.calibration,
        random_weights=source.random_weights,
        provenance={"checkpoint": source.provenance, "export": _provenance(options)},
        classification_crop=options.classification_crop,
    )


def package_metadata(source: Source) -> PackageMetadata:
    """Makes the metadata of Core ML packages."""
    return PackageMetadata(
        model=source.model.config.name,
        version=source.revision,
        author=AUTHOR,
        licence="; ".join(f"{each.part}: {each.spdx}" for each in source.licences),
    )


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


def _provenance(options: ExportOptions) -> dict[str, Any]:
    packages = (
        *_PACKAGES,
        *(_OF_LITERT if options.litert else ()),
        *(_OF_EXECUTORCH if options.executorch else ()),
    )
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "opset": OPSET,
        "weights_stored_as": options.weights,
        "versions": {name: importlib.metadata.version(name) for name in packages},
    }
