"""Asks a model whole tasks: these are the answers that are held against the goldens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from samclip_sdk.client import SamClip
from samclip_sdk.device.goldens.task_metrics import TaskAnswers, TaskPicture


def answer_tasks(
    model: SamClip, pictures: Sequence[TaskPicture], *, vocabulary: Sequence[str]
) -> TaskAnswers:
    """Asks a model everything about every picture."""
    views = [view for picture in pictures for view in picture.views()]
    logits = np.stack([model.classify(view, vocabulary).logits for view in views])
    box_masks, text_masks = [], []
    for picture in pictures:
        encoded = model.encode_image(picture.image)
        found = model.segment(encoded, boxes=picture.boxes, multimask_output=False)
        box_masks.append(found.masks)
        text_masks.append(np.stack(list(model.segment_text(encoded, picture.labels).masks)))
    return TaskAnswers(
        embeddings=np.stack([model.embed_image(view) for view in views]),
        logits=logits,
        box_masks=tuple(box_masks),
        text_masks=tuple(text_masks),
    )
