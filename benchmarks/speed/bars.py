"""The bars that the project set itself, each beside what was measured.

A bar is met, or missed, only if the whole spread meets it, or misses it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import median
from typing import Literal

from benchmarks.report import megabytes
from benchmarks.speed.ratio import Ratio, exact
from benchmarks.speed.record import MachineShare, Speed, Spread, SubjectRow
from benchmarks.speed.subject_list import (
    BEST,
    BEST_RUN,
    ONNX_FP32,
    SAM_CLIP_ONNX,
    SAM_CLIP_TORCH,
    TEXT_150,
)

_BEST_SET = " ".join(BEST_RUN)
_FP32 = "image encoder in fp32 on onnxruntime"
_BEST = "image encoder on the best CPU path"

Verdict = Literal["met", "missed", "within the spread", "spread unknown", "not measured"]


@dataclass(frozen=True)
class Bar:
    """A bar.

    Attributes:
        name: what is compared.
        bar: as it was set.
        found: as it was measured; empty where a subject is missing.
        verdict: whether it is met.
    """

    name: str
    bar: str
    found: str
    verdict: Verdict


def bars(speed: Speed) -> list[Bar]:
    """Every bar, in the order in which they were set."""
    ours, best, wide = (speed.subject(key) for key in (ONNX_FP32, BEST, TEXT_150))
    torch, plain = (speed.subject(key) for key in (SAM_CLIP_TORCH, SAM_CLIP_ONNX))
    own, fast, in_torch, in_onnx = (_time(row, "encode") for row in (ours, best, torch, plain))
    memory = _ratio(_encode_peak(ours), _encode_peak(plain))
    encoders = [
        _faster(
            f"{_FP32}, against SAM in torch", 3.3, in_torch, own, limit=_limit(speed, ONNX_FP32)
        ),
        _faster(f"{_FP32}, against SAM's plain ONNX export", 1.0, in_onnx, own),
        _memory(f"{_FP32}: peak memory", 1300, ours),
        _at_most(f"{_FP32}: peak memory, of that of SAM's and CLIP's plain exports", 1 / 5, memory),
        _faster(f"{_BEST}, against SAM in torch", 10.0, in_torch, fast, limit=_limit(speed, BEST)),
        _memory(f"{_BEST}: peak memory", 900, best),
        _roofline(speed),
    ]
    own, fast, in_torch, in_onnx = (_time(row, "three_ways") for row in (ours, best, torch, plain))
    two, exported = "SAM and CLIP ViT-L/14 in torch", "plain ONNX exports of both"
    rest, encoder = _steps(ours)
    wider = _ratio(_time(wide, "text3"), _time(best, "text3"))
    return [
        *encoders,
        _faster(f"all three in fp32 on onnxruntime, against {two}", 3.5, in_torch, own),
        _faster(f"all three on the best CPU path, against {two}", 9.0, in_torch, fast),
        _at_most(f"peak memory of that, of {two}", 1 / 3, _ratio(_peak(best), _peak(torch))),
        _at_most(f"files in fp32, of {two}", 1 / 2, _ratio(_files(ours), _files(torch))),
        _faster(f"all three in fp32 on onnxruntime, against {exported}", 1.0, in_onnx, own),
        _faster(f"all three on the best CPU path, against {exported}", 2.5, in_onnx, fast),
        _at_most(
            "all three but the image encoder, of the image encoder", 0.2, _ratio(rest, encoder)
        ),
        _at_most("text-to-mask of 150 classes, 3 of them present, of that of 3", 1.5, wider),
        *_tiny(speed),
    ]


def _tiny(speed: Speed) -> list[Bar]:
    found = [
        Bar("importing and loading samclip-tiny", "<= 0.5 s, <= 150 MB", "", "not measured"),
        Bar("samclip-tiny, text-to-mask of one label", ">= 20 images/s", "", "not measured"),
        Bar(f"samclip-tiny, {_BEST_SET}: mean mask IoU with torch", ">= 0.97", "", "not measured"),
    ]
    if (startup := speed.startup) is not None:
        times, peak = sorted(startup.seconds), startup.peak_rss_bytes
        limits = f" ({times[0]:.2f}–{times[-1]:.2f})" if len(times) > 1 else ""
        text = f"{median(times):.2f} s{limits}, {megabytes(peak)} MB"
        found[0] = _told(
            found[0], text, met=times[-1] <= 0.5 and peak is not None and peak <= 150e6
        )
        if len(times) == 1:
            found[0] = replace(found[0], verdict="spread unknown")
    if labels := [point for point in speed.series if point.workload == "label"]:
        fastest = min(labels, key=lambda point: point.spread.p50_ms)
        # Images a second are as many as fit: the longer one takes, the fewer.
        rate = Ratio.of(exact(1000), fastest.spread)
        limits = "" if rate.low is None else f" ({rate.low:.1f}–{rate.high:.1f})"
        text = f"{rate.middle:.1f}{limits}, {fastest.subject.removesuffix('-label')}"
        found[1] = replace(found[1], found=text, verdict=_verdict(rate, at_least=20))
    if (iou := speed.tiny_iou.get(_BEST_SET)) is not None:
        found[2] = _told(found[2], f"{iou:.4f}", met=iou >= 0.97)
    return found


def _told(bar: Bar, text: str, *, met: bool) -> Bar:
    return replace(bar, found=text, verdict="met" if met else "missed")


def _roofline(speed: Speed) -> Bar:
    name, share = f"{_BEST}: share of the machine's limit", _encoder_share(speed, BEST)
    if share is None:
        return Bar(name, ">= 70 %", "", "not measured")
    ratio = Ratio.of(exact(share.spread.p50_ms * share.of_limit), share.spread)
    limits = "" if ratio.low is None else f" ({ratio.low:.0%}–{ratio.high:.0%})"
    return Bar(name, ">= 70 %", f"{ratio.middle:.0%}{limits}", _verdict(ratio, at_least=0.7))


def _encoder_share(speed: Speed, key: str) -> MachineShare | None:
    """What the image encoder of a subject reaches of the machine."""
    encoders = (each for each in speed.shares if each.graph == "image_encoder")
    return next((e for e in encoders if key.endswith(f"{e.runtime}-{e.precision}")), None)


def _limit(speed: Speed, key: str) -> float | None:
    """Milliseconds that the image encoder of a subject would take at the machine's limit."""
    share = _encoder_share(speed, key)
    return None if share is None else share.spread.p50_ms * share.of_limit


