"""Tries runtimes and precisions for a bundle: checks the goldens' bounds and measures the time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from statistics import median

import numpy as np

from samclip_sdk.bundle.open import Bundle
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
from samclip_sdk.system.timing import elapsed_ms, repeat
from samclip_sdk.text.unit_length import normalize

SECONDS = 0.5
"""The time that a candidate's passes are timed for; the minimum number of passes may take longer.
"""

_PASSES = (3, 15)
_PICTURE = (480, 640, 3)
_LABELS = ("dog", "grass", "sky")


def try_candidates(
    bundle: Bundle,
    *,
    candidates: Sequence[RuntimeSet],
    options: RuntimeOptions,
) -> tuple[Trial, ...]:
    """Tries the candidates one after another, so that only one model is in memory.

    Args:
        bundle: the bundle to run.
        candidates: the runtimes and precisions to try.
        options: the runtimes' options; `on_progress` is called for each candidate.
    """
    trials = []
    for index, candidate in enumerate(candidates):
        message = f"trying {bundle.manifest.name} on {candidate}"
        options.on_progress(message, index, len(candidates))
        trials.append(_try(bundle, candidate=candidate, options=options))
    return tuple(trials)


def _try(bundle: Bundle, *, candidate: RuntimeSet, options: RuntimeOptions) -> Trial:
    """Tries one candidate; any error refuses it."""
    checks: list[Check] = []
    median_ms: float | None = None
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
        with closing(Engine(source)) as engine:
            checks += graph_checks(bundle, engine=engine, precision=candidate.precision)
            refused = describe_failures(checks, subject=str(candidate))
            median_ms = None if refused else _median_ms(engine)
    except Exception as error:  # a runtime that cannot load may raise any exception
        refused = " ".join(str(error).split()) or type(error).__name__
    return Trial(
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
        median_ms=median_ms,
    )


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


def _median_ms(engine: Engine) -> float:
    """Times passes that do a user's work: encode an image and find labels in it."""
    manifest = engine.manifest
    # Noise, because the content of the image and the texts does not affect the time.
    generator = np.random.default_rng(0)
    picture = generator.integers(0, 256, _PICTURE, dtype=np.uint8)
    texts = generator.standard_normal((len(_LABELS), manifest.model.embed_dim), dtype=np.float32)
    engine.texts.learn(_LABELS, normalize(texts))

    query = TextQuery(labels=_LABELS, threshold=0.0)

    def run() -> None:
        segment_text(Pass(engine, picture), query)

    run()
    least, most = _PASSES
    passes = repeat(lambda: elapsed_ms(run), seconds=SECONDS, at_least=least, at_most=most)
    return round(median(passes), 3)
