"""What people see of speed: bars, subjects, the README's table, the chart, and comparisons."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.compare import render_comparison
from benchmarks.table import Part, Table
from tests.benchmarks.measured import cells, part_of, shown

BEST, ONNX = "samclip-mobile-openvino-int8", "samclip-mobile-onnx-fp32"
MASKS = "text-to-mask of three labels, from the image, each on its best CPU path, against"


def figure(subject: str, split: str, *limits: float, metric: str = "ms") -> dict[str, Any]:
    """Of two rounds, or one exact figure."""
    low, high = min(limits), max(limits)
    spread = {"low": low, "high": high} if len(limits) > 1 else {}
    found = {"subject": subject, "split": split, "metric": metric, "value": (low + high) / 2}
    return found | spread


def speed(*rows: dict[str, Any], suite: str = "speed", **settings: Any) -> Part:
    about = {"precision": "fp32", "notes": "as usual", "versions": {"onnxruntime": "1.20"}}
    subjects = {each["subject"]: about | {"name": f"the {each['subject']}"} for each in rows}
    load = {"load_average": [0.5, 0.5, 0.5]}
    usual = {"rounds": 2, "seconds": 2, "min_runs": 1, "baseline": ONNX, "failures": []}
    usual |= {"device": {"usable_cores": 2}, "before": load, "after": load, "subjects": subjects}
    return part_of(suite, *rows, **usual | settings)


def default() -> Part:
    return speed(
        figure(ONNX, "image_to_masks", 60, 70),
        figure(ONNX, "image_to_masks", 65, metric="mean_ms"),
        figure(BEST, "image_to_masks", 40, 50),
        figure(BEST, "image_to_masks", 45, metric="mean_ms"),
        figure(BEST, "encode", 50, 50),
        figure(BEST, "text3", 25, 35),
        figure(BEST, "", 0.98, metric="mask_iou"),
        figure(BEST, "", 100e6, metric="peak_rss_bytes"),
        figure(f"{BEST}-k150", "text3", 30, 39),
        figure(f"{BEST}-k150", "image_to_masks", 1, 1),
        figure("yoloe-11s-seg-onnx-k10", "image_to_masks", 180, 190),
        figure("yoloe-11s-seg-openvino-k10", "image_to_masks", 280, 290),
        figure("clipseg-rd64-openvino", "image_to_masks", 45, 45),
        figure("startup", "", 1.1, 1.3, metric="seconds"),
        figure("startup", "", 260e6, metric="peak_rss_bytes"),
        failures=[{"subject": "gone", "at": "open", "reason": "no gone"}],
    )


def test_a_bar_is_met_only_by_the_whole_spread() -> None:
    text, note = shown("speed_bars", default()), ", openvino int8"
    yoloe = f"4.11× (3.60–4.75){note} against onnx fp32"
    assert cells(text, f"{MASKS} YOLOE-11s-seg") == [">= 1×", yoloe, "met"]
    clipseg = f"1.00× (0.900–1.12){note} against openvino fp32"
    assert cells(text, f"{MASKS} CLIPSeg")[1:] == [clipseg, "within the spread"]
    assert cells(text, f"{MASKS} MobileSAM's image encoder alone")[1:] == ["–", "not measured"]
    assert cells(text, "mask IoU with torch on the best CPU path")[1:] == [f"0.980{note}", "met"]
    start = "importing, loading and the first answer, in fp32 on onnxruntime"
    assert cells(text, start) == ["<= 1.5 s", "1.20 s (1.10–1.30)", "met"]
    assert cells(text, f"{start}: peak memory")[1:] == ["260 MB", "**missed**"]


@pytest.mark.parametrize("suite", ["speed", "speed_vit_b"])
def test_nothing_measured_meets_nothing(suite: str) -> None:
    text = shown(f"{suite}_bars", speed(suite=suite))
    assert {line.split(" | ")[-1] for line in text.splitlines()[2:]} == {"not measured |"}


def test_what_failed_is_a_row_too() -> None:
    text = shown("speed_subjects@speed", default())
    assert cells(text, "gone") == ["failed", *"––––––"]
    assert "- gone, open: failed, no gone" in text
    other = speed(figure("ours", "encode", 1, 1), baseline="gone")
    assert "The baseline, gone, was not measured." in shown("speed_subjects@speed", other)
    text = shown("speed_summary", default())
    assert cells(text, "mobile-sam: its image encoder alone")[0] == "not measured"


@pytest.mark.parametrize(
    ("after", "row"),
    [
        ((40, 45), ["encode", "85", "42.5", "0.500× (0.444–0.562)", "less"]),
        ((82, 92), ["encode", "85", "87", "1.02× (0.911–1.15)", "within the spread"]),
        ((180,), ["encode", "85", "180", "2.12×", "of unknown spread"]),
    ],
)
def test_two_runs_are_compared(after: tuple[float, ...], row: list[str]) -> None:
    first, second = (
        Table((speed(figure("ours", "encode", *ms), figure("ours", split, 1, 1)),))
        for ms, split in (((80, 90), "text3"), (after, "point"))
    )
    text = render_comparison(first, second, metric="ms")
    assert cells(text, "ours") == row
    assert "Not alike" not in text


def test_what_is_not_alike_is_told_of_the_only_subjects_whatever_their_keys() -> None:
    one, two = (speed(figure(key, "encode", 9, 9)) for key in "ab")
    about = {"versions": {"onnxruntime": "1.21"}}
    changed = {"cpu": "Another", "settings": two.run.settings | {"subjects": {"b": about}}}
    other = Part(two.run.model_copy(update=changed), two.rows)
    text = render_comparison(Table((one,)), Table((other,)), metric="ms")
    assert cells(text, "a → b")[3] == "1.00×"
    assert f"**Not alike**: cpu: {one.run.cpu} and Another" in text
    assert "**Not alike**: version of onnxruntime: 1.20 and 1.21" in text
