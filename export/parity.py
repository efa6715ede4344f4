"""The numeric gate: compares the outputs of a graph's artifact with eager torch's."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from export.graphs import Arrays, Graph
from export.options import WeightPrecision
from export.probes import Probe
from samclip_sdk.bundle.graph_spec import Measurement, Parity, Precision
from samclip_sdk.device.goldens.schema import golden_error, min_cosine
from samclip_sdk.errors import SamClipError, VerificationError
from samclip_sdk.runtimes.session import Session

Pair: TypeAlias = "tuple[NDArray[np.generic], NDArray[np.generic]]"

EMBEDDINGS = frozenset({"patch_embeddings", "image_embedding", "text_embeddings"})
"""Outputs whose last axis holds vectors of unit length."""

LOGITS = frozenset({"low_res_masks", "mask_logits"})
"""Outputs [K,...,H,W] whose values above 0 are the mask."""

CHOSEN = frozenset({"mask_logits", "scores"})
"""Outputs that depend on a choice of cells. Rounding may choose another of nearly equal cells, so
only the masks are compared, not the numbers."""


@dataclass(frozen=True)
class Bounds:
    """The bounds that an artifact must keep, for every probe.

    Attributes:
        max_error: the bound of max|output - reference| / max|reference|, for every output; None for
            precisions in which rounding errors are expected.
        cosine: the smallest cosine between an output and its reference: of each vector for
            embeddings, of the whole output for others if there is no `max_error`.
        iou: the smallest mean IoU of the low-resolution masks. It is for trained weights only: the
            masks of random ones are noise, which is all edge.
    """

    max_error: float | None
    cosine: float
    iou: float


STORAGE_BOUNDS: dict[WeightPrecision, Bounds] = {
    "fp32": Bounds(max_error=1e-4, cosine=0.99999, iou=0.999),
    "fp16": Bounds(max_error=1e-2, cosine=0.9999, iou=0.99),
    "int8": Bounds(max_error=1e-2, cosine=0.9999, iou=0.99),
}
"""The bounds of fp32 graphs, by the precision of their stored weights. With int8 the reference is
the rounded model, and weights that were not rounded are stored in fp16."""

BOUNDS: dict[Precision, Bounds] = {
    "fp16": Bounds(max_error=None, cosine=0.999, iou=0.98),
    "int8": Bounds(max_error=None, cosine=0.99, iou=0.97),
    "palette6": Bounds(max_error=None, cosine=0.98, iou=0.97),
}
"""The bounds of graphs that compute, or store their weights, in a lower precision. Whole tasks have
their own bounds: see `samclip_sdk.device.goldens.task_metrics`."""


INT8_COSINES = {"image_encoder": 0.999}
INT8_GOAL = 0.9995
"""The smallest cosine of an int8 graph with trained weights, by part: more layers stay in float
until it is reached. It is stricter than the gate, because the errors of five graphs add up."""


@dataclass(frozen=True)
class Reading:
    """A measured metric and its bound."""

    metric: str
    measured: float
    bound: float
    better: Literal["lower", "higher"]

    @property
    def kept(self) -> bool:
        """Whether the bound is kept; NaN never keeps it."""
        if self.better == "lower":
            return self.measured <= self.bound
        return self.measured >= self.bound

    def __str__(self) -> str:
        return f"{self.metric} is {self.measured:.4g}, its bound {self.bound:g}"


def read_outputs(
    found: Sequence[Arrays], *, expected: Sequence[Arrays], bounds: Bounds, random_weights: bool
) -> Iterator[Reading]:
    """Compares outputs with eager torch's.

    Args:
        found: output name -> array, for each probe.
        expected: eager torch's outputs, for each probe, in the same order.
        bounds: the bounds to keep.
        random_weights: if True, no IoU is measured.

    Yields:
        A reading for each metric, also if its bound is broken.
    """
    for name in expected[0]:
        pairs = [(mine[name], theirs[name]) for mine, theirs in zip(found, expected, strict=True)]
        error = max(golden_error(output, expected=wanted, step=1) for output, wanted in pairs)
        if name in CHOSEN:
            if not np.isfinite(error):
                yield Reading(f"max_error/{name}", error, bound=1e3, better="lower")
        elif bounds.max_error is not None:
            yield Reading(f"max_error/{name}", error, bound=bounds.max_error, better="lower")
        elif not np.isfinite(error):
            yield Reading(f"max_error/{name}", error, bound=1.0, better="lower")
        if name not in CHOSEN and (name in EMBEDDINGS or bounds.max_error is None):
            vectors = name in EMBEDDINGS
            cosine = min(min_cosine(*pair, vectors=vectors) for pair in pairs)
            yield Reading(f"min_cosine/{name}", cosine, bound=bounds.cosine, better="higher")
        if name in LOGITS and not random_weights:
            iou = float(np.mean([_mean_iou(pair) for pair in pairs]))
            yield Reading(f"mean_iou/{name}", iou, bound=bounds.iou, better="higher")


def refuse_int8(
    found: Sequence[Arrays],
    *,
    graph: Graph,
    probes: Sequence[Probe],
    random_weights: bool,
    iou: float = BOUNDS["int8"].iou,
    cosines: Mapping[str, float] = INT8_COSINES,
) -> str | None:
    """The reason why the outputs of a graph in int8 are refused, or None.

    Args:
        found: output name -> array, for each probe.
        graph: the graph.
        probes: inputs and eager torch's outputs.
        random_weights: if True, the bound is that of the gate.
        iou: the smallest mean IoU of masks with trained weights.
        cosines: the smallest cosine with trained weights, by part; `INT8_GOAL` for other parts.
    """
    bounds = BOUNDS["int8"]
    if not random_weights:
        goal = cosines.get(graph.part, INT8_GOAL)
        bounds = Bounds(max_error=None, cosine=goal, iou=iou)
    readings = read_outputs(
        found,
        expected=[probe.expected for probe in probes],
        bounds=bounds,
        random_weights=random_weights,
    )
    return next((str(reading) for reading in readings if not reading.kept), None)


def check_parity(
    session: Session,
    *,
    graph: Graph,
    probes: Sequence[Probe],
    bounds: Bounds,
    random_weights: bool,
    runs_on: str,
) -> Parity:
    """Runs an artifact and compares it with eager torch.

    Args:
        session: the artifact's session, which checks the contract's names, types and axes.
        graph: the graph that the artifact was made from.
        probes: inputs and eager torch's outputs.
        bounds: the bounds to keep.
        random_weights: if True, no IoU is measured.
        runs_on: the runtime and device of the session, for the record.

    Returns:
        The measurements and their bounds.

    Raises:
        VerificationError: the artifact does not run, or breaks a bound.
    """
    try:
        found = [session.run(probe.feed) for probe in probes]
    except SamClipError as error:
        raise VerificationError(f"{graph.name} does not run on {runs_on}: {error}") from error
    readings = list(
        read_outputs(
            found,
            expected=[probe.expected for probe in probes],
            bounds=bounds,
            random_weights=random_weights,
        )
    )
    broken = next((reading for reading in readings if not reading.kept), None)
    if broken is not None:
        raise VerificationError(f"{graph.name} on {runs_on} is not eager torch: {broken}")
    return Parity(
        measured_on=f"{runs_on}, {platform.system()} {platform.machine()}",
        measurements=tuple(
            Measurement(
                metric=each.metric, measured=each.measured, bound=each.bound, better=each.better
            )
            for each in readings
        ),
    )


def _mean_iou(pair: Pair) -> float:
    """The mean IoU of the masks [...,H,W] of two sets of logits; 1 if both masks are empty."""
    output, expected = (logits.astype(np.float32) > 0 for logits in pair)
    intersection = (output & expected).sum(axis=(-2, -1))
    union = (output | expected).sum(axis=(-2, -1))
    return float(np.mean(np.where(union > 0, intersection / np.maximum(union, 1), 1.0)))
