"""SAM ViT-B and an open_clip model, two models in torch: what SAM-CLIP merges.

Masks are proposed by segment-anything's own automatic mask generator, on the encoding that the
predictor has: better than the package alone, whose generator would encode the image again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from segment_anything import SamAutomaticMaskGenerator, SamPredictor, sam_model_registry
from segment_anything.modeling import Sam
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.speed.peers import forced


@dataclass
class SamOpenClip(forced.TwoModels):
    """segment-anything and open_clip, one after the other.

    "bf16" casts both image encoders and CLIP's text encoder; SAM's decoder stays in fp32, since
    segment-anything turns its answers into numpy, which has no bfloat16.
    """

    engine = "torch"
    packages = ("segment-anything", "open_clip_torch", "torch")

    precision: Literal["fp32", "bf16"] = "fp32"

    @property
    def key(self) -> str:
        """Names CLIP, the precision and the proposals."""
        return f"sam+openclip-{self.clip.lower()}-{self.precision}-k{self.proposals}"

    def _load(self) -> tuple[str, int, int]:
        in_bfloat16 = self.precision == "bf16"
        sam = build_sam()
        self._clip, self._preprocess = load_clip(self.clip, in_bfloat16=in_bfloat16)
        if in_bfloat16:
            run_in_bfloat16(sam.image_encoder)
        points = forced.POINTS_PER_SIDE**2
        self._generator = SamAutomaticMaskGenerator(
            sam,
            points_per_side=forced.POINTS_PER_SIDE,
            points_per_batch=points,
            pred_iou_thresh=0.5,
            stability_score_thresh=0.0,
            box_nms_thresh=1.0,
        )
        self._predictor = self._generator.predictor
        # The generator takes the image as it was encoded, and leaves it to the next workload.
        self._predictor.set_image = self._predictor.reset_image = lambda *_image: None
        # Of the generator's masks those that are kept, and no others, pass its filter.
        scores = torch.zeros(points, forced.MASKS_A_POINT)
        scores.flatten()[torch.from_numpy(self._kept)] = 1
        scores = F.pad(scores, (1, 0))  # SAM's mask for a single answer comes first
        sam.mask_decoder.iou_prediction_head.register_forward_hook(
            lambda _head, _given, answer: scores if len(answer) == points else answer
        )
        notes = "bytes are those of all parameters, CLIP's text encoder included; no non-maximum"
        how = "; bf16: .to(bfloat16) of SAM's image encoder, and open_clip's pure_bf16"
        notes = f"{notes} suppression{how if in_bfloat16 else ''}"
        return notes, forced.stored_bytes(sam, self._clip), self._clip.text_projection.shape[1]

    @torch.inference_mode()
    def _encode_for_sam(self) -> None:
        SamPredictor.set_image(self._predictor, self._image)

    @torch.inference_mode()
    def _point(self) -> NDArray[np.bool_]:
        return self._predictor.predict(**forced.ONE_POINT)[0]

    @torch.inference_mode()
    def _propose(self) -> tuple[NDArray[np.bool_], list[tuple[float, float, float, float]]]:
        records = self._generator.generate(self._image)
        boxes = [(x, y, x + w, y + h) for x, y, w, h in (record["bbox"] for record in records)]
        return np.stack([record["segmentation"] for record in records]), boxes

    @torch.inference_mode()
    def _embed(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        batch = torch.stack([self._preprocess(image) for image in images])
        dtype = next(self._clip.parameters()).dtype
        return self._clip.encode_image(batch.to(dtype), normalize=True).float().numpy()


def build_sam() -> Sam:
    """Builds segment-anything's model in evaluation mode."""
    torch.manual_seed(forced.SEED)
    sam = sam_model_registry[forced.SAM]()
    # SAM's positions start at zero, which no trained model has: an exporter may drop them.
    for parameter_name, parameter in sam.named_parameters():
        if "pos_embed" in parameter_name or "rel_pos" in parameter_name:
            nn.init.trunc_normal_(parameter, std=0.02)
    return sam.eval().requires_grad_(False)


def load_clip(
    name: str, *, in_bfloat16: bool = False
) -> tuple[nn.Module, Callable[[Image.Image], Tensor]]:
    """Builds an open_clip model, and its preprocessing of one image."""
    # Another peer may have brought this, which open_clip can do without: its load is not CLIP's.
    modules: dict[str, Any] = sys.modules
    modules.setdefault("transformers", None)
    import open_clip

    if modules["transformers"] is None:
        del modules["transformers"]
    torch.manual_seed(forced.SEED)
    model, _, preprocess = open_clip.create_model_and_transforms(
        name, precision="pure_bf16" if in_bfloat16 else "fp32"
    )
    return model.eval().requires_grad_(False), preprocess


def run_in_bfloat16(module: nn.Module) -> None:
    """Casts a module of one input and one output to bfloat16; what goes in and out is float32."""
    module.to(torch.bfloat16)
    module.register_forward_pre_hook(lambda _module, given: (given[0].to(torch.bfloat16),))
    module.register_forward_hook(lambda _module, _given, answer: answer.float())
