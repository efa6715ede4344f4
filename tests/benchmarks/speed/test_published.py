"""The published subjects, and the measurement of the default model."""

from __future__ import annotations

import platform
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.speed import published
from benchmarks.speed.published import (
    RESOLUTIONS,
    default_specs,
    find_runs,
    kept_mask_iou,
    measure_default,
    measure_startup,
    series_specs,
    verify_sets,
    vit_b_specs,
)
from benchmarks.speed.record import Failure, Startup
from benchmarks.speed.subject import make_subject
from samclip_sdk.errors import RuntimeMissingError, VerificationError
from tests.benchmarks.speed.example_speed import subject_row

RUNS = (("onnx", "fp32"), ("openvino", "bf16"), ("openvino", "int8"))


def silent(_doing: str) -> None:
    pass


def keys(*specs: str) -> set[str]:
    found = [make_subject(spec).key for spec in specs]
    assert len(set(found)) == len(found)
    return set(found)


def test_every_subject_has_the_key_by_which_it_is_found(tmp_path: Path) -> None:
    vit_b = tmp_path / published.VIT_B
    own = (
        published.DEFAULT_ONNX,
        *(f"samclip-mobile-openvino-{each}" for each in ("bf16", "int8")),
    )
    assert keys(*default_specs(RUNS)) == {
        *(f"{each}{labels}" for each in own for labels in ("", published.WIDE)),
        published.YOLOE,
        published.CLIPSEG,
        published.MOBILE_SAM,
    }
    found = keys(*vit_b_specs(vit_b, RUNS), *series_specs(vit_b, RUNS, threads=[1, 2]))
    ours = {published.ONNX_FP32, published.BEST, published.TEXT_150, f"{published.BEST}-boxes"}
    assert ours | {published.SAM_CLIP_TORCH, published.SAM_CLIP_ONNX, published.YOLOE} <= found


def test_the_encoder_is_measured_at_every_resolution_with_all_threads(tmp_path: Path) -> None:
    specs = series_specs(tmp_path / published.VIT_B, RUNS, threads=[1, 2])
    sizes = {spec.partition("threads=")[2] for spec in specs if "skill=encoder" in spec}
    assert sizes == {"1,resolutions=1024", f"2,resolutions={'+'.join(map(str, RESOLUTIONS))}"}


@pytest.mark.parametrize(("bf16", "floats"), [(True, "bf16"), (False, "fp32"), (None, "fp32")])
def test_openvino_runs_in_bf16_where_it_can(
    bf16: bool | None, floats: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked() -> bool:
        if bf16 is None:
            raise RuntimeMissingError("no OpenVINO")
        return bf16

    monkeypatch.setattr(published, "computes_bf16", asked)
    runs = (("onnx", "fp32"), ("onnx", "int8"), ("openvino", floats), ("openvino", "int8"))
    assert find_runs() == runs


def report(**errors: float) -> Any:
    signed: list[bool] = []
    checks = [SimpleNamespace(name=name, error=error) for name, error in errors.items()]
    return SimpleNamespace(checks=checks, sign_off=lambda: signed.append(True), signed=signed)


def test_the_masks_that_are_kept_are_the_lower_ones() -> None:
    found = report(box_mask_iou=0.01, text_mask_iou=0.03, image_encoder=0.5)
    assert kept_mask_iou(found) == pytest.approx(0.97)


def test_what_is_right_here_is_signed_off_and_the_rest_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = report(box_mask_iou=0.0)

    def verify(model: str, *, runtime: str, precision: str) -> Any:
        if precision == "bf16":
            raise RuntimeMissingError("no OpenVINO")
        if precision == "int8":
            raise VerificationError("masks\ndiffer")
        return made

    monkeypatch.setattr(published, "verify_bundle", verify)
    said: list[str] = []
    reports, failures = verify_sets(Path("a/model"), RUNS, say=silent, tell=said.append)
    assert reports == {("onnx", "fp32"): made}
    assert made.signed == [True]
    assert [(each.subject, each.at, each.reason) for each in failures] == [
        ("model-openvino-bf16", "verify", "no OpenVINO"),
        ("model-openvino-int8", "verify", "masks differ"),
    ]
    assert said[1] == "model-openvino-int8, verify: failed, masks differ"


def test_the_default_model_is_verified_started_and_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reports = {("onnx", "fp32"): report(box_mask_iou=0.25, text_mask_iou=0.0)}
    unverified = Failure(subject="c", at="verify", reason="differs")
    startup = Startup(seconds=(1.0,), peak_rss_bytes=None)
    monkeypatch.setattr(published, "find_runs", lambda: RUNS)
    monkeypatch.setattr(
        published, "verify_sets", lambda *_arguments, **_options: (reports, [unverified])
    )
    monkeypatch.setattr(published, "measure_startup", lambda: startup)
    rows, failures = (subject_row("a"),), (Failure(subject="b", at="open", reason="gone"),)
    asked: list[Any] = []

    def measure(specs: Any) -> Any:
        asked.extend(specs)
        return rows, failures

    found = measure_default(measure, say=silent, tell=silent)
    assert tuple(asked) == default_specs(RUNS[:1])
    assert found == {
        "subjects": rows,
        "failures": (unverified, *failures),
        "startup": startup,
        "mask_iou": {"onnx fp32": 0.75},
    }


def test_a_start_is_timed_in_processes_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "_STARTUP_RUNS", 1)
    startup = measure_startup()
    assert len(startup.seconds) == 1
    assert startup.seconds[0] > 0.05
    if platform.system() == "Linux":
        assert startup.peak_rss_bytes is not None
        assert startup.peak_rss_bytes > 2**26
