"""The bars that the project set itself, each beside what was measured."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from benchmarks.report import NONE
from benchmarks.speed.compare import Ratio, exact
from benchmarks.speed.record import MachineShare, Speed, Spread, SubjectRow
from benchmarks.speed.subject import (
    BEST,
    BEST_RUN,
    ONNX_FP32,
    SAM_CLIP_ONNX,
    SAM_CLIP_TORCH,
    TEXT_150,
)

_FP32 = "image encoder in fp32 on onnxruntime"
_BEST = "image encoder on the best CPU path"
_TWO = "SAM and CLIP ViT-L/14 in torch"
_EXPORTED = "plain ONNX exports of both"


@dataclass(frozen=True)
class Bar:
    """A bar. It is met, or missed, only if the whole spread meets it, or misses it.

    Attributes:
        name: what is compared.
        found: what was measured; None where a subject is missing.
        unit: of both.
        at_least: the bar, if more is better.
        at_most: the bar, if less is better.
        note: what else is told of it.
    """

    name: str
    found: Ratio | None
    unit: str = "×"
    at_least: float = 0.0
    at_most: float = math.inf
    note: str = ""

    @property
    def verdict(self) -> str:
        """Whether it is met."""
        if self.found is None:
            return "not measured"
        low, high = self.found.low, self.found.high
        if low is None or high is None:
            return "spread unknown"
        if self.at_least <= low and high <= self.at_most:
            return "met"
        outside = high < self.at_least or low > self.at_most
        return "**missed**" if outside else "within the spread"

    def row(self) -> list[str]:
        """The bar as a row of a table."""
        bar = f">= {self.at_least:g}" if self.at_least else f"<= {round(self.at_most, 3):g}"
        found = NONE if self.found is None else f"{self.found.text(self.unit)}{self.note}"
        return [self.name, bar + self.unit, found, self.verdict]


def bars(speed: Speed) -> Iterator[Bar]:
    """Every bar, in the order in which they were set."""
    ours, best, wide, torch, plain = (
        _facts(speed.subject(key))
        for key in (ONNX_FP32, BEST, TEXT_150, SAM_CLIP_TORCH, SAM_CLIP_ONNX)
    )
    mb, megabyte = " MB", exact(1e6)
    own, fast, in_torch, in_onnx = (each.get("encode") for each in (ours, best, torch, plain))
    note = _limit(speed, ONNX_FP32, against=in_torch)
    yield Bar(f"{_FP32}, against SAM in torch", Ratio.of(in_torch, own), at_least=3.3, note=note)
    yield Bar(f"{_FP32}, against SAM's plain ONNX export", Ratio.of(in_onnx, own), at_least=1)
    own_peak, fast_peak, other_peak = (each.get("encode peak") for each in (ours, best, plain))
    yield Bar(f"{_FP32}: peak memory", Ratio.of(own_peak, megabyte), mb, at_most=1300)
    peak = Ratio.of(own_peak, other_peak)
    yield Bar(f"{_FP32}: peak memory, of that of {_EXPORTED}", peak, at_most=1 / 5)
    note = _limit(speed, BEST, against=in_torch)
    yield Bar(f"{_BEST}, against SAM in torch", Ratio.of(in_torch, fast), at_least=10, note=note)
    yield Bar(f"{_BEST}: peak memory", Ratio.of(fast_peak, megabyte), mb, at_most=900)
    share, reached = _encoder_share(speed, BEST), None
    if share is not None:
        reached = Ratio.of(exact(100 * share.of_limit * share.spread.p50_ms), share.spread)
    yield Bar(f"{_BEST}, of the machine's limit", reached, " %", at_least=70)
    own, fast, in_torch, in_onnx = (each.get("three_ways") for each in (ours, best, torch, plain))
    on_onnx, on_best = "all three in fp32 on onnxruntime", "all three on the best CPU path"
    yield Bar(f"{on_onnx}, against {_TWO}", Ratio.of(in_torch, own), at_least=3.5)
    yield Bar(f"{on_best}, against {_TWO}", Ratio.of(in_torch, fast), at_least=9)
    peak = Ratio.of(best.get("peak"), torch.get("peak"))
    yield Bar(f"{on_best}: peak memory, of {_TWO}", peak, at_most=1 / 3)
    files = Ratio.of(ours.get("files"), torch.get("files"))
    yield Bar(f"{on_onnx}: files, of {_TWO}", files, at_most=1 / 2)
    yield Bar(f"{on_onnx}, against {_EXPORTED}", Ratio.of(in_onnx, own), at_least=1)
    yield Bar(f"{on_best}, against {_EXPORTED}", Ratio.of(in_onnx, fast), at_least=2.5)
    rest = Ratio.of(ours.get("rest"), ours.get("image_encoder"))
    yield Bar("all three but the image encoder, of the image encoder", rest, at_most=0.2)
    wider = Ratio.of(wide.get("text3"), best.get("text3"))
    yield Bar("text-to-mask of 150 classes, 3 of them present, of that of 3", wider, at_most=1.5)
    yield from _tiny(speed)


def _tiny(speed: Speed) -> Iterator[Bar]:
    seconds = peak = rate = kept = None
    if (startup := speed.startup) is not None:
        alone = len(startup.seconds) == 1  # the fastest, as older records have it
        limits = (None, None) if alone else (min(startup.seconds), max(startup.seconds))
        seconds = Ratio(median(startup.seconds), *limits)
        peak = Ratio.of(exact(startup.peak_rss_bytes), exact(1e6))
    yield Bar("importing and loading samclip-tiny", seconds, " s", at_most=0.5)
    yield Bar("importing and loading samclip-tiny: peak memory", peak, " MB", at_most=150)
    if labels := [point.spread for point in speed.series if point.workload == "label"]:
        # Images a second are as many as fit: the longer one takes, the fewer.
        rate = Ratio.of(exact(1000), min(labels, key=lambda each: each.p50_ms))
    yield Bar("samclip-tiny, text-to-mask of one label", rate, " images/s", at_least=20)
    if (iou := speed.tiny_iou.get(" ".join(BEST_RUN))) is not None:
        kept = Ratio(iou, iou, iou)
    yield Bar("samclip-tiny on the best CPU path: mask IoU with torch", kept, "", at_least=0.97)


def _facts(row: SubjectRow | None) -> dict[str, Spread | None]:
    """What the bars ask of a subject: workloads, the image encoder and the rest, and sizes.

    The two are of the steps of one workload: on an uneven machine two workloads can differ by more
    than the rest takes.
    """
    if row is None:
        return {}
    encode, steps = row.workload("encode"), dict(row.steps)
    facts = {each.workload: each.spread for each in row.workloads}
    if (encoder := steps.pop("image_encoder", None)) is not None:
        others = [each.spread for each in steps.values()]
        limits = [[each.low_ms for each in others], [each.high_ms for each in others]]
        low, high = (None if None in each else math.fsum(filter(None, each)) for each in limits)
        middle = math.fsum(each.p50_ms for each in others)
        facts["rest"] = Spread(p50_ms=middle, low_ms=low, high_ms=high)
        facts["image_encoder"] = encoder.spread
    sizes = {"peak": exact(row.peak_rss_bytes), "files": exact(row.artifact_bytes)}
    return facts | sizes | {"encode peak": exact(None if encode is None else encode.peak_rss_bytes)}


def _encoder_share(speed: Speed, key: str) -> MachineShare | None:
    """What the image encoder of a subject reaches of the machine."""
    encoders = (each for each in speed.shares if each.graph == "image_encoder")
    return next((e for e in encoders if key.endswith(f"{e.runtime}-{e.precision}")), None)


def _limit(speed: Speed, key: str, *, against: Spread | None) -> str:
    """How many times faster than another a subject's image encoder could be, at the limit."""
    share = _encoder_share(speed, key)
    if share is None or against is None:
        return ""
    most = against.p50_ms / (share.spread.p50_ms * share.of_limit)
    return f", {most:.3g}× at the machine's limit"
