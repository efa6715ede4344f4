"""A tiny bundle of one runtime that has files of its own, and what holds for every such bundle."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from export.bundle_writer import write_bundle
from export.options import ExportOptions
from export.source import Source
from samclip_sdk import SamClip
from samclip_sdk.bundle.open import Bundle, open_bundle
from samclip_sdk.device.verify import verify_bundle
from samclip_sdk.runtimes.artifact_sets import artifact_sets

IMAGE = np.random.default_rng(0).integers(0, 256, size=(62, 96, 3)).astype(np.uint8)
BOXES = [[5, 5, 60, 40], [10, 20, 90, 60], [30, 2, 70, 50]]


def export_alone(
    source: Source, folder: Path, *, runtime: str, precisions: Sequence[str]
) -> Bundle:
    """Exports the sets of a runtime alone, and sees that every step of it is told.

    The export holds every graph to its bounds, and each set to its goldens.
    """
    told: list[tuple[int, int]] = []
    asked: Any = {runtime: tuple(precisions)}
    write_bundle(
        source,
        folder,
        options=ExportOptions(onnx=(), **asked),
        on_progress=lambda _, done, total: told.append((done, total)),
    )
    bundle = open_bundle(folder)
    assert artifact_sets(bundle) == tuple((runtime, each) for each in precisions)
    assert {each.partition("@")[0] for each in bundle.manifest.graphs} == {
        *("image_encoder", "clip_head", "text_encoder", "prompt_encoder", "mask_decoder")
    }
    assert [done for done, _ in told] == list(range(told[0][1]))
    return bundle


def verifies_and_answers(bundle: Bundle, *, runtime: str, precision: str) -> None:
    """Sees that verifying passes, and that a model of the set finds labels, in every bucket."""
    report = verify_bundle(bundle.root, runtime=runtime, precision=precision)
    assert [each.name for each in report.checks if not each.passed] == []
    with SamClip.load(runtime, model=bundle.root, precision=precision) as model:
        found = model.segment_text(IMAGE, ["dog", "cat"], threshold=0.0)
        assert len(found.masks) == 2
        answers_alike_in_every_bucket(model)


def answers_alike_in_every_bucket(model: SamClip, *, tolerance: float = 1e-4) -> None:
    """Sees that a prompt in the bucket of one is answered as in those of eight and of four."""
    image = model.encode_image(IMAGE)
    together = model.segment(image, boxes=BOXES * 4, multimask_output=False).low_res_masks
    for index, logits in enumerate(together):
        box = BOXES[index % len(BOXES)]
        alone = model.segment(image, boxes=box, multimask_output=False).low_res_masks[0]
        np.testing.assert_allclose(logits, alone, atol=tolerance * np.abs(alone).max(), rtol=0)
