"""A label's embedding from examples: the word's own, turned until the examples fit it.

Texts and images are apart in CLIP's joint space: two images of different things are often as
near to each other as an image and its own word. A mean of regions and word would therefore find
its label everywhere. So the result keeps the scale that the bundle's calibration knows.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from samclip_sdk.bundle.manifest import Calibration
from samclip_sdk.errors import PromptError, one_line
from samclip_sdk.system.arguments import finite_number
from samclip_sdk.text.unit_length import find_wrong_length, normalize

Array = NDArray[np.float32]

SAME_REGIONS = 0.999
"""Positive and negative regions with this cosine, or more, cannot be told apart."""


def learn_embedding(
    word: Array, *, positives: Array, negatives: Array, calibration: Calibration, score: float
) -> Array:
    """The unit vector nearest to the word's that has the wanted cosines with the examples.

    p is the mean of the positives, n the mean of the negatives, both at unit length. v is the
    result:

    * v . p is the cosine whose calibrated score is `score`, or the word's own if that is higher.
    * v . n is at most the cosine whose calibrated score is 1 - `score`; for that, v turns against
      the part of n that p does not have, so that the positives lose nothing.
    * The rest of v's length lies along the part of the word that neither p nor n has. Hardly any
      image shares it, so it keeps the scores of other images low.

    If the unit sphere has no such vector, the positives come first.

    Args:
        word: [E], unit length.
        positives: [P,E], unit length; at least one.
        negatives: [N,E], unit length; N may be 0.
        calibration: the calibration of the scores.
        score: the score of the positives, above 0.5 and below 1.

    Returns:
        float32 [E], unit length.

    Raises:
        PromptError: the negatives cannot be told from the positives.
    """
    reach = math.log(score / (1 - score)) / calibration.scale
    own, positive = word.astype(np.float64), _mean(positives)
    fits = float(own @ positive)
    along = min(max(calibration.bias + reach, fits), 1.0)
    maximum = math.sqrt(1 - along**2)  # the part of v's length that is across p
    against, other = 0.0, np.zeros_like(positive)
    if len(negatives):
        negative = _mean(negatives)
        shared = float(negative @ positive)
        if shared > SAME_REGIONS:
            raise PromptError(
                "this model cannot tell the negative regions from the positive ones, cosine "
                f"{shared:.4f}: choose others"
            )
        apart = math.sqrt(1 - shared**2)
        other = (negative - shared * positive) / apart
        needed = (along * shared - (calibration.bias - reach)) / apart
        by_itself = -float(own @ other) * maximum / math.sqrt(max(1 - fits**2, 1e-12))
        against = float(np.clip(max(needed, by_itself), -maximum, maximum))
    rest = own - fits * positive - (own @ other) * other
    rest /= max(float(np.linalg.norm(rest)), 1e-6)
    left = math.sqrt(max(maximum**2 - against**2, 0.0))
    learned = along * positive - against * other + left * rest
    return normalize(learned.astype(np.float32))


def checked_score(score: float) -> float:
    """The score that examples shall have; raises PromptError if it is not possible."""
    if not 0.5 < finite_number(score, name="score") < 1:
        raise PromptError(f"score is {score:g}; it must be above 0.5 and below 1")
    return float(score)


def check_regions(regions: ArrayLike, *, name: str, embed_dim: int, min_regions: int = 0) -> Array:
    """The embeddings of regions as rows, float32 [K,E].

    Args:
        regions: one [E], or many [K,E], from `SamClip.embed_region`.
        name: their name in a message.
        embed_dim: E.
        min_regions: the least K.

    Raises:
        PromptError: there are fewer, the shape is another, or a vector does not have unit length.
    """
    try:
        rows = np.asarray(regions, dtype=np.float32)
    except (
        ValueError,
        TypeError,
        OverflowError,
    ) as error:  # uneven rows, or no numbers
        raise PromptError(
            f"the {name} regions are not one array of embeddings: {one_line(error)}"
        ) from error
    if rows.size == 0 and min_regions:
        raise PromptError(
            f"no {name} region was given: give at least {min_regions}, from embed_region"
        )
    if rows.size == 0:
        return np.zeros((0, embed_dim), dtype=np.float32)
    if rows.ndim not in (1, 2) or rows.shape[-1] != embed_dim:
        raise PromptError(
            f"the {name} regions have the shape {list(rows.shape)}; this model's are "
            f"[{embed_dim}] or [K,{embed_dim}], from embed_region"
        )
    rows = np.atleast_2d(rows)
    wrong = find_wrong_length(rows)
    if wrong is not None:
        raise PromptError(
            f"one of the {name} regions has the length {wrong[1]:.3g} where it must be 1"
        )
    return rows


def _mean(embeddings: Array) -> NDArray[np.float64]:
    """The mean of [K,E], of unit length; in float64, so that the order of rows hardly matters."""
    mean: NDArray[np.float64] = embeddings.astype(np.float64).mean(axis=0)
    return mean / max(float(np.linalg.norm(mean)), 1e-6)
