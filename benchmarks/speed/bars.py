"""The bars that the project set itself, each beside what was measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.speed.published_record import Performance, Share
from benchmarks.speed.published_subjects import (
    BEST,
    ONNX_FP32,
    SAM_CLIP_ONNX,
    SAM_CLIP_TORCH,
    TEXT_150,
    TINY_BEST,
)
from benchmarks.speed.schema import SubjectRow

_MB = 1e6


@dataclass(frozen=True)
class Target:
    """A bar.

    Attributes:
        name: what is compared.
        bar: as it was set.
        found: as it was measured; empty where a subject is missing.
        met: None where it was not measured.
    """

    name: str
    bar: str
    found: str
    met: bool | None


def targets(found: Performance) -> list[Target]:
    """Every bar, in the order in which they were set."""
    rows = {row.key: row for row in found.latency.subjects}
    ours, best, wide = rows.get(ONNX_FP32), rows.get(BEST), rows.get(TEXT_150)
    torch, plain = rows.get(SAM_CLIP_TORCH), rows.get(SAM_CLIP_ONNX)
    return [
        *_encoders(found, ours, best, torch=torch, plain=plain),
        _roofline(found),
        *_three_ways(ours, best, torch=torch, plain=plain),
        _on_top(ours),
        _vocabulary(best, wide),
        *_tiny(found),
    ]


def _encoders(
    found: Performance,
    ours: SubjectRow | None,
    best: SubjectRow | None,
    *,
    torch: SubjectRow | None,
    plain: SubjectRow | None,
) -> Iterator[Target]:
    own, fast = _encode(ours), _encode(best)
    in_torch, in_onnx = _encode(torch), _encode(plain)
    name = "image encoder fp32 on onnxruntime against SAM in torch"
    yield _at_least(name, 3.3, in_torch, own, limit=_limit_ms(found, ONNX_FP32))
    yield _at_least("the same against SAM's plain ONNX export", 1.0, in_onnx, own)
    yield _memory("the same, peak memory", ours, limit_mb=1300)
    name = "the same, of the plain exports' (SAM's and CLIP's)"
    yield _at_most(name, 1 / 5, _encode_peak(ours), _encode_peak(plain))
    name = "best CPU path against SAM in torch"
    yield _at_least(name, 10.0, in_torch, fast, limit=_limit_ms(found, BEST))
    yield _memory("the same, peak memory", best, limit_mb=900)


def _three_ways(
    ours: SubjectRow | None,
    best: SubjectRow | None,
    *,
    torch: SubjectRow | None,
    plain: SubjectRow | None,
) -> Iterator[Target]:
    own, fast = _p50(ours, "three_ways"), _p50(best, "three_ways")
    against = "three ways in fp32 against SAM + CLIP ViT-L/14 in torch"
    yield _at_least(against, 3.5, _p50(torch, "three_ways"), own)
    yield _at_least("the same at best precision", 9.0, _p50(torch, "three_ways"), fast)
    yield _at_most("the same, peak memory", 1 / 3, _peak(best), _peak(torch))
    yield _at_most("the same, files", 1 / 2, _bytes(ours), _bytes(torch))
    against = "three ways in fp32 against both exported plainly"
    yield _at_least(against, 1.0, _p50(plain, "three_ways"), own)
    yield _at_least("the same at best precision", 2.5, _p50(plain, "three_ways"), fast)


def _roofline(found: Performance) -> Target:
    share = _encoder_share(found, BEST)
    name, bar = "share of the machine's limit that the best path's encoder reaches", ">= 70 %"
    if share is None:
        return Target(name, bar, "", None)
    return Target(name, bar, f"{share.of_limit:.0%}", share.of_limit >= 0.7)


def _encoder_share(found: Performance, key: str) -> Share | None:
    """What the image encoder of a subject reaches of the machine."""
    encoders = (each for each in found.shares if each.graph == "image_encoder")
    return next(
        (each for each in encoders if key.endswith(f"{each.runtime}-{each.precision}")), None
    )


def _limit_ms(found: Performance, key: str) -> float | None:
    """What the image encoder of a subject would take at the machine's limit."""
    share = _encoder_share(found, key)
    return None if share is None else share.ms * share.of_limit


