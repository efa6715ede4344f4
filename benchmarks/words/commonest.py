"""The 2,000 commonest nouns of things that can be seen, and a sample of them for a person to judge.

WordNet tells what they are, and an estimate of frequency which are common, as in training.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.words.faults import KINDS, Share
from samclip_sdk.text.word_table import Reading
from training.text.common_nouns import common_nouns
from training.text.senses import Senses
from training.text.wordnet import WordNet

NOUNS = 2000


def find_common(wordnet: Path) -> tuple[str, ...]:
    """The nouns, the commonest first; raises TrainingError without WordNet or MiniLM."""
    return common_nouns(Senses(WordNet(wordnet)), count=NOUNS)


def count_kinds(readings: Mapping[str, Reading]) -> dict[str, Share]:
    """How many readings are of each kind."""
    kinds = Counter(each.kind for each in readings.values())
    return {kind: Share(kinds[kind], len(readings)) for kind in KINDS}


def draw_sample(
    nouns: Sequence[str], *, size: int, seed: int, without: Collection[str] = ()
) -> list[str]:
    """Draws nouns by a seed, as many as there are at most; those in `without` are left out."""
    order = np.random.default_rng(seed).permutation(len(nouns)).tolist()
    drawn = (nouns[index] for index in order)
    return [each for each in drawn if each not in without][:size]


def sample_line(noun: str, reading: Reading) -> dict[str, Any]:
    """A noun and its reading, as JSON has them."""
    return {"word": noun, **reading.to_dict()}
