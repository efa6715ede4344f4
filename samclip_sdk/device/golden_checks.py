"""Runs every golden of a bundle: single graphs first, then whole tasks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing

import numpy as np

from samclip_sdk.bundle.contract import graph_key
from samclip_sdk.bundle.open import Bundle
from samclip_sdk.device.goldens.app_checks import app_checks
from samclip_sdk.device.goldens.check import Check, Tensors
from samclip_sdk.device.goldens.graph_checks import graph_checks, read_verified_goldens
from samclip_sdk.device.goldens.task_metrics import (
    TASK_BOUNDS,
    TaskAnswers,
    TaskImage,
    compare_answers,
)
from samclip_sdk.device.goldens.tasks import GoldenTasks
from samclip_sdk.engine.classify import classify, embed_image
from samclip_sdk.engine.engine import AnyImage, Engine
from samclip_sdk.engine.one_pass import Pass, TaskName
from samclip_sdk.engine.queries import ClassifyQuery, PromptQuery, TextQuery
from samclip_sdk.engine.segment import segment
from samclip_sdk.engine.text_to_mask import segment_text
from samclip_sdk.runtimes.source import ModelSource
from samclip_sdk.system.timing import Stopwatch
from samclip_sdk.text.tokenizer import check_labels

QUICK = 2
"""The number of images whose tasks a quick verification runs."""


def golden_checks(
    bundle: Bundle, *, source: ModelSource, precision: str, quick: bool = False
) -> Iterator[Check]:
    """Runs a bundle's goldens: `graph_checks`, `app_checks`, then whole tasks on images.

    Args:
        bundle: the bundle with the goldens.
        source: the bundle's graphs to be checked.
        precision: the graphs' precision; decides the metric and the bounds.
        quick: whether to run the tasks on the first `QUICK` images only.

    Yields:
        Each check, as soon as it is made.

    Raises:
        BundleError: the bundle has no goldens, or they are damaged.
    """
    with closing(Engine(source)) as engine:
        yield from graph_checks(bundle, engine=engine, precision=precision)
        index, tensors = read_verified_goldens(bundle)
        yield from app_checks(bundle, index, tensors=tensors, engine=engine)
        golden = index.tasks
        encoder = graph_key("image_encoder", source.manifest.tasks.segmentation.resolution)
        if engine.takes_rectangles(encoder):
            golden = index.rectangular_tasks
        if golden is not None and "text_encoder" in bundle.manifest.graphs:
            asked = golden.first(QUICK) if quick else golden
            yield from _tasks(
                asked, bundle=bundle, engine=engine, tensors=tensors, precision=precision
            )


def _tasks(
    golden: GoldenTasks,
    *,
    bundle: Bundle,
    engine: Engine,
    tensors: Tensors,
    precision: str,
) -> Iterator[Check]:
    """Runs whole tasks on images; an error is 1 minus the metric of agreement."""
    for image in golden.pictures:
        bundle.file(image.path)
    questions = golden.questions(bundle.root)
    reference = golden.answers(questions, tensors=tensors)
    answers = answer_tasks(engine, questions, vocabulary=golden.vocabulary)
    for metric, value in compare_answers(answers, reference=reference).items():
        bound = 1 - TASK_BOUNDS[precision][metric]
        yield Check(name=f"1 - {metric}", error=1 - value, bound=bound)


def answer_tasks(
    engine: Engine,
    images: Sequence[TaskImage],
    *,
    vocabulary: Sequence[str],
    whole_squares: bool = False,
) -> TaskAnswers:
    """Runs all tasks on every image, as `SamClip` does; of `whole_squares`, with the padding.

    Labels speak for themselves, whatever the bundle reads them as: the reference has no words.
    """
    views = [view for image in images for view in image.views()]
    names = check_labels(vocabulary)
    for asked in (names, *(check_labels(image.labels) for image in images)):
        engine.texts.learn(asked, engine.texts.own_embeddings(asked, clock=Stopwatch()))

    def see(view: AnyImage, task: TaskName) -> Pass:
        return Pass(engine, view, task=task, whole_square=whole_squares)

    query = ClassifyQuery(labels=names)
    logits = [classify(see(view, "classification"), query).logits for view in views]
    box_masks, text_masks = [], []
    for image in images:
        one = see(image.image, "segmentation")
        drawn = segment(one, PromptQuery(boxes=image.boxes, multimask_output=False))
        found = segment_text(one, TextQuery(labels=image.labels))
        box_masks.append(drawn.masks.astype(bool))
        text_masks.append(np.stack([found.mask(label) for label in image.labels]))
    return TaskAnswers(
        embeddings=np.stack([embed_image(see(view, "classification")) for view in views]),
        logits=np.stack(logits),
        box_masks=tuple(box_masks),
        text_masks=tuple(text_masks),
    )