def _on_top(ours: SubjectRow | None) -> Target:
    # Of one workload: on an uneven machine two medians can differ by more than the rest takes.
    whole, encode = _p50(ours, "three_ways"), _step(ours, "image_encoder")
    rest = None if whole is None or encode is None else whole - encode
    return _at_most("all skills on top of one encode, of the encode, in fp32", 0.2, rest, encode)


def _vocabulary(best: SubjectRow | None, wide: SubjectRow | None) -> Target:
    name = "text-to-mask of 150 classes, 3 of them present, against 3"
    return _at_most(name, 1.5, _p50(wide, "text3"), _p50(best, "text3"))


def _tiny(found: Performance) -> Iterator[Target]:
    startup = found.startup
    peak = startup.peak_rss_bytes
    text = f"{startup.seconds:.2f} s" + (f", {peak / _MB:.0f} MB" if peak else "")
    met = startup.seconds <= 0.5 and peak is not None and peak <= 150 * _MB
    yield Target("importing and loading samclip-tiny", "<= 0.5 s, <= 150 MB", text, met)
    speeds = found.tiny_images_per_s
    fastest = max(speeds, key=lambda each: speeds[each], default="")
    yield Target(
        "samclip-tiny, text-to-mask of one label",
        ">= 20 images/s",
        f"{speeds[fastest]:.1f} ({fastest})" if fastest else "",
        speeds[fastest] >= 20 if fastest else None,
    )
    iou = found.tiny_iou.get(TINY_BEST)
    name, bar = "samclip-tiny on the best path, mean mask IoU with fp32", ">= 0.97"
    yield Target(
        name, bar, "" if iou is None else f"{iou:.4f}", None if iou is None else iou >= 0.97
    )


def _at_least(
    name: str, bar: float, other: float | None, own: float | None, *, limit: float | None = None
) -> Target:
    """How many times faster than another, and how many it could be at the machine's limit."""
    if other is None or own is None:
        return Target(name, f">= {bar:g}x faster", "", None)
    told = f"{other / own:.2f}x"
    told += "" if limit is None else f", {other / limit:.2f}x at the machine's limit"
    return Target(name, f">= {bar:g}x faster", told, other / own >= bar)


def _at_most(name: str, bar: float, own: float | None, other: float | None) -> Target:
    if other is None or own is None:
        return Target(name, f"<= {bar:.2f}x", "", None)
    return Target(name, f"<= {bar:.2f}x", f"{own / other:.2f}x", own / other <= bar)


def _memory(name: str, row: SubjectRow | None, *, limit_mb: int) -> Target:
    peak = _encode_peak(row)
    bar = f"<= {limit_mb} MB"
    if peak is None:
        return Target(name, bar, "", None)
    return Target(name, bar, f"{peak / _MB:.0f} MB", peak <= limit_mb * _MB)


def _p50(row: SubjectRow | None, workload: str) -> float | None:
    found = None if row is None else row.workload(workload)
    return None if found is None else found.warm.p50_ms


def _encode(row: SubjectRow | None) -> float | None:
    return _p50(row, "encode")


def _step(row: SubjectRow | None, name: str) -> float | None:
    return None if row is None or name not in row.steps else row.steps[name].p50_ms


def _peak(row: SubjectRow | None) -> float | None:
    return None if row is None else row.peak_rss_bytes


def _encode_peak(row: SubjectRow | None) -> float | None:
    found = None if row is None else row.workload("encode")
    return None if found is None else found.peak_rss_bytes


def _bytes(row: SubjectRow | None) -> float | None:
    return None if row is None else row.artifact_bytes
