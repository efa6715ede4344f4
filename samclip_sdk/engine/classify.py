"""Classification (paper section 4.3): how well each label describes an image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from samclip_sdk.engine.engine import AnyImage, Array, Engine
from samclip_sdk.engine.label_search import highest_presence
from samclip_sdk.results.classification import Classification
from samclip_sdk.system.timing import Stopwatch


def embed_image(engine: Engine, image: AnyImage, *, clock: Stopwatch) -> Array:
    """Embeds an image in CLIP's joint space, [E]; see `Engine.encode`."""
    embedding = engine.encode(image, task=engine.manifest.tasks.classification, clock=clock)
    return np.array(engine.clip_head(embedding, clock=clock).image_embedding[0])


def classify(
    engine: Engine, image: AnyImage, *, labels: Sequence[str], clock: Stopwatch
) -> Classification:
    """Compares an image with labels from `check_labels`; see `Engine.encode`."""
    text = engine.texts.embed_labels(labels, clock=clock)
    embedding = engine.encode(image, task=engine.manifest.tasks.classification, clock=clock)
    head = engine.clip_head(embedding, clock=clock)
    cosines = text.cosines_at_once(head.image_embedding)[:, 0]
    logits = (engine.manifest.text.logit_scale * cosines).astype(np.float32)
    odds = np.exp(logits - logits.max())
    return Classification(
        labels=labels,
        probs=odds / odds.sum(),
        logits=logits,
        presence=highest_presence(
            head.patch_embeddings,
            text=text,
            frame=embedding.frame,
            calibration=engine.manifest.calibration,
        ),
        speed=clock.ms,
        origin=embedding.origin,
        read_as=engine.texts.told(labels, clock=clock),
    )
