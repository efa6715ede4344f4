"""Every golden of a bundle: single graphs first, then whole tasks through `SamClip`."""

from __future__ import annotations

from collections.abc import Iterator

from samclip_sdk.bundle.open import Bundle
from samclip_sdk.client import SamClip
from samclip_sdk.device.goldens.app_checks import app_checks
from samclip_sdk.device.goldens.check import Check, Tensors
from samclip_sdk.device.goldens.graph_checks import graph_checks, read_verified_goldens
from samclip_sdk.device.goldens.task_metrics import TASK_BOUNDS, compare_answers
from samclip_sdk.device.goldens.tasks import GoldenTasks
from samclip_sdk.device.task_answers import answer_tasks
from samclip_sdk.engine.engine import Engine
from samclip_sdk.runtimes.source import ModelSource


def golden_checks(bundle: Bundle, *, source: ModelSource, precision: str) -> Iterator[Check]:
    """Runs a bundle's goldens: `graph_checks`, `app_checks`, then whole tasks on pictures.

    Args:
        bundle: whose goldens they are.
        source: its graphs, as they are to be judged.
        precision: of these graphs; decides how they are compared, and the bounds.

    Yields:
        Each check, as soon as it is made.

    Raises:
        BundleError: the bundle has no goldens, or they are damaged.
    """
    engine = Engine(source)
    try:
        yield from graph_checks(bundle, engine=engine, precision=precision)
        index, tensors = read_verified_goldens(bundle)
        yield from app_checks(bundle, index, tensors=tensors, engine=engine)
    finally:
        engine.close()
    if index.tasks is not None and "text_encoder" in bundle.manifest.graphs:
        yield from _tasks(
            index.tasks, bundle=bundle, source=source, tensors=tensors, precision=precision
        )


def _tasks(
    golden: GoldenTasks,
    *,
    bundle: Bundle,
    source: ModelSource,
    tensors: Tensors,
    precision: str,
) -> Iterator[Check]:
    """Whole tasks on pictures; an error is what is missing to agreement in all of them."""
    for picture in golden.pictures:
        bundle.file(picture.path)
    questions = golden.questions(bundle.root)
    reference = golden.answers(questions, tensors=tensors)
    with SamClip(source) as model:
        answers = answer_tasks(model, questions, vocabulary=golden.vocabulary)
    for metric, value in compare_answers(answers, reference=reference).items():
        bound = 1 - TASK_BOUNDS[precision][metric]
        yield Check(name=f"1 - {metric}", error=1 - value, bound=bound)
