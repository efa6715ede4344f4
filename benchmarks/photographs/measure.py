"""The quality of a model on the split "val" of sets of photographs, through its public API."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from benchmarks.photographs.figures import (
    REFINED,
    Bootstrap,
    LabelAnswers,
    ObjectIous,
    PresencePairs,
    ask_model,
    text_to_mask_rows,
)
from benchmarks.photographs.naming import (
    imagenet_names,
    name_pictures,
    of_folder,
    of_imagenet,
    read_folder,
    read_named,
    right_names,
)
from benchmarks.photographs.record import (
    Heads,
    PhotographFigures,
    PhotographSettings,
    Taught,
    TopK,
)
from benchmarks.photographs.two_models import Pipeline
from benchmarks.report import track
from samclip_sdk import ImageEmbedding, SamClip
from training.asked_pictures import AskedPicture
from training.real.photograph_questions import AskedPhotographs, objects_of, read_photograph
from training.real.photographs import Photographs
from training.real.records import BrokenRecord

T = TypeVar("T")


@dataclass(frozen=True)
class ValPictures:
    """The pictures of "val" that each part of the benchmark is about.

    Attributes:
        photographs: of the split, with all names.
        asked: what pictures of complete sets are asked for; None without such a set.
        complete: numbers of those pictures.
        masked: numbers of pictures with masks.
        labelled: numbers of pictures with names of the whole.
        sets: the set of every picture.
    """

    photographs: Photographs
    asked: AskedPhotographs | None
    complete: list[int]
    masked: list[int]
    labelled: list[int]
    sets: list[str]


def choose_pictures(photographs: Photographs, *, limit: int | None, seed: int) -> ValPictures:
    """Sorts the pictures by what they can tell, `limit` of each kind at most, evenly over all."""
    every = range(len(photographs))
    asked = None
    if any(photographs[picture].found.complete for picture in every):
        asked = AskedPhotographs(photographs, seed=seed)
    complete = [] if asked is None else sorted(asked.pictures.tolist())
    masked = [
        picture
        for picture in every
        if photographs[picture].found.table.promptable[photographs[picture].numbers].any()
    ]
    labelled = [picture for picture in every if photographs.labels(picture)]
    return ValPictures(
        photographs=photographs,
        asked=asked,
        complete=evenly(complete, limit),
        masked=evenly(masked, limit),
        labelled=evenly(labelled, limit),
        sets=[photographs[picture].found.name for picture in every],
    )


def evenly(items: Sequence[T], limit: int | None) -> list[T]:
    """At most so many items, evenly over all."""
    if limit is None or limit >= len(items):
        return list(items)
    return [items[place * len(items) // limit] for place in range(limit)]


def measure_photographs(
    model: SamClip,
    pictures: ValPictures,
    *,
    settings: PhotographSettings,
    taught: dict[str, Taught],
    pipeline: Pipeline | None = None,
    folder: Path | None = None,
) -> PhotographFigures:
    """Measures a model, and the two-model pipeline if there is one.

    Args:
        model: of any runtime.
        pictures: what to ask.
        settings: seeds and resamples.
        taught: how each name was taught; empty where nobody said.
        pipeline: SAM and CLIP, one after the other.
        folder: the user's own pictures, with a sub-folder a class.
    """
    answers = _Answers({heads: LabelAnswers() for heads in REFINED}, ObjectIous(), PresencePairs())
    broken: Counter[str] = Counter()
    complete, masked = set(pictures.complete), set(pictures.masked)
    for picture in track(sorted(complete | masked), "masks of photographs"):
        try:
            image = model.encode_image(read_photograph(pictures.photographs, picture))
            if picture in masked:
                objects = objects_of(pictures.photographs, picture)
                if len(objects):
                    answers.objects.add(picture, model, image, objects)
            if picture in complete and pictures.asked is not None:
                asked = pictures.asked.question(picture)
                answers.ask(picture, model, image, asked, pictures, pipeline)
        except BrokenRecord as error:
            broken[error.kind] += 1
    top_k = tuple(_name(model, pictures, settings=settings, taught=taught, folder=folder))
    bootstrap = Bootstrap(settings.resamples, settings.seed)
    threshold = model.manifest.calibration.presence_threshold
    tables = {heads: each.table() for heads, each in answers.texts.items()}
    return PhotographFigures(
        text_to_mask=tuple(
            row
            for heads, table in tables.items()
            for row in text_to_mask_rows(
                table, bootstrap, heads=heads, threshold=threshold, sets=pictures.sets
            )
        ),
        curves={heads: tuple(table.curve()) for heads, table in tables.items() if heads in REFINED},
        prompts=tuple(answers.objects.rows(bootstrap, sets=pictures.sets)),
        top_k=top_k,
        presence=tuple(answers.presence.rows(bootstrap, taught=taught)),
        broken=dict(broken),
    )


@dataclass(frozen=True)
class _Answers:
    """All that is collected picture by picture."""

    texts: dict[Heads, LabelAnswers]
    objects: ObjectIous
    presence: PresencePairs

    def ask(
        self,
        picture: int,
        model: SamClip,
        image: ImageEmbedding,
        asked: AskedPicture,
        pictures: ValPictures,
        pipeline: Pipeline | None,
    ) -> None:
        """Asks a picture of a complete set for masks of texts, and for presence."""
        photographs = pictures.photographs
        if asked.labels:
            for heads, masks, presence in ask_model(model, image, asked):
                self.texts[heads].add(picture, asked, masks=masks, presence=presence)
            if pipeline is not None:
                for heads, masks in pipeline.ask(asked):
                    found = self.texts.setdefault(heads, LabelAnswers())
                    found.add(picture, asked, masks=masks, presence=np.ones(len(masks)))
        absent = tuple(photographs.names[each] for each in photographs.absent(picture))
        self.presence.add(picture, model, image, present=asked.present, absent=absent)


def _name(
    model: SamClip,
    pictures: ValPictures,
    *,
    settings: PhotographSettings,
    taught: dict[str, Taught],
    folder: Path | None,
) -> Iterator[TopK]:
    """Names pictures with labels among all names and ImageNet's, and those of a folder."""
    photographs = pictures.photographs
    labelled = {each: right_names(photographs, each) for each in pictures.labelled}
    named = name_pictures(
        model,
        read_named(photographs, labelled, "names"),
        names=photographs.names,
        taught=dict(taught),
    )
    yield from named.rows("all names", settings=settings)
    classes, _ = imagenet_names()
    known = of_imagenet(photographs, pictures.labelled)
    source = read_named(photographs, known, "ImageNet's names")
    named = name_pictures(model, source, names=classes, taught={})
    yield from named.rows("ImageNet's classes", settings=settings)
    if folder is not None:
        own = evenly(of_folder(folder), settings.limit)
        names = sorted({name for _, name in own})
        named = name_pictures(model, read_folder(own, "your folder"), names=names, taught={})
        yield from named.rows("the folder's classes", settings=settings)
