"""Re-runs a bundle's goldens here: does this device compute what eager torch computed?"""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.bundle import Bundle, open_bundle
from samclip_sdk.engine import Engine, Stopwatch
from samclip_sdk.errors import TextTruncatedWarning, VerificationError
from samclip_sdk.goldens import (
    GOLDEN_INDEX,
    GOLDEN_TENSORS,
    Expected,
    GoldenIndex,
    GoldenLetterbox,
    GoldenSegment,
    GoldenTokens,
    golden_error,
    read_goldens,
)
from samclip_sdk.image import letterbox
from samclip_sdk.manifest import TOKENIZER_NAME
from samclip_sdk.model_source import BundleSource
from samclip_sdk.prompts import geometric_prompts
from samclip_sdk.text import Tokenizer

Tensors = Mapping[str, NDArray[np.generic]]

_ONE_LEVEL = 1.0
"""Pillow's resampling may differ by one of 255 levels between versions."""


@dataclass(frozen=True)
class Check:
    """One comparison: the error measured here, and the bound that it must keep."""

    name: str
    error: float
    bound: float

    @property
    def passed(self) -> bool:
        """Whether the error keeps its bound."""
        return self.error <= self.bound


@dataclass(frozen=True)
class VerificationReport:
    """What `verify_bundle` found.

    Attributes:
        name: of the model.
        bundle_id: of the bundle.
        runtime: on which it ran.
        checks: in the order they were made.
    """

    name: str
    bundle_id: str
    runtime: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    def to_json(self) -> str:
        """The report as one line of JSON; an error that is not finite is null."""
        checks: list[dict[str, Any]] = [
            {
                "name": check.name,
                "error": check.error if math.isfinite(check.error) else None,
                "bound": check.bound,
                "passed": check.passed,
            }
            for check in self.checks
        ]
        return json.dumps(
            {
                "name": self.name,
                "bundle_id": self.bundle_id,
                "runtime": self.runtime,
                "passed": self.passed,
                "checks": checks,
            }
        )

    def raise_if_failed(self) -> None:
        """Raises VerificationError, naming the checks that failed, if any did."""
        failed = [check for check in self.checks if not check.passed]
        if failed:
            worst = max(failed, key=lambda check: check.error / max(check.bound, 1e-12))
            raise VerificationError(
                f"{len(failed)} of {len(self.checks)} checks failed on {self.runtime}: "
                f"{worst.name} is off by {worst.error:.3g}, its bound is {worst.bound:.3g}"
            )


def verify_bundle(
    model: str | os.PathLike[str],
    *,
    runtime: str = "onnx",
    precision: str | None = None,
    on_check: Callable[[Check], None] = lambda check: None,
) -> VerificationReport:
    """Verifies every file's sha256, then re-runs every golden.

    Args:
        model: a bundle's folder, .zip or name.
        runtime: "onnx".
        precision: of the artifacts; the bundle's preferred ones if None.
        on_check: told of each check as soon as it is made.

    Returns:
        The report; whether it passed is for the caller to ask.

    Raises:
        BundleError: the bundle cannot be opened, a file of it was changed, or it has no goldens.
        RuntimeMissingError: the runtime is not installed.
    """
    bundle = open_bundle(model)
    bundle.verify()
    checks = []
    for check in _checks(bundle, runtime=runtime, precision=precision):
        checks.append(check)
        on_check(check)
    return VerificationReport(
        name=bundle.manifest.name, bundle_id=bundle.id, runtime=runtime, checks=tuple(checks)
    )


def _checks(bundle: Bundle, *, runtime: str, precision: str | None) -> Iterator[Check]:
    """Yields each check of a bundle as soon as it is made."""
    for path in (GOLDEN_INDEX, GOLDEN_TENSORS):
        bundle.file(path)
    index, tensors = read_goldens(bundle.root)
    # A bundle that serves vocabulary packs only has no text_encoder; every other graph is there.
    graphs = bundle.manifest.graphs
    engine = Engine(BundleSource(bundle, runtime=runtime, precision=precision))
    try:
        yield from _preprocessing(bundle, index, tensors=tensors)
        for golden in index.graphs:
            if golden.graph not in graphs:
                continue
            feed = {name: tensors[key] for name, key in golden.inputs.items()}
            outputs = engine.run(golden.graph, feed, clock=Stopwatch())
            for name, expected in golden.outputs.items():
                yield _compare(
                    f"{golden.graph} {name}", outputs[name], expected=expected, tensors=tensors
                )
        for prompt in index.segment:
            yield from _segment(prompt, engine=engine, tensors=tensors)
        for classes in index.class_embeddings if "text_encoder" in graphs else ():
            embeddings = engine.embed_labels(classes.labels, clock=Stopwatch())
            yield _compare(
                "class embeddings", embeddings, expected=classes.expected, tensors=tensors
            )
    finally:
        engine.close()


def _preprocessing(bundle: Bundle, index: GoldenIndex, *, tensors: Tensors) -> Iterator[Check]:
    """Token ids, and the letterbox."""
    if index.tokens:
        tokenizer = Tokenizer(bundle.file(TOKENIZER_NAME))
        wrong = sum(not _same_tokens(golden, tokenizer=tokenizer) for golden in index.tokens)
        yield Check(f"token ids of {len(index.tokens)} texts", error=wrong, bound=0)
    for golden in index.letterbox:
        yield _letterbox(golden, bundle=bundle, tensors=tensors)


def _same_tokens(golden: GoldenTokens, *, tokenizer: Tokenizer) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TextTruncatedWarning)  # One of the texts is too long.
        ids = tokenizer([golden.text])[0]
    wanted = np.zeros_like(ids)
    wanted[: len(golden.input_ids)] = golden.input_ids
    return np.array_equal(ids, wanted)


def _letterbox(golden: GoldenLetterbox, *, bundle: Bundle, tensors: Tensors) -> Check:
    square, _ = letterbox(
        tensors[golden.image].astype(np.uint8),
        resolution=golden.resolution,
        pad_colour=bundle.manifest.image.pad_colour,
    )
    levels = np.abs(square.astype(np.int16) - tensors[golden.output].astype(np.int16)).max()
    return Check(f"letterbox to {golden.resolution} px", error=float(levels), bound=_ONE_LEVEL)


def _segment(golden: GoldenSegment, *, engine: Engine, tensors: Tensors) -> Iterator[Check]:
    """From the picture to all four masks of one prompt."""
    clock = Stopwatch()
    embedding = engine.encode(
        tensors[golden.image].astype(np.uint8),
        task=engine.manifest.tasks.segmentation,
        clock=clock,
    )
    prompts = geometric_prompts(
        golden.points or None,
        labels=golden.labels or None,
        boxes=golden.box,
        mask_input=None,
        frame=embedding.frame,
        mask_side=4 * embedding.image_embeddings.shape[-1],
    )
    masks, scores = engine.decode(
        embedding.image_embeddings, prompts=prompts, tokens=slice(None), clock=clock
    )
    what = "box" if golden.box else "point"
    found = {"low_res_masks": masks, "iou_predictions": scores}
    for name, output in found.items():
        expected: Expected = getattr(golden, name)
        yield _compare(f"picture and {what} to {name}", output, expected=expected, tensors=tensors)


def _compare(
    name: str, output: NDArray[np.generic], *, expected: Expected, tensors: Tensors
) -> Check:
    error = golden_error(output, expected=tensors[expected.tensor], step=expected.step)
    return Check(name, error=error, bound=expected.max_error)
