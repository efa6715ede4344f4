"""Describes the model of a bundle: the manifest without the graphs."""

from __future__ import annotations

import datetime
import importlib.metadata
from typing import Any

from export.coreml.to_coreml import PackageMetadata
from export.options import ExportOptions
from export.source import Source
from export.to_onnx import OPSET
from samclip_sdk.bundle.manifest import ModelInfo
from samclip_sdk.text.tokenizer import label_templates

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
