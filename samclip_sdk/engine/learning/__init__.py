"""Labels learnt from labelled images: reading them, fitting labels to them, and measuring.

One label from a few regions is `samclip_sdk.text.learned_label`; here it is many labels, from the
images of a COCO file. This room is below the client.
"""

from samclip_sdk.engine.learning.coco_file import LabelledImages, read_coco
from samclip_sdk.engine.learning.fitting import threshold_between
from samclip_sdk.engine.learning.label_quality import (
    COMPARED,
    LabelQuality,
    compare,
    measure_labels,
)
from samclip_sdk.engine.learning.lesson import (
    LearnedLabel,
    LearnReport,
    checked_share,
    fit_thresholds,
    learn_images,
)

__all__ = [
    "COMPARED",
    "LabelQuality",
    "LabelledImages",
    "LearnReport",
    "LearnedLabel",
    "checked_share",
    "compare",
    "fit_thresholds",
    "learn_images",
    "measure_labels",
    "read_coco",
    "threshold_between",
]
