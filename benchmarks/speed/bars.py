"""How times compare: ratios with their spread, two records side by side, and the project's bars.

A ratio of medians is a result only beyond its spread; a bar is met, or missed, only if the whole
spread meets it, or misses it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import median
from typing import NamedTuple

from benchmarks.report import NONE, table, three_digits
from benchmarks.speed import published
from benchmarks.speed.record import Speed, Spread, SubjectRow
from samclip_sdk.bundle.open import DEFAULT_MODEL

TO_MASKS = "picture_to_masks"

_FP32 = "image encoder in fp32 on onnxruntime"
_BEST = "image encoder on the best CPU path"
_TWO = "SAM and CLIP ViT-L/14 in torch"
_EXPORTED = "plain ONNX exports of both"

Pairs = list[tuple[SubjectRow, SubjectRow]]


class Ratio(NamedTuple):
    """A multiple, and the least and the greatest that the two spreads allow; None if unknown."""

    middle: float
    low: float | None
    high: float | None

    @classmethod
    def of(cls, value: Spread | None, base: Spread | None, *, scale: float = 1) -> Ratio | None:
        """How many times `base` a value is, in units of which one is `scale`.

        None where one of the two is not known.
        """
        if value is None or base is None:
            return None
        low = high = None
        if value.low_ms is not None and base.high_ms:
            low = scale * value.low_ms / base.high_ms
        if value.high_ms is not None and base.low_ms:
            high = scale * value.high_ms / base.low_ms
        return cls(scale * value.p50_ms / base.p50_ms, low, high)

    @property
    def verdict(self) -> str:
        """Faster or slower only if the whole spread is."""
        if self.low is None or self.high is None:
            return "its spread is unknown"
        if self.high < 1:
            return "faster"
        return "slower" if self.low > 1 else "within the spread"

    def text(self, unit: str = "×") -> str:
        """The multiple, and in brackets its spread, if it has one."""
        known = self.low is not None and self.low != self.high
        spread = f" ({_digits(self.low)}–{_digits(self.high)})" if known else ""
        return f"{_digits(self.middle)}{unit}{spread}"


def _digits(value: float) -> str:
    """Three digits, of which zeros are some."""
    return three_digits(value) if value >= 100 else f"{value:#.3g}"


def exact(value: float | None) -> Spread | None:
    """Something that is not of runs, such as a size, as what can be compared; None stays None."""
    return None if value is None else Spread(p50_ms=value, low_ms=value, high_ms=value)


def render_comparison(first: Speed, second: Speed) -> str:
    """Two records side by side: ratios of medians with their spread, and what else differs."""
    # The subjects of one key; or the only ones of both, whatever their keys.
    pairs = [(row, same) for row in first.subjects if (same := second.subject(row.key)) is not None]
    if not pairs and len(first.subjects) == len(second.subjects) == 1:
        pairs = [(first.subjects[0], second.subjects[0])]
    rows = []
    for one, two in pairs:
        key = one.key if one.key == two.key else f"{one.key} → {two.key}"
        for before in one.workloads:
            if (after := two.workload(before.workload)) is not None:
                ratio = Ratio.of(after.spread, before.spread)
                times = (three_digits(each.warm.p50_ms) for each in (before, after))
                rows.append([key, before.workload, *times, ratio.text(), ratio.verdict])
    if not rows:
        keys = (", ".join(row.key for row in each.subjects) or NONE for each in (first, second))
        raise ValueError(f"the files share no subject and workload: {' and '.join(keys)}")
    lines = [f"**Not alike**: {warning}\n\n" for warning in _warnings(first, second, pairs=pairs)]
    heads = ("", "workload", "first, ms", "second, ms", "ratio", "the second is")
    return f"{''.join(lines)}{table(heads, rows, words=2)}\n"


def _warnings(first: Speed, second: Speed, *, pairs: Pairs) -> Iterator[str]:
    one, two = (_circumstances(each, at, pairs=pairs) for at, each in enumerate((first, second)))
    for what in one | two:
        if one.get(what) != two.get(what):
            yield f"{what}: {one.get(what)} and {two.get(what)}"


def _circumstances(speed: Speed, at: int, *, pairs: Pairs) -> dict[str, object]:
    """What should be alike in both, of the device and of each pair's subject."""
    device = dict(speed.device) | speed.device.told
    found = {f"the device's {name}": each for name, each in device.items() if name != "told"}
    found["OMP_NUM_THREADS"] = speed.environment.threads
    for pair in pairs:
        key, row = pair[0].key, pair[at]
        found |= {f"{key}, precision": row.precision, f"{key}, notes": row.notes}
        versions = row.package_versions.items()
        found |= {f"{key}, version of {package}": version for package, version in versions}
    return found