def _faster(
    name: str, bar: float, other: Spread | None, own: Spread | None, *, limit: float | None = None
) -> Bar:
    """How many times faster than another, and how many it could be at the machine's limit."""
    ratio, words = _ratio(other, own), f">= {bar:g}× faster"
    if ratio is None or other is None:
        return Bar(name, words, "", "not measured")
    most = "" if limit is None else f", {other.p50_ms / limit:.2f}× at the machine's limit"
    return Bar(name, words, f"{ratio}{most}", _verdict(ratio, at_least=bar))


def _at_most(name: str, bar: float, ratio: Ratio | None) -> Bar:
    words = f"<= {bar:.2f}×"
    if ratio is None:
        return Bar(name, words, "", "not measured")
    return Bar(name, words, str(ratio), _verdict(ratio, at_most=bar))


def _memory(name: str, limit_mb: int, row: SubjectRow | None) -> Bar:
    peak, words = _encode_peak(row), f"<= {limit_mb} MB"
    if peak is None:
        return Bar(name, words, "", "not measured")
    met = peak.p50_ms <= limit_mb * 1e6
    return _told(Bar(name, words, "", "met"), f"{megabytes(peak.p50_ms)} MB", met=met)


def _verdict(ratio: Ratio, *, at_least: float = 0.0, at_most: float = float("inf")) -> Verdict:
    if ratio.low is None or ratio.high is None:
        return "spread unknown"
    if at_least <= ratio.low and ratio.high <= at_most:
        return "met"
    return "missed" if ratio.high < at_least or ratio.low > at_most else "within the spread"


def _ratio(time: Spread | None, base: Spread | None) -> Ratio | None:
    return None if time is None or base is None else Ratio.of(time, base)


def _time(row: SubjectRow | None, workload: str) -> Spread | None:
    found = None if row is None else row.workload(workload)
    return None if found is None else found.spread


def _steps(row: SubjectRow | None) -> tuple[Spread | None, Spread | None]:
    """What three ways take on top of the image encoder, and the image encoder.

    Both are of the steps of one workload: on an uneven machine two workloads can differ by more
    than the rest takes.
    """
    if row is None or "image_encoder" not in row.steps:
        return None, None
    others = [each.spread for name, each in row.steps.items() if name != "image_encoder"]
    lows, highs = [each.low_ms for each in others], [each.high_ms for each in others]
    rest = Spread(
        p50_ms=sum(each.p50_ms for each in others),
        low_ms=None if None in lows else sum(filter(None, lows)),
        high_ms=None if None in highs else sum(filter(None, highs)),
    )
    return rest, row.steps["image_encoder"].spread


def _encode_peak(row: SubjectRow | None) -> Spread | None:
    found = None if row is None else row.workload("encode")
    return None if found is None or found.peak_rss_bytes is None else exact(found.peak_rss_bytes)


def _peak(row: SubjectRow | None) -> Spread | None:
    return None if row is None or row.peak_rss_bytes is None else exact(row.peak_rss_bytes)


def _files(row: SubjectRow | None) -> Spread | None:
    return None if row is None else exact(row.artifact_bytes)
