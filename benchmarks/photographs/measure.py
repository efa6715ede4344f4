"""The quality of a model on the split "val" of sets of photographs, through its public API."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.paper.text_to_mask import TwoModels
from benchmarks.photographs import figures, naming
from benchmarks.photographs.drawn_points import by_drawn_points
from benchmarks.photographs.record import PhotographFigures, PhotographSettings, Taught, TopK
from benchmarks.public.files import evenly
from benchmarks.quality.ranking import embed_noun
from benchmarks.quality.scores import HEADS
from benchmarks.report import track
from samclip_sdk import ImageEmbedding, SamClip
from samclip_sdk.bundle.contract import graph_key
from samclip_sdk.picture.image import load_image
from samclip_sdk.picture.masks import binarize
from samclip_sdk.runtimes.source import BundleSource
from training.asked_pictures import AskedPicture
from training.real.photograph_questions import AskedPhotographs, objects_of, read_photograph
from training.real.photographs import Photographs
from training.real.records import BrokenRecord

AskGraph = Callable[[ImageEmbedding, Sequence[str]], tuple[list[np.ndarray], np.ndarray]]
"""K labels in a picture: masks bool [H,W], whatever their presence, and presence float32 [K]."""


@dataclass(frozen=True)
class ValPictures:
    """The pictures of "val" that each part of the benchmark is about, by number.

    `asked` is what pictures of complete sets are asked for, None without such a set. `complete` are
    numbers of those pictures, `masked` of pictures with masks, `labelled` of pictures with names of
    the whole; `sets` has the set of every picture.
    """

    photographs: Photographs
    asked: AskedPhotographs | None
    complete: list[int]
    masked: list[int]
    labelled: list[int]
    sets: list[str]


def choose_pictures(photographs: Photographs, *, limit: int | None, seed: int) -> ValPictures:
    """Sorts the pictures by what they can tell, `limit` of each kind at most, evenly over all."""
    every = [photographs[picture] for picture in range(len(photographs))]
    asked = None
    if any(each.found.complete for each in every):
        asked = AskedPhotographs(photographs, seed=seed)
    complete = [] if asked is None else sorted(asked.pictures.tolist())
    masked = [n for n, each in enumerate(every) if each.found.table.promptable[each.numbers].any()]
    labelled = [picture for picture in range(len(every)) if photographs.labels(picture)]
    return ValPictures(
        photographs=photographs,
        asked=asked,
        complete=evenly(complete, limit),
        masked=evenly(masked, limit),
        labelled=evenly(labelled, limit),
        sets=[each.found.name for each in every],
    )


def measure_photographs(
    model: SamClip,
    pictures: ValPictures,
    *,
    settings: PhotographSettings,
    taught: dict[str, Taught],
    pipeline: TwoModels | None = None,
    folder: Path | None = None,
) -> PhotographFigures:
    """Measures a model, and the two-model pipeline if there is one.

    `taught` is empty where nobody said how names were taught; `folder` has the user's own pictures,
    with a sub-folder a class.
    """
    texts: dict[str, list[Any]] = {heads: [] for heads in HEADS}
    objects: list[Any] = []
    pairs: list[Any] = []
    broken: Counter[str] = Counter()
    ask = partial(
        _ask, model, seed=settings.seed, one_graph=find_one_graph(model), pipeline=pipeline
    )
    complete, masked = set(pictures.complete), set(pictures.masked)
    for picture in track(sorted(complete | masked), "masks of photographs"):
        try:
            image = model.encode_image(read_photograph(pictures.photographs, picture))
            if picture in masked and len(found := objects_of(pictures.photographs, picture)):
                objects += figures.judge_objects(picture, model, image, found)
            if picture in complete and pictures.asked is not None:
                asked = pictures.asked.question(picture)
                for heads, masks, presence in ask(image, asked):
                    rows = figures.judge_texts(picture, asked, masks=masks, presence=presence)
                    texts.setdefault(heads, []).extend(rows)
                pairs += _presence(picture, model, image, asked, pictures.photographs)
        except BrokenRecord as error:
            broken[error.kind] += 1
    top_k = tuple(_name(model, pictures, settings=settings, taught=taught, folder=folder))
    bootstrap = figures.Bootstrap(settings.resamples, settings.seed)
    threshold = model.manifest.calibration.presence_threshold
    tables = {heads: np.array(rows, figures.TEXT_ROW) for heads, rows in texts.items()}
    return PhotographFigures(
        text_to_mask=tuple(
            row
            for heads, table in tables.items()
            for row in figures.text_to_mask_rows(
                table, bootstrap, heads=heads, threshold=threshold, sets=pictures.sets
            )
        ),
        curves={heads: tuple(figures.curve(tables[heads])) for heads in HEADS},
        prompts=tuple(figures.prompt_rows(objects, bootstrap, sets=pictures.sets)),
        top_k=top_k,
        presence=tuple(figures.presence_rows(pairs, bootstrap, taught=taught)),
        broken=dict(broken),
    )


def _ask(
    model: SamClip,
    image: ImageEmbedding,
    asked: AskedPicture,
    *,
    seed: int,
    one_graph: AskGraph | None,
    pipeline: TwoModels | None,
) -> Iterator[tuple[str, Sequence[np.ndarray], np.ndarray]]:
    """Asks for all labels with one head, both, by points, one graph, and two models.

    Yields the masks and presence [K] of each.

    Every label gets a mask, whatever its presence, so that one answer serves all thresholds: a
    label's mask depends on neither the threshold nor the other labels.
    """
    if not asked.labels:
        return
    for heads, refine in HEADS.items():
        answer = model.segment_text(image, asked.labels, threshold=0.0, refine=refine)
        yield heads, answer.masks, answer.presence
    yield "drawn_points", *by_drawn_points(model, image, asked.labels, seed=seed)
    if one_graph is not None:
        yield "one_graph", *one_graph(image, asked.labels)
    if pipeline is not None:
        for heads, masks, _ in pipeline.ask(asked):
            yield heads, masks, np.ones(len(masks))


def find_one_graph(model: SamClip) -> AskGraph | None:
    """Text-to-mask as apps have it: one prompt a label, in the graph `text_to_mask@S`.

    None if the model does not come with the graph for its runtime and precision.
    """
    source, manifest = model.source, model.manifest
    if not isinstance(source, BundleSource) or source.runtime not in ("onnx", "coreml"):
        return None
    name = graph_key("text_to_mask", manifest.tasks.segmentation.resolution)
    graph = source.bundle.manifest.graphs.get(name)
    kinds = {(each.runtime, each.precision) for each in graph.artifacts} if graph else set()
    if (source.runtime, source.precision) not in kinds:
        return None
    session = source.session(name)

    def ask(image: ImageEmbedding, labels: Sequence[str]) -> tuple[list[np.ndarray], np.ndarray]:
        answer = session.run(
            {
                "image_tokens": image.image_tokens,
                "image_embeddings": image.image_embeddings,
                "extent": image.frame.extent(),
                "text_embeddings": np.stack([embed_noun(model, label) for label in labels]),
            }
        )
        threshold = manifest.masks.mask_threshold
        masks = binarize(answer["mask_logits"], frame=image.frame, mask_threshold=threshold)
        return list(masks), answer["presence"]

    return ask


def _presence(
    picture: int,
    model: SamClip,
    image: ImageEmbedding,
    asked: AskedPicture,
    photographs: Photographs,
) -> Iterator[tuple[object, ...]]:
    """Asks a picture for what it shows, and for all that it is known not to show."""
    absent = [photographs.names[each] for each in photographs.absent(picture)]
    names = [*asked.present, *absent]
    if names:
        answer = model.segment_text(image, names, threshold=1.0, refine=False).asked
        for place, name in enumerate(names):
            yield picture, name, place < len(asked.present), answer.presence[place]


def _name(
    model: SamClip,
    pictures: ValPictures,
    *,
    settings: PhotographSettings,
    taught: dict[str, Taught],
    folder: Path | None,
) -> Iterator[TopK]:
    """Names pictures with labels among all names and ImageNet's, and those of a folder."""
    photographs, numbers = pictures.photographs, pictures.labelled
    name = partial(naming.name_pictures, model, settings=settings)
    read = partial(read_photograph, photographs)
    right = {each: naming.right_names(photographs, each) for each in numbers}
    yield from name(right, what="all names", read=read, names=photographs.names, taught=taught)
    right, classes = naming.of_imagenet(photographs, numbers), naming.imagenet_names()[0]
    yield from name(right, what="ImageNet's classes", read=read, names=classes, taught={})
    if folder is not None:
        found = evenly(naming.of_folder(folder), settings.limit)
        own = {path: frozenset([of]) for path, of in found}
        classes = sorted(set().union(*own.values()))
        yield from name(own, what="the folder's classes", read=load_image, names=classes, taught={})
