"""Vocabulary packs of an engine's labels: written with what each was given, and taken again."""

from __future__ import annotations

import os
from collections.abc import Sequence

from samclip_sdk.engine.engine import Engine
from samclip_sdk.system.atomic_file import atomic_file
from samclip_sdk.system.timing import Stopwatch
from samclip_sdk.text.vocabulary import encode_vocabulary, read_vocabulary


def save_labels(engine: Engine, path: str | os.PathLike[str], labels: Sequence[str]) -> None:
    """Writes labels from `check_labels`; see `SamClip.save_vocabulary`."""
    texts, clock = engine.texts, Stopwatch()
    content = encode_vocabulary(
        labels,
        embeddings=texts.embed_single_labels(labels, clock=clock),
        manifest=engine.manifest,
        thresholds=texts.own_thresholds(labels),
        read_as=texts.told(labels, clock=clock),
    )
    with atomic_file(path) as file:
        file.write(content)


def load_labels(engine: Engine, path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Gives the engine the labels of a pack, and returns them; see `SamClip.load_vocabulary`."""
    pack = read_vocabulary(path, manifest=engine.manifest)
    engine.texts.learn(pack.labels, pack.matrix, thresholds=pack.thresholds, read_as=pack.read_as)
    return pack.labels
