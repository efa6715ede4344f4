"""The paper's own numbers (arXiv 2310.15308v4), to show beside ours, never as ours.

Its models are ViT-B, merged on 41 million pictures, and its data sets are others than ours: what
can be compared is which of two models is ahead, and roughly by how much. Percent throughout.
"""

from __future__ import annotations

from typing import Final

# Table 1. CLIP is DataComp-1B's ViT-B/16, at 224 px.
IMAGENET_CLIP: Final = 73.5
IMAGENET_STUDENT: Final = 72.4
COCO_SAM: Final = 41.2
COCO_STUDENT: Final = 40.9

# Tables 2, 5 and 7, mIoU on Pascal VOC.
VOC: Final = {"two_models": 27.2, "clip_head": 60.6, "both_heads": 66.0}

# Table 3, linear heads: mIoU on Pascal VOC and ADE20k. Table 4: top-1 on ImageNet and Places365.
LINEAR_SEGMENTATION: Final = {
    "sam_teacher": (46.6, 26.6),
    "clip_teacher": (70.7, 36.4),
    "student": (75.0, 38.4),
}
LINEAR_CLASSIFICATION: Final = {
    "sam_teacher": (41.2, 41.5),
    "clip_teacher": (81.3, 55.1),
    "student": (80.5, 55.3),
}

# Table 6: resolution in pixels -> zero-shot top-1 on ImageNet, ImageNet-v2 and Places365.
RESOLUTIONS: Final = {224: (71.7, 63.2, 43.4), 336: (72.4, 63.2, 43.6)}

# Appendix D: no point between the two has both.
WISE_FT_ACCURACY: Final = 60
WISE_FT_MAP: Final = 35
