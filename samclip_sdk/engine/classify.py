"""Classification (paper section 4.3): how well each label describes an image."""

from __future__ import annotations

import numpy as np

from samclip_sdk.engine.engine import Array
from samclip_sdk.engine.label_search import highest_presence
from samclip_sdk.engine.one_pass import Pass
from samclip_sdk.engine.queries import ClassifyQuery, Query
from samclip_sdk.results.classification import Classification


def embed_image(one: Pass, _: Query | None = None) -> Array:
    """Embeds an image in CLIP's joint space: [E], unit length."""
    return np.array(one.head.image_embedding[0])


def classify(one: Pass, query: ClassifyQuery) -> Classification:
    """Compares an image with labels."""
    text = one.embed_labels(query.labels)
    head = one.head
    cosines = text.cosines_at_once(head.image_embedding)[:, 0]
    logits = (one.manifest.text.logit_scale * cosines).astype(np.float32)
    odds = np.exp(logits - logits.max())
    presence = highest_presence(
        head.patch_embeddings, text=text, frame=one.frame, calibration=one.calibration
    )
    return Classification(
        labels=query.labels,
        probs=odds / odds.sum(),
        logits=logits,
        presence=presence,
        speed=one.clock.ms,
        origin=one.embedding.origin,
        read_as=one.told(query.labels),
    )
