"""Tries runtimes and precisions for a bundle: checks the goldens' bounds and measures the time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from statistics import median

import numpy as np

from samclip_sdk.bundle.open import Bundle
from samclip_sdk.device.auto_comparison import ratio_of
from samclip_sdk.device.auto_records import GoldenError, Trial
from samclip_sdk.device.goldens.check import Check, describe_failures
from samclip_sdk.device.goldens.graph_checks import graph_checks
from samclip_sdk.engine.engine import Engine
from samclip_sdk.engine.one_pass import Pass
from samclip_sdk.engine.queries import TextQuery
from samclip_sdk.engine.text_to_mask import segment_text
from samclip_sdk.errors import BundleError
from samclip_sdk.runtimes.artifact_sets import RuntimeSet
from samclip_sdk.runtimes.options import RuntimeOptions
from samclip_sdk.runtimes.source import BundleSource
from samclip_sdk.system.progress import no_progress
from samclip_sdk.system.timing import elapsed_ms, repeat, time_in_turns
from samclip_sdk.text.unit_length import normalize

SECONDS = 1.0
"""The time that a candidate and the reference take turns for; the minimum number of turns may take
longer."""

_TURNS = (5, 15)
_IMAGE = (480, 640, 3)
_LABELS = ("dog", "grass", "sky")


def try_candidates(
    bundle: Bundle,
    *,
    candidates: Sequence[RuntimeSet],
    options: RuntimeOptions,
) -> tuple[Trial, ...]:
    """Tries the candidates one after another.

    The first that keeps its bounds is the reference and stays open: each later one takes turns with
    it, since the machine may be busier at another moment. So two models are in memory at most.

    Args:
        bundle: the bundle to run.
        candidates: the runtimes and precisions to try.
        options: the runtimes' options; `on_progress` is called for each candidate.
    """
    trials: list[Trial] = []
    reference: Callable[[], object] | None = None
    with ExitStack() as kept:
        for index, candidate in enumerate(candidates):
            message = f"trying {bundle.manifest.name} on {candidate}"
            options.on_progress(message, index, len(candidates))
            with ExitStack() as opened:
                trial, run = _try(
                    bundle, candidate=candidate, options=options, opened=opened, beside=reference
                )
                trials.append(trial)
                if reference is None and run is not None:
                    reference = run
                    kept.push(opened.pop_all())
    return tuple(trials)


def _try(
    bundle: Bundle,
    *,
    candidate: RuntimeSet,
    options: RuntimeOptions,
    opened: ExitStack,
    beside: Callable[[], object] | None,
) -> tuple[Trial, Callable[[], object] | None]:
    """Tries one candidate beside the reference, if there is one; any error refuses it.

    Returns:
        What came out, and a pass of it; None if it is refused.
    """
    checks: list[Check] = []
    turns: list[tuple[float, float]] = []
    run: Callable[[], object] | None = None
    try:
        _check_engines(bundle, candidate=candidate)
        source = BundleSource(
            bundle,
            runtime=candidate.runtime,
            precision=candidate.precision,
            # Only the chosen candidate may fill the disk; and `on_progress` counts candidates.
            options=replace(options, keep_compiled=False, on_progress=no_progress),
            warn=False,
        )
        engine = opened.enter_context(closing(Engine(source)))
        checks += graph_checks(bundle, engine=engine, precision=candidate.precision)
        refused = describe_failures(checks, subject=str(candidate))
        if not refused:
            run = _work(engine)
            turns = _take_turns(run, beside)
    except Exception as error:  # a runtime that cannot load may raise any exception
        refused = " ".join(str(error).split()) or type(error).__name__
        run = None
    trial = Trial(
        runtime=candidate.runtime,
        precision=candidate.precision,
        refused=refused,
        goldens=tuple(
            GoldenError(
                name=check.name,
                error=check.error if math.isfinite(check.error) else None,
                bound=check.bound,
            )
            for check in checks
        ),
        median_ms=round(median(ms for ms, _ in turns), 3) if turns else None,
        ratio=ratio_of(turns) if turns else None,
    )
    return trial, run


def _check_engines(bundle: Bundle, *, candidate: RuntimeSet) -> None:
    """Refuses TensorRT if it would first have to build engines, which takes minutes.

    Raises:
        BundleError: an engine is missing in the cache.
        RuntimeMissingError: TensorRT or a GPU is missing.
    """
    if candidate.runtime != "tensorrt":
        return
    from samclip_sdk.runtimes.tensorrt.cuda import current_gpu
    from samclip_sdk.runtimes.tensorrt.engine import is_compiled

    gpu = current_gpu()
    for graph, spec in bundle.manifest.model_graphs.items():
        (file,) = bundle.graph_files(graph, runtime="onnx", precision=candidate.artifact_precision)
        if not is_compiled(file, spec=spec, gpu=gpu):
            raise BundleError(
                f"{file.path.name} has no engine for {gpu.name} yet: run `samclip compile`"
            )


def _work(engine: Engine) -> Callable[[], object]:
    """A pass that does a user's work: it encodes an image and finds labels in it."""
    # Noise, because the content of the image and the texts does not affect the time.
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, _IMAGE, dtype=np.uint8)
    width = engine.manifest.model.embed_dim
    texts = generator.standard_normal((len(_LABELS), width), dtype=np.float32)
    engine.texts.learn(_LABELS, normalize(texts))
    query = TextQuery(labels=_LABELS, threshold=0.0)
    return lambda: segment_text(Pass(engine, image), query)


def _take_turns(
    run: Callable[[], object], beside: Callable[[], object] | None
) -> list[tuple[float, float]]:
    """Milliseconds of a pass and of the reference's in turns; without one, of the pass twice."""
    run()
    minimum, maximum = _TURNS
    if beside is None:
        alone = repeat(
            lambda: elapsed_ms(run), seconds=SECONDS / 2, min_runs=minimum, max_runs=maximum
        )
        return [(ms, ms) for ms in alone]
    return time_in_turns(run, beside, seconds=SECONDS, min_runs=minimum, max_runs=maximum)
