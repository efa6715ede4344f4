"""The published subjects, and the measurement of the default model."""

from __future__ import annotations

import platform
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.pages import ROOT
from benchmarks.speed import published
from benchmarks.speed.peers.exports import RUNTIMES
from benchmarks.speed.published import default_specs, kept_mask_iou, measure_startup
from benchmarks.speed.subject import make_subject
from benchmarks.suite import Measuring
from samclip_sdk.errors import VerificationError
from tests.benchmarks.measured import measure

RUNS = (("onnx", "fp32"), ("openvino", "bf16"), ("openvino", "int8"))


def keys(*specs: str) -> set[str]:
    found = [make_subject(spec).key for spec in specs]
    assert len(set(found)) == len(found)
    return set(found)


def test_every_subject_has_the_key_by_which_pages_find_it(tmp_path: Path) -> None:
    """The templates name these."""
    runs = ("onnx-fp32", "openvino-bf16", "openvino-int8")
    own = [f"samclip-mobile-{run}{labels}" for run in runs for labels in ("", "-k150")]
    yoloes = (f"{name}-{runtime}-k10" for name in published.YOLOES for runtime in RUNTIMES)
    others = (
        f"{name}-{runtime}" for name in ("clipseg-rd64", "mobile-sam") for runtime in RUNTIMES
    )
    assert keys(*default_specs(RUNS)) == {*own, *yoloes, *others}
    peers = {"yoloe-26s-seg-openvino-k10", "clipseg-rd64-openvino", "mobile-sam-openvino"}
    specs = [*published.vit_b_specs(tmp_path / published.VIT_B, RUNS, threads=[1, 2])]
    found = keys(*specs)
    best = "samclip-vit-b-openvino-int8"
    ours = {"samclip-vit-b-onnx-fp32", best, f"{best}-k150", f"{best}-boxes"}
    assert ours | {published.SAM_CLIP_TORCH, "sam-onnx+clip-onnx-vit-l-14-k10"} | peers <= found
    sizes = {spec.partition("threads=")[2] for spec in specs if "skill=encoder" in spec}
    assert sizes == {"1,resolutions=1024", "2,resolutions=224+336+448+672+1024"}


def test_what_is_right_here_is_signed_off_and_the_rest_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    signed: list[bool] = []
    checks = [SimpleNamespace(name=name, error=0.03) for name in ("box_mask_iou", "text_mask_iou")]
    made = SimpleNamespace(checks=checks, sign_off=lambda: signed.append(True))
    assert kept_mask_iou(made) == pytest.approx(0.97)

    def verify(model: str, *, runtime: str, precision: str) -> Any:
        if runtime == "openvino":
            raise VerificationError("masks\ndiffer")
        return made

    def work(measured: Measuring) -> None:
        assert published.verify_sets(measured, Path("a/model"), RUNS[:2]) == {RUNS[0]: made}
        measured.add("test", done=1)

    monkeypatch.setattr(published, "verify_bundle", verify)
    failure = {"subject": "model-openvino-bf16", "at": "verify", "reason": "masks differ"}
    assert measure(work).run.settings["failures"] == [failure]
    assert signed == [True]


@pytest.mark.slow
def test_a_start_is_timed_in_processes_of_its_own(tmp_path: Path) -> None:
    part = measure(measure_startup, {"": ROOT, "again": ROOT}, runs=1)
    for split in ("", "again"):
        assert part.value("startup", "seconds", split) > 0.05
        if platform.system() == "Linux":
            assert part.value("startup", "peak_rss_bytes", split) > 2**26
    package = tmp_path / "samclip_sdk"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('an earlier one')")
    with pytest.raises(ValueError, match=f"the first answer of {tmp_path.name} did not come"):
        measure(measure_startup, {"": tmp_path}, runs=1)
