"""One model at two resolutions: the CLIP head alone has its own in the paper, 448 px."""

from __future__ import annotations

from pathlib import Path

from samclip_sdk import SamClip
from samclip_sdk.auto.opening import open_source
from samclip_sdk.bundle.contract import graph_key
from samclip_sdk.bundle.manifest import Manifest, ModelInfo
from samclip_sdk.model_source import ModelSource
from samclip_sdk.session import Session

HEAD_RESOLUTION_PX = 448
"""Of the paper's figures for the CLIP head alone."""


class SourceAt:
    """A source whose pictures are encoded at another resolution; prompts do not work on them."""

    def __init__(self, source: ModelSource, *, resolution_px: int) -> None:
        self.id = f"{source.id}@{resolution_px}"
        self.runtime, self.precision = source.runtime, source.precision
        tasks = source.manifest.tasks
        task = tasks.segmentation.model_copy(update={"resolution": resolution_px})
        tasks = tasks.model_copy(update={"segmentation": task})
        self.manifest = source.manifest.model_copy(update={"tasks": tasks})
        self._source = source

    @property
    def tokenizer_path(self) -> Path:
        """The source's."""
        return self._source.tokenizer_path

    def session(self, graph: str) -> Session:
        """Opens a graph of the source."""
        return self._source.session(graph)


def load_at(
    runtime: str, *, model: str, precision: str | None, head_resolution_px: int | None
) -> tuple[SamClip, SamClip]:
    """Loads a model as `SamClip.load` does, and the same for its CLIP head alone.

    The second one runs at `head_resolution_px`; if that is None at the paper's resolution if the
    model is a larger one and runs at it, else at the model's own.

    Raises:
        SamClipError: the model cannot be loaded.
        ValueError: it does not run at the resolution.
    """
    source = open_source(runtime, model=model, precision=precision)
    own = source.manifest.tasks.segmentation.resolution
    if head_resolution_px is None:
        at_most = min(own, HEAD_RESOLUTION_PX)
        head_resolution_px = at_most if _has_resolution(source.manifest, at_most) else own
    if not _has_resolution(source.manifest, head_resolution_px):
        raise ValueError(
            f"the model {source.manifest.name} does not run at {head_resolution_px} px: its "
            f"segmentation resolution is {own}"
        )
    return SamClip(source), SamClip(SourceAt(source, resolution_px=head_resolution_px))


def _has_resolution(manifest: ModelInfo, resolution_px: int) -> bool:
    """Whether a bundle has the graphs for it, or a checkpoint can run at it."""
    if isinstance(manifest, Manifest):
        parts = ("image_encoder", "clip_head")
        return all(graph_key(part, resolution_px) in manifest.graphs for part in parts)
    try:
        manifest.model.check_resolution(resolution_px)
    except ValueError:
        return False
    return True