def bar(
    name: str,
    found: Ratio | None,
    unit: str = "×",
    *,
    at_least: float = 0.0,
    at_most: float = math.inf,
    note: str = "",
) -> list[str]:
    """The row of a bar: what is compared, the bar, what was measured, and whether that meets it.

    `found` is None where a subject is missing, `unit` is of both, and `note` is told beside it.
    """
    limit = f">= {at_least:g}" if at_least else f"<= {round(at_most, 3):g}"
    if found is None:
        return [name, limit + unit, NONE, "not measured"]
    verdict = "within the spread"
    if found.low is None or found.high is None:
        verdict = "spread unknown"
    elif at_least <= found.low and found.high <= at_most:
        verdict = "met"
    elif found.high < at_least or found.low > at_most:
        verdict = "**missed**"
    return [name, limit + unit, f"{found.text(unit)}{note}", verdict]


def own_rows(speed: Speed) -> list[SubjectRow]:
    """The default model on each runtime and in each precision, asked for three labels."""
    own = (row for row in speed.subjects if row.key.startswith(f"{DEFAULT_MODEL}-"))
    return [row for row in own if not row.key.endswith(published.WIDE)]


def best_path(speed: Speed) -> SubjectRow | None:
    """The default model on the runtime and in the precision that find masks the fastest."""
    own = own_rows(speed)
    times = {found.warm.p50_ms: row for row in own if (found := row.workload(TO_MASKS))}
    return times[min(times)] if times else None


def extra_of_encode(row: SubjectRow | None) -> Ratio | None:
    """What text-to-mask of an encoded picture takes, in percent of encoding it."""
    facts = _facts(row)
    return Ratio.of(facts.get("text3"), facts.get("encode"), scale=100)


def run_of(row: SubjectRow) -> str:
    """The runtime and the precision of a row of the default model."""
    return row.key.removeprefix(f"{DEFAULT_MODEL}-").replace("-", " ")


def default_bars(speed: Speed) -> Iterator[list[str]]:
    """The rows of the default model's bars."""
    best = best_path(speed)
    run = "" if best is None else run_of(best)
    wide = None if best is None else speed.subject(f"{best.key}{published.WIDE}")
    own, note, on = _facts(best), f", {run}", "on the best CPU path"
    masks = f"text-to-mask of three labels, from the picture, {on}, against"
    for peer, key in (("YOLOE-11s-seg", published.YOLOE), ("CLIPSeg", published.CLIPSEG)):
        theirs = _facts(speed.subject(key)).get(TO_MASKS)
        yield bar(f"{masks} {peer}", Ratio.of(theirs, own.get(TO_MASKS)), at_least=1, note=note)
    encoder = _facts(speed.subject(published.MOBILE_SAM)).get("encode")
    times = Ratio.of(encoder, own.get(TO_MASKS))
    yield bar(f"{masks} MobileSAM's image encoder alone", times, at_least=8, note=note)
    name = f"text-to-mask of three labels, of encoding the picture, {on}"
    yield bar(name, extra_of_encode(best), " %", at_most=60, note=note)
    wider = Ratio.of(_facts(wide).get("text3"), own.get("text3"))
    name = f"text-to-mask of 150 labels, 3 of them present, of that of 3, {on}"
    yield bar(name, wider, at_most=1.5, note=note)
    iou = Ratio.of(exact(speed.mask_iou.get(run)), exact(1))
    yield bar(f"mask IoU with torch {on}", iou, "", at_least=0.97, note=note)
    seconds = peak = None
    if (startup := speed.startup) is not None:
        seconds = Ratio(median(startup.seconds), min(startup.seconds), max(startup.seconds))
        peak = startup.peak_rss_bytes
    name = "importing, loading and the first answer, in fp32 on onnxruntime"
    yield bar(name, seconds, " s", at_most=1.5)
    yield bar(f"{name}: peak memory", Ratio.of(exact(peak), exact(1e6)), " MB", at_most=250)


