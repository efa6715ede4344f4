"""What a model sees in photographs, and what these are called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from samclip_sdk import SamClip
from samclip_sdk.errors import PromptError
from samclip_sdk.runtimes.options import OnProgress, tell_nobody
from training.real.photograph_questions import concept_masks, read_photograph
from training.real.photographs import Photographs
from training.real.records import BrokenRecord

Sight = tuple[NDArray[np.float32], tuple[str, ...]]
"""An embedding [E] and the names of what it is of."""

_LEAST_SHARE = 0.003
"""Of the picture, that a region must cover to be looked at."""


def look(
    model: SamClip,
    photographs: Photographs,
    *,
    whole_per_name: int,
    masked_per_name: int,
    seed: int,
    on_progress: OnProgress = tell_nobody,
) -> Iterator[Sight]:
    """Embeds labelled pictures as a whole, and regions with masks.

    Pictures come in random order; one whose names have all been seen often enough is passed over,
    and so is what cannot be read.

    Args:
        model: that embeds them.
        photographs: of one split.
        whole_per_name: how many labelled pictures of a name are looked at, at least, if there are.
        masked_per_name: likewise, pictures with masks of it.
        seed: of the order.
        on_progress: told how many pictures are done.
    """
    order = np.random.default_rng(seed).permutation(len(photographs)).tolist()
    names = photographs.names
    labels = {each: [names[n] for n in photographs.labels(each)] for each in order}
    masked = {each: _masked_names(photographs, each) for each in order}
    whole, parts = _enough(labels, whole_per_name), _enough(masked, masked_per_name)
    total = len(whole) + len(parts)
    for done, picture in enumerate(whole):
        on_progress("looking at pictures", done, total)
        try:
            yield model.embed_image(read_photograph(photographs, picture)), tuple(labels[picture])
        except BrokenRecord:
            continue
    for done, picture in enumerate(parts, start=len(whole)):
        on_progress("looking at pictures", done, total)
        yield from _regions(model, photographs, picture)
    on_progress("looking at pictures", total, total)


def _regions(model: SamClip, photographs: Photographs, picture: int) -> Iterator[Sight]:
    try:
        pixels = read_photograph(photographs, picture)
        masks = concept_masks(photographs, picture)
    except BrokenRecord:
        return
    image = model.encode_image(pixels)
    for name, mask in masks.items():
        if mask.sum() >= _LEAST_SHARE * mask.size:
            try:
                yield model.embed_region(image, mask=mask), (name,)
            except PromptError:  # too thin for any patch
                continue


def _masked_names(photographs: Photographs, picture: int) -> list[str]:
    one = photographs[picture]
    concepts = one.concepts(one.numbers)
    return [photographs.names[each] for each in np.unique(concepts[concepts >= 0]).tolist()]


def _enough(named: dict[int, list[str]], per_name: int) -> Sequence[int]:
    """The first pictures, until each name has been in so many."""
    seen: Counter[str] = Counter()
    chosen = []
    for picture, names in named.items():
        if names and min(seen[name] for name in names) < per_name:
            chosen.append(picture)
            seen.update(names)
    return chosen
