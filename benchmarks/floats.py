"""What int8 leaves in float, layer by layer: `python -m benchmarks floats`."""

from __future__ import annotations

from benchmarks.encoders import count_by_module
from benchmarks.suite import Measuring, ModelName
from samclip_sdk import SamClip
from samclip_sdk.bundle.manifest import Manifest
from samclip_sdk.bundle.open import DEFAULT_MODEL


def floats(measured: Measuring, model: ModelName = DEFAULT_MODEL) -> None:
    """Counts the operations of the layers that a bundle's int8 files compute in float.

    They are those of matrix products and convolutions, for three prompts and three texts. Nothing
    is timed. It needs torch.
    """
    with SamClip.load("onnx", model=model, precision="int8") as opened:
        measured.of(opened)
        manifest = opened.manifest
    assert isinstance(manifest, Manifest)
    counted = count_by_module(manifest.model, resolution=manifest.tasks.segmentation.resolution)
    for graph, flop in counted.items():
        kept = manifest.kept_in_float.get(graph, ())
        in_float = sum(flop.get(name, 0) for name in kept)
        measured.add(graph, n=len(kept), flop=flop[""], in_float=in_float)
        for layer in kept:
            measured.add(graph, layer, flop=flop.get(layer))