def vit_b_bars(speed: Speed) -> Iterator[list[str]]:
    """The rows of ViT-B's bars, in the order in which they were set."""
    keys = (published.ONNX_FP32, published.BEST, published.TEXT_150)
    peers = (published.SAM_CLIP_TORCH, published.SAM_CLIP_ONNX)
    ours, best, wide, torch, plain = (_facts(speed.subject(key)) for key in (*keys, *peers))
    mb, megabyte = " MB", exact(1e6)
    own, fast, in_torch, in_onnx = (each.get("encode") for each in (ours, best, torch, plain))
    note = _limit(speed, published.ONNX_FP32, against=in_torch)
    yield bar(f"{_FP32}, against SAM in torch", Ratio.of(in_torch, own), at_least=3.3, note=note)
    yield bar(f"{_FP32}, against SAM's plain ONNX export", Ratio.of(in_onnx, own), at_least=1)
    own_peak, fast_peak, other_peak = (each.get("encode peak") for each in (ours, best, plain))
    yield bar(f"{_FP32}: peak memory", Ratio.of(own_peak, megabyte), mb, at_most=1300)
    peak = Ratio.of(own_peak, other_peak)
    yield bar(f"{_FP32}: peak memory, of that of {_EXPORTED}", peak, at_most=1 / 5)
    note = _limit(speed, published.BEST, against=in_torch)
    yield bar(f"{_BEST}, against SAM in torch", Ratio.of(in_torch, fast), at_least=10, note=note)
    yield bar(f"{_BEST}: peak memory", Ratio.of(fast_peak, megabyte), mb, at_most=900)
    reached = Ratio.of(*_limits(speed, published.BEST), scale=100)
    yield bar(f"{_BEST}, of the machine's limit", reached, " %", at_least=70)
    own, fast, in_torch, in_onnx = (each.get("three_ways") for each in (ours, best, torch, plain))
    on_onnx, on_best = "all three in fp32 on onnxruntime", "all three on the best CPU path"
    yield bar(f"{on_onnx}, against {_TWO}", Ratio.of(in_torch, own), at_least=3.5)
    yield bar(f"{on_best}, against {_TWO}", Ratio.of(in_torch, fast), at_least=9)
    peak = Ratio.of(best.get("peak"), torch.get("peak"))
    yield bar(f"{on_best}: peak memory, of {_TWO}", peak, at_most=1 / 3)
    files = Ratio.of(ours.get("files"), torch.get("files"))
    yield bar(f"{on_onnx}: files, of {_TWO}", files, at_most=1 / 2)
    yield bar(f"{on_onnx}, against {_EXPORTED}", Ratio.of(in_onnx, own), at_least=1)
    yield bar(f"{on_best}, against {_EXPORTED}", Ratio.of(in_onnx, fast), at_least=2.5)
    rest = Ratio.of(ours.get("rest"), ours.get("image_encoder"))
    yield bar("all three but the image encoder, of the image encoder", rest, at_most=0.2)
    wider = Ratio.of(wide.get("text3"), best.get("text3"))
    yield bar("text-to-mask of 150 classes, 3 of them present, of that of 3", wider, at_most=1.5)


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
        limits = ([each.low_ms for each in others], [each.high_ms for each in others])
        low, high = (None if None in each else math.fsum(each) for each in limits)
        middle = math.fsum(each.p50_ms for each in others)
        facts["rest"] = Spread(p50_ms=middle, low_ms=low, high_ms=high)
        facts["image_encoder"] = encoder.spread
    sizes = {"peak": exact(row.peak_rss_bytes), "files": exact(row.artifact_bytes)}
    return facts | sizes | {"encode peak": exact(None if encode is None else encode.peak_rss_bytes)}


def _limits(speed: Speed, key: str) -> tuple[Spread | None, Spread | None]:
    """A subject's image encoder at the machine's limit, and as it was measured."""
    for each in speed.shares:
        if each.graph == "image_encoder" and key.endswith(f"{each.runtime}-{each.precision}"):
            return exact(each.of_limit * each.spread.p50_ms), each.spread
    return None, None


def _limit(speed: Speed, key: str, *, against: Spread | None) -> str:
    """How many times faster than another a subject's image encoder could be, at the limit."""
    most = Ratio.of(against, _limits(speed, key)[0])
    return "" if most is None else f", {most.middle:.3g}× at the machine's limit"
