"""SAM ViT-B and an open_clip model, two models in torch: what SAM-CLIP merges.

Masks are proposed by segment-anything's own automatic mask generator, on the encoding that the
predictor has: better than the package alone, whose generator would encode the picture again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from segment_anything import SamAutomaticMaskGenerator, SamPredictor
from segment_anything.modeling import Sam
from torch import Tensor, nn

from benchmarks.speed.peers import torch_models
from benchmarks.speed.peers.forced import (
    MASKS_A_POINT,
    POINT,
    TwoModels,
    kept_proposals,
    stored_bytes,
    two_models_notes,
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
        sam: of segment-anything's registry.
    """

    clip: str = "ViT-B-16"
    precision: Literal["fp32", "bf16"] = "fp32"
    proposals: int = 10
    points_per_side: int = 8
    threads: int = 0
    sam: str = "vit_b"

    @property
    def key(self) -> str:
        """Names CLIP, the precision and the proposals."""
        return f"sam+openclip-{self.clip.lower()}-{self.precision}-k{self.proposals}"

    def open(self) -> Opened:
        """Builds both models.

        Raises:
            ValueError: more proposals than the grid has masks.
        """
        torch.set_num_threads(self.threads or torch.get_num_threads())
        in_bfloat16 = self.precision == "bf16"
        sam = torch_models.build_sam(self.sam)
        clip, preprocess = torch_models.load_clip(self.clip, in_bfloat16=in_bfloat16)
        if in_bfloat16:
            torch_models.run_in_bfloat16(sam.image_encoder)
        total = MASKS_A_POINT * self.points_per_side**2
        kept = kept_proposals(self.proposals, of=total)
        models = SamAndClip(sam, clip, preprocess, kept=kept, points_per_side=self.points_per_side)
        how = "bf16: .to(bfloat16) of SAM's image encoder, and open_clip's pure_bf16"
        return Opened(
            name=f"SAM {self.sam} + OpenCLIP {self.clip}, torch",
            package_versions=versions("segment-anything", "open_clip_torch", "torch"),
            precision=self.precision,
            notes=two_models_notes(
                "bytes are those of all parameters, CLIP's text encoder included",
                *([how] if in_bfloat16 else []),
                points_per_side=self.points_per_side,
                proposals=self.proposals,
                how=" (segment-anything's default is 1,024) without non-maximum suppression",
            ),
            artifact_bytes=stored_bytes(sam, clip),
            workloads=models.workloads(),
            adds_up=True,
        )


class SamAndClip(TwoModels):
    """The workloads of two models in evaluation mode.

    Args:
        sam: segment-anything's.
        clip: open_clip's.
        preprocess: open_clip's, of one picture, as a module.
        kept: which of everything-mode's masks pass its filters, by force.
        points_per_side: of everything-mode's grid.
    """

    def __init__(
        self,
        sam: Sam,
        clip: nn.Module,
        preprocess: nn.Module,
        *,
        kept: NDArray[np.int64],
        points_per_side: int,
    ) -> None:
        super().__init__(width=clip.text_projection.shape[1])
        self._predictor = SamPredictor(sam)
        self._clip = clip
        self._preprocess = preprocess
        self._dtype = next(clip.parameters()).dtype
        self._generator = SamAutomaticMaskGenerator(
            sam,
            points_per_side=points_per_side,
            pred_iou_thresh=0.5,
            stability_score_thresh=0.0,
            box_nms_thresh=1.0,
        )
        masks = MASKS_A_POINT * points_per_side**2
        self._generator.predictor = _EncodedPicture(self._predictor, kept=kept, masks=masks)

    @torch.inference_mode()
    def encode_for_sam(self) -> None:
        """See `TwoModels`."""
        self._predictor.set_image(self.picture)

    @torch.inference_mode()
    def point(self) -> NDArray[np.bool_]:
        """See `TwoModels`."""
        self._encode_once()
        masks, _, _ = self._predictor.predict(
            point_coords=np.array([POINT]), point_labels=np.array([1]), multimask_output=False
        )
        return np.asarray(masks)

    @torch.inference_mode()
    def propose(self) -> tuple[NDArray[np.bool_], list[tuple[float, float, float, float]]]:
        """See `TwoModels`."""
        self._encode_once()
        records = self._generator.generate(self.picture)
        boxes = [(x, y, x + w, y + h) for x, y, w, h in (record["bbox"] for record in records)]
        return np.stack([record["segmentation"] for record in records]), boxes

    @torch.inference_mode()
    def embed(self, pictures: Sequence[Image.Image]) -> NDArray[np.float32]:
        """See `TwoModels`."""
        batch = torch.stack([self._preprocess(picture) for picture in pictures])
        embeddings: Tensor = self._clip.encode_image(batch.to(self._dtype), normalize=True)
        return embeddings.float().numpy()

    def _encode_once(self) -> None:
        """Only where a workload is the first of all; opening a model runs none."""
        if not self._predictor.is_image_set:
            self.encode_for_sam()


class _EncodedPicture:
    """What the generator takes for its predictor: a picture that is encoded already.

    Predicted IoUs are replaced, so that the kept masks, and no others, pass the generator's filter.
    """

    def __init__(self, predictor: SamPredictor, *, kept: NDArray[np.int64], masks: int) -> None:
        self.model = predictor.model
        self.transform = predictor.transform
        self.device = predictor.device
        self._predictor = predictor
        self._scores = torch.zeros(masks)
        self._scores[torch.from_numpy(kept)] = 1
        self._next = 0

    def set_image(self, image: NDArray[np.uint8]) -> None:
        """Starts at the first point of the grid; the picture stays as encoded."""
        self._next = 0

    def reset_image(self) -> None:
        """Keeps the picture, for the next workload."""

    def predict_torch(
        self, points: Tensor, labels: Tensor, *, multimask_output: bool, return_logits: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The predictor's answer, with other predicted IoUs."""
        masks, predicted, low_res_masks = self._predictor.predict_torch(
            points, labels, multimask_output=multimask_output, return_logits=return_logits
        )
        scores = self._scores[self._next : self._next + predicted.numel()]
        self._next += predicted.numel()
        return masks, scores.reshape(predicted.shape), low_res_masks
