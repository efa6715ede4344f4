"""MobileSAM: SAM's decoder behind a small image encoder, for points and boxes only.

Its authors publish no package; `mobilesam-mirror` is their code as one.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

from benchmarks.speed.peers import forced
from benchmarks.speed.peers.exports import ExportedPeer, PlainSam, exported
from benchmarks.speed.subject import Opened, noise_image

_SIDE_PX = 1024


@dataclass(frozen=True)
class MobileSam(ExportedPeer):
    """Its two graphs, exported as SAM's are."""

    stem = "mobile-sam"
    packages = ("mobilesam-mirror", "timm", "torch")

    def open(self) -> Opened:
        """Opens both graphs."""
        folder = exported(export, packages=self.packages)
        sam = PlainSam(folder, side_px=_SIDE_PX, runtime=self.runtime)
        image = noise_image()
        return self.opened(
            "MobileSAM",
            notes=f"sees {_SIDE_PX} px; prompts only: no classes and no text",
            files=folder,
            workloads={
                "encode": lambda: sam.encode(image),
                "point": lambda: sam.decode(forced.POINT)[:1],
            },
        )


def export(folder: Path) -> None:
    """Writes both graphs."""
    import torch

    with warnings.catch_warnings():
        # It registers under timm's old names, and says so eight times.
        warnings.simplefilter("ignore")
        from mobile_sam import sam_model_registry
        from mobile_sam.utils.onnx import SamOnnxModel

    from benchmarks.speed.peers.plain_onnx import sam_graphs, write_graphs

    torch.manual_seed(forced.SEED)
    sam = sam_model_registry["vit_t"]().eval().requires_grad_(False)
    decoder = SamOnnxModel(sam, return_single_mask=False)
    write_graphs(sam_graphs(sam, decoder), folder=folder)
