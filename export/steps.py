"""The progress of an export."""

from __future__ import annotations

from export.options import ExportOptions
from samclip_sdk.system.progress import OnProgress


class Steps:
    """Tells a caller about each step of an export when it begins.

    Args:
        on_progress: called with a message, the number of steps done, and the number of all steps.
        total: the number of all steps, see `count_steps`.
    """

    def __init__(self, on_progress: OnProgress, *, total: int) -> None:
        self._on_progress = on_progress
        self._total = total
        self._begun = 0

    def begin(self, doing: str) -> None:
        """Begins the next step."""
        self._on_progress(doing, self._begun, self._total)
        self._begun += 1


def count_steps(options: ExportOptions, *, resolutions: int, random_weights: bool) -> int:
    """Counts the steps of an export.

    Args:
        options: the options of the export.
        resolutions: the number of the bundle's resolutions.
        random_weights: whether the weights are random; then no whole tasks are compared.
    """
    onnx, coreml = len(options.onnx), len(options.coreml)
    litert, executorch = len(options.litert), len(options.executorch)
    # Two parts at each resolution; text_encoder, prompt_encoder and mask_decoder once.
    graphs = 2 * resolutions + 3
    traced = graphs if onnx or options.mixed else 0
    planned = graphs if options.mixed else 0
    converted = graphs * (onnx + sum(1 for kind in (coreml, litert, executorch) if kind))
    checked = graphs * options.sets
    apps = sum(1 + kind for kind in (onnx, coreml) if kind)
    # Eager torch runs on the probes. With trained weights it also runs on two sets of images, on
    # one of them again if weights are rounded; then each set of artifacts runs.
    answered = 1 if random_weights else 3 + (options.weights == "int8") + options.sets
    stems = resolutions if onnx and not random_weights else 0
    # Every set but those of Core ML runs its goldens.
    verified = options.sets - coreml
    return answered + traced + stems + planned + converted + checked + apps + verified
