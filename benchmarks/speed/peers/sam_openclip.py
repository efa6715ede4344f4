"""SAM ViT-B and an open_clip model, two models in torch: what SAM-CLIP merges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from benchmarks.speed.peers.architecture import SAM_VIT_B, SamArchitecture
from benchmarks.speed.peers.forced import (
    RANDOM_WEIGHTS,
    picture,
    require,
    stored_bytes,
    versions,
)
from benchmarks.speed.subject import Opened


@dataclass(frozen=True)
class SamOpenClip:
    """segment-anything and open_clip, one after the other.

    Attributes:
        clip: an open_clip architecture, or the path of a JSON file of one.
        precision: "bf16" casts both image encoders and CLIP's text encoder; SAM's decoder stays
            in fp32, since segment-anything turns its answers into numpy, which has no bfloat16.
        proposals: masks that everything-mode is made to find, each seen by CLIP.
        points_per_side: of everything-mode's grid; segment-anything's default is 32.
        threads: of torch; 0 leaves its default.
        sam: the sizes of SAM.
    """

    clip: str = "ViT-B-16"
    precision: Literal["fp32", "bf16"] = "fp32"
    proposals: int = 10
    points_per_side: int = 8
    threads: int = 0
    sam: SamArchitecture = SAM_VIT_B

    @property
    def key(self) -> str:
        """Names CLIP, the precision and the proposals."""
        return f"sam+openclip-{self.clip.lower()}-{self.precision}-k{self.proposals}"

    def open(self) -> Opened:
        """Builds both models.

        Raises:
            ModuleNotFoundError: a package is missing.
            ValueError: more proposals than the grid has masks.
        """
        require("segment_anything", package="segment-anything")
        require("open_clip", package="open_clip_torch")
        from benchmarks.speed.peers import foundation
        from benchmarks.speed.peers.two_models import SamAndClip

        foundation.set_threads(self.threads)
        sam = foundation.build_sam(self.sam)
        clip, preprocess = foundation.load_clip(self.clip, in_bfloat16=self.precision == "bf16")
        if self.precision == "bf16":
            foundation.run_in_bfloat16(sam.image_encoder)
        models = SamAndClip(
            sam,
            clip,
            preprocess,
            picture=picture(),
            proposals=self.proposals,
            points_per_side=self.points_per_side,
        )
        return Opened(
            name=f"{self.sam.name} + OpenCLIP {self.clip}, torch",
            package_versions=versions("segment-anything", "open_clip_torch", "torch"),
            precision=self.precision,
            notes=self._notes(),
            artifact_bytes=stored_bytes(sam, clip),
            workloads={
                "encode": models.encode_for_sam,
                "classify": models.classify,
                "point": models.point,
                "text3": models.text_to_mask,
            },
            adds_up=True,
        )

    def _notes(self) -> str:
        points = self.points_per_side**2
        notes = [
            f"{RANDOM_WEIGHTS}; bytes are those of all parameters, CLIP's text encoder included",
            "encode is SAM's image encoder, classify runs CLIP's",
            f"text3: everything-mode of {points} points (segment-anything's default is 1,024) on "
            f"SAM's encoding, {self.proposals} masks forced past its filters, without "
            f"non-maximum suppression, then {self.proposals} crops through CLIP in one batch",
            f"three_ways is these in turn; CLIP sees {self.proposals + 1} pictures",
        ]
        if self.precision == "bf16":
            notes.append("bf16: .to(bfloat16) of SAM's image encoder, and open_clip's pure_bf16")
        return "; ".join(notes)
