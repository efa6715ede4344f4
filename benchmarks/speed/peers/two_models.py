"""SAM and CLIP as two models in torch, and the paper's text-to-mask of the two (appendix C.1).

SAM proposes masks in everything-mode, by segment-anything's own automatic mask generator, and CLIP
sees each proposal's box. The picture is encoded once by each model, and what it is asked for shares
that: better than the packages alone, whose generator would encode the picture again.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from segment_anything import SamAutomaticMaskGenerator, SamPredictor
from segment_anything.modeling import Sam
from torch import Tensor, nn

from benchmarks.speed.peers.forced import (
    CLASSES,
    LABELS,
    POINT,
    crop_box,
    kept_proposals,
    paint,
    rank,
    unit_embeddings,
)

MASKS_A_POINT = 3


class SamAndClip:
    """The workloads of two models on one picture.

    Args:
        sam: in evaluation mode.
        clip: an open_clip model in evaluation mode.
        preprocess: open_clip's, of one picture.
        picture: uint8 RGB [H,W,3].
        proposals: how many of everything-mode's masks pass its filters, by force.
        points_per_side: of everything-mode's grid.

    Raises:
        ValueError: the grid has fewer masks than `proposals`.
    """

    def __init__(
        self,
        sam: Sam,
        clip: nn.Module,
        preprocess: Callable[[Image.Image], Tensor],
        *,
        picture: NDArray[np.uint8],
        proposals: int,
        points_per_side: int,
    ) -> None:
        self._predictor = SamPredictor(sam)
        self._clip = clip
        self._preprocess = preprocess
        self._picture = picture
        self._dtype = next(clip.parameters()).dtype
        width = clip.text_projection.shape[1]
        self._labels = unit_embeddings(LABELS, width=width)
        self._classes = unit_embeddings(CLASSES, width=width)
        total = MASKS_A_POINT * points_per_side**2
        self._generator = SamAutomaticMaskGenerator(
            sam,
            points_per_side=points_per_side,
            pred_iou_thresh=0.5,
            stability_score_thresh=0.0,
            box_nms_thresh=1.0,
        )
        self._generator.predictor = _EncodedPicture(
            self._predictor, kept=kept_proposals(proposals, of=total), masks=total
        )

    @torch.inference_mode()
    def encode_for_sam(self) -> None:
        """SAM's preprocessing and image encoder."""
        self._predictor.set_image(self._picture)

    @torch.inference_mode()
    def classify(self) -> NDArray[np.float32]:
        """Probabilities of 1,000 labels, CLIP's image encoder included."""
        return rank(self._embed([Image.fromarray(self._picture)])[0], self._labels)

    @torch.inference_mode()
    def point(self) -> NDArray[np.bool_]:
        """The mask of one point, [1,H,W], of the picture that SAM has encoded."""
        self._encode_once()
        masks, _, _ = self._predictor.predict(
            point_coords=np.array([POINT]), point_labels=np.array([1]), multimask_output=False
        )
        return np.asarray(masks)

    @torch.inference_mode()
    def text_to_mask(self) -> NDArray[np.bool_]:
        """Masks of three classes, [3,H,W], of the picture that SAM has encoded."""
        self._encode_once()
        records = self._generator.generate(self._picture)
        whole = Image.fromarray(self._picture)
        boxes = [(x, y, x + w, y + h) for x, y, w, h in (record["bbox"] for record in records)]
        embeddings = self._embed([whole.crop(crop_box(box)) for box in boxes])
        return paint(
            np.stack([record["segmentation"] for record in records]), embeddings, self._classes
        )

    def _encode_once(self) -> None:
        """Only where a workload is the first of all; opening a model runs none."""
        if not self._predictor.is_image_set:
            self.encode_for_sam()

    def _embed(self, pictures: list[Image.Image]) -> NDArray[np.float32]:
        """Unit embeddings [K,E] of pictures, in one batch."""
        batch = torch.stack([self._preprocess(picture) for picture in pictures])
        embeddings: Tensor = self._clip.encode_image(batch.to(self._dtype), normalize=True)
        return embeddings.float().numpy()


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
