"""What is published: the subjects of both measurements, and that of the default model.

The default model is measured beside small peers, from the bundle in the package. `vit_b` measures a
ViT-B beside SAM and CLIP. Nothing is timed that does not pass `samclip verify`.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.record import publishable
from benchmarks.speed import record
from samclip_sdk.bundle.open import DEFAULT_MODEL
from samclip_sdk.device.verify import VerificationReport, verify_bundle
from samclip_sdk.errors import RuntimeMissingError, VerificationError
from samclip_sdk.runtimes.openvino.session import computes_bf16

DEFAULT_ONNX = f"{DEFAULT_MODEL}-onnx-fp32"
YOLOE = "yoloe-11s-seg-k10"
CLIPSEG = "clipseg-rd64"
MOBILE_SAM = "mobile-sam"
SMALL_PEERS = ("yoloe", "clipseg", "mobile-sam")

WIDE = "-k150"
"""Ends the key of a subject that text-to-mask is asked of 150 labels, of which 3 are present."""

VIT_B = "samclip-vit-b"
"""The folder of the ViT-B bundle: its name is that of its subjects."""

BEST_RUN = ("openvino", "int8")
"""The path on a CPU that the bars of ViT-B call the best."""

RESOLUTIONS = (224, 336, 448, 672, 1024)

ONNX_FP32 = f"{VIT_B}-onnx-fp32"
BEST = f"{VIT_B}-{'-'.join(BEST_RUN)}"
TEXT_150 = f"{BEST}{WIDE}"
SAM_CLIP_TORCH = "sam+openclip-vit-l-14-fp32-k10"
SAM_CLIP_ONNX = "sam-onnx+clip-onnx-vit-l-14-k10"
LARGE_PEERS = (
    "sam-onnx-l",
    "sam+openclip-l",
    "sam+openclip-l,precision=bf16",
    "sam-onnx-l,arena=false",
    "sam+openclip,proposals=50",
)

_MASK_IOU = ("box_mask_iou", "text_mask_iou")
_STARTUP_RUNS = 10
_PICTURE = Path(__file__).parents[2] / "examples/images/dog.jpg"
_FIRST_ANSWER = """
import sys
from samclip_sdk import SamClip
model = SamClip.load("onnx", text_cache=False)
model.segment_text(sys.argv[1], ["dog", "cat", "boat"])
from samclip_sdk.system.timing import peak_rss_bytes
print(peak_rss_bytes() or "")
"""

Measured = tuple[Sequence[record.SubjectRow], Sequence[record.Failure]]
Measure = Callable[[Sequence[str]], Measured]
Say = Callable[[str], None]
"""Told what is being done."""
Run = tuple[str, str]
"""A runtime and a precision."""


def find_runs() -> tuple[Run, ...]:
    """What the SDK is measured on: OpenVINO's floats are in bf16 where this CPU computes in it."""
    try:
        floats = "bf16" if computes_bf16() else "fp32"
    except RuntimeMissingError:
        floats = "fp32"  # To verify it will fail with the reason.
    return (("onnx", "fp32"), ("onnx", "int8"), ("openvino", floats), ("openvino", "int8"))


def sdk_spec(model: str | Path, run: Run) -> str:
    """The SDK as a subject."""
    runtime, precision = run
    return f"samclip,model={model},runtime={runtime},precision={precision}"


def encoder_spec(spec: str, resolutions: Sequence[int], *, threads: int) -> str:
    """Of a subject of the SDK the image encoder alone, at each resolution in pixels."""
    return f"{spec},skill=encoder,threads={threads},resolutions={'+'.join(map(str, resolutions))}"


def default_specs(runs: Sequence[Run]) -> tuple[str, ...]:
    """The default model, each run beside the same of 150 labels, and its peers."""
    own = (sdk_spec(DEFAULT_MODEL, run) for run in runs)
    return (*(spec for each in own for spec in (each, f"{each},labels=150")), *SMALL_PEERS)


def vit_b_specs(vit_b: Path, runs: Sequence[Run]) -> tuple[str, ...]:
    """The subjects of ViT-B's table. Those that the bars compare are near one another."""
    return (
        *(f"{sdk_spec(vit_b, BEST_RUN)},labels={count}" for count in (30, 150)),
        *(sdk_spec(vit_b, run) for run in reversed(runs)),
        *LARGE_PEERS,
        *reversed(SMALL_PEERS),
    )


def series_specs(vit_b: Path, runs: Sequence[Run], *, threads: Sequence[int]) -> Iterator[str]:
    """Of ViT-B the image encoder by resolution, its largest by threads, and box prompts."""
    for run in runs:
        for count in threads:
            sizes = RESOLUTIONS if count == max(threads) else RESOLUTIONS[-1:]
            yield encoder_spec(sdk_spec(vit_b, run), sizes, threads=count)
    yield f"{sdk_spec(vit_b, BEST_RUN)},skill=boxes"


def measure_default(measure: Measure, *, say: Say, tell: Say) -> dict[str, Any]:
    """The fields of the default model's record that are its own; `tell` as of `verify_sets`."""
    reports, unverified = verify_sets(DEFAULT_MODEL, find_runs(), say=say, tell=tell)
    say("starting up")
    startup = measure_startup()
    subjects, failures = measure(default_specs(tuple(reports)))
    return {
        "subjects": subjects,
        "failures": (*unverified, *failures),
        "startup": startup,
        "mask_iou": {" ".join(run): kept_mask_iou(report) for run, report in reports.items()},
    }


def verify_sets(
    model: str | Path, runs: Sequence[Run], *, say: Say, tell: Say
) -> tuple[dict[Run, VerificationReport], list[record.Failure]]:
    """Verifies and signs off every set that is to be measured.

    Returns:
        The report of each that computes here what it should; and what the others fail at, which
        `tell` is told at once, in a line.
    """
    reports, failures = {}, []
    for runtime, precision in runs:
        name = f"{Path(model).name}-{runtime}-{precision}"
        say(f"verifying {name}")
        try:
            report = verify_bundle(model, runtime=runtime, precision=precision)
            report.sign_off()
        except (RuntimeMissingError, VerificationError) as error:
            reason = publishable(str(error))
            tell(f"{name}, verify: failed, {reason}")
            failures.append(record.Failure(subject=name, at="verify", reason=reason))
        else:
            reports[runtime, precision] = report
    return reports, failures


def kept_mask_iou(report: VerificationReport) -> float:
    """The lower mean IoU with eager torch, of box masks and of text-to-mask."""
    checks = [each for each in report.checks if any(name in each.name for name in _MASK_IOU)]
    return min(1 - each.error for each in checks)


def measure_startup() -> record.Startup:
    """Imports, loads and answers in fresh processes, after one that fills the file cache."""
    command, seconds, peaks = [sys.executable, "-c", _FIRST_ANSWER, str(_PICTURE)], [], []
    for _ in range(1 + _STARTUP_RUNS):
        start = time.perf_counter()
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        seconds.append(round(time.perf_counter() - start, 3))
        peaks += [int(done.stdout)] if done.stdout.strip() else []
    return record.Startup(seconds=tuple(seconds[1:]), peak_rss_bytes=max(peaks, default=None))
