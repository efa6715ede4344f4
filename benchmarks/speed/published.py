"""The subjects of docs/benchmarks/speed.md and speed_vit_b.md, and what else these pages show.

The default model is measured beside small peers, from the bundle in the package, and a ViT-B beside
SAM and CLIP. Nothing is timed that does not pass `samclip verify`.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.intervals import over_rounds
from benchmarks.pages import ROOT
from benchmarks.speed.measure import HowLong, measure_subjects
from benchmarks.suite import Measuring
from benchmarks.table import describe_model, publishable
from export.bundle_writer import write_bundle
from export.options import ExportOptions
from export.source import find_source
from samclip_sdk.bundle.manifest import MANIFEST_NAME
from samclip_sdk.bundle.open import DEFAULT_MODEL, open_bundle
from samclip_sdk.device.verify import VerificationReport, verify_bundle
from samclip_sdk.errors import RuntimeMissingError, VerificationError
from samclip_sdk.runtimes.openvino.session import computes_bf16
from samclip_sdk.system.timing import peak_rss_bytes

DEFAULT_ONNX = f"{DEFAULT_MODEL}-onnx-fp32"
YOLOES = ("yoloe-26n-seg", "yoloe-26s-seg", "yoloe-11s-seg")
SMALL_PEERS = tuple(
    f"{peer},runtime={runtime}"
    for peer in (*(f"yoloe,network={name}" for name in YOLOES), "clipseg", "mobile-sam")
    for runtime in ("openvino", "onnx")
)
"""Each on both runtimes: the pages compare with the faster one."""


VIT_B = "samclip-vit-b"
"""The folder of the bundle: its name is that of its subjects."""

RESOLUTIONS = (224, 336, 448, 672, 1024)
SAM_CLIP_TORCH = "sam+openclip-vit-l-14-fp32-k10"
LARGE_PEERS = (
    "sam-onnx",
    "sam+openclip",
    "sam+openclip,precision=bf16",
    "sam-onnx,arena=false",
    "sam+openclip,clip=ViT-B-16,proposals=50",
)

_MASK_IOU = ("box_mask_iou", "text_mask_iou")
_IMAGE = ROOT / "examples/images/dog.jpg"
_FIRST_ANSWER = """
import sys
from samclip_sdk import SamClip
model = SamClip.load("onnx", text_cache=False)
model.segment_text(sys.argv[1], ["dog", "cat", "boat"])
print("answered", flush=True)
sys.stdin.read()
"""

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


def default_specs(runs: Sequence[Run]) -> Iterator[str]:
    """The default model, each run beside the same of 150 labels, and its peers."""
    for run in runs:
        yield from (spec := sdk_spec(DEFAULT_MODEL, run), f"{spec},labels=150")
    yield from SMALL_PEERS


def vit_b_specs(vit_b: Path, runs: Sequence[Run], *, threads: Sequence[int]) -> Iterator[str]:
    """ViT-B beside its peers; those that the bars compare are near one another.

    Then its image encoder by resolution, at its largest by threads, and box prompts.
    """
    best = sdk_spec(vit_b, ("openvino", "int8"))  # the path on a CPU that the bars call the best
    yield from (f"{best},labels={count}" for count in (30, 150))
    yield from (sdk_spec(vit_b, run) for run in reversed(runs))
    yield from (*LARGE_PEERS, "mobile-sam", "clipseg", "yoloe")
    for run in runs:
        for count in threads:
            sizes = RESOLUTIONS if count == max(threads) else RESOLUTIONS[-1:]
            yield encoder_spec(sdk_spec(vit_b, run), sizes, threads=count)
    yield f"{best},skill=boxes"


def measure_default(measured: Measuring, also: Sequence[str], *, how: HowLong) -> None:
    """The default model beside its peers and others, its first answer, and the masks it keeps."""
    measured.model = describe_model(open_bundle(DEFAULT_MODEL).manifest)
    reports = verify_sets(measured, DEFAULT_MODEL, find_runs())
    measured.say("starting up")
    measure_startup(measured, {"": ROOT})
    specs = [*default_specs(tuple(reports)), *also]
    for subject in measure_subjects(measured, specs, how=how):
        subject.add_to(measured)
    for run, report in reports.items():
        measured.add("-".join((DEFAULT_MODEL, *run)), mask_iou=kept_mask_iou(report))


def measure_vit_b(measured: Measuring, folder: Path, *, how: HowLong, cores: int) -> None:
    """ViT-B beside its peers, at most with as many threads as cores.

    Weights are random, since they change no time. The bundle is in the folder, or exported there.
    """
    if not (folder / VIT_B / MANIFEST_NAME).is_file():
        measured.say("exporting ViT-B")
        folder.mkdir(parents=True, exist_ok=True)
        options = ExportOptions(onnx=("fp32", "int8"), resolutions=RESOLUTIONS)
        write_bundle(find_source("random:vit_b"), folder / VIT_B, options=options)
    runs = tuple(verify_sets(measured, folder / VIT_B, find_runs()))
    specs = vit_b_specs(folder / VIT_B, runs, threads=range(1, 1 + cores))
    for subject in measure_subjects(measured, [*specs], how=how):
        subject.add_to(measured)


def verify_sets(
    measured: Measuring, model: str | Path, runs: Sequence[Run]
) -> dict[Run, VerificationReport]:
    """Verifies and signs off every set that is to be measured; tells of those that fail.

    Returns:
        The report of each that computes here what it should.
    """
    reports: dict[Run, VerificationReport] = {}
    for runtime, precision in runs:
        name = f"{Path(model).name}-{runtime}-{precision}"
        measured.say(f"verifying {name}")
        try:
            report = verify_bundle(model, runtime=runtime, precision=precision)
            report.sign_off()
        except (RuntimeMissingError, VerificationError) as error:
            reason = publishable(str(error))
            measured.tell(f"{name}, verify: failed, {reason}")
            failures = measured.settings.setdefault("failures", [])
            failures.append({"subject": name, "at": "verify", "reason": reason})
        else:
            reports[runtime, precision] = report
    return reports


def kept_mask_iou(report: VerificationReport) -> float:
    """The lower mean IoU with eager torch, of box masks and of text-to-mask."""
    checks = [each for each in report.checks if any(name in each.name for name in _MASK_IOU)]
    return min(1 - each.error for each in checks)


def measure_startup(measured: Measuring, checkouts: Mapping[str, Path], *, runs: int = 10) -> None:
    """Imports, loads and answers in fresh processes, after one that fills the file cache.

    That is in fp32 on onnxruntime, of a photograph in a file. The labels are embedded anew.
    `checkouts` are the folders whose package is imported, by split; they start in turn.
    """
    seconds: dict[str, list[float]] = {name: [] for name in checkouts}
    peaks: dict[str, list[int]] = {name: [] for name in checkouts}
    for turn in range(1 + runs):
        for name, folder in checkouts.items():
            took, peak = _first_answer(folder)
            seconds[name] += [took] if turn else []
            peaks[name] += [peak] if peak else []
    for name in checkouts:
        spread, peak = over_rounds(seconds[name]), max(peaks[name], default=None)
        measured.add("startup", name, n=runs, seconds=spread, peak_rss_bytes=peak)


def _first_answer(folder: Path) -> tuple[float, int | None]:
    """Seconds until a process with the package of a folder has answered, and its peak memory."""
    command, pipe = [sys.executable, "-c", _FIRST_ANSWER, str(_IMAGE)], subprocess.PIPE
    start = time.perf_counter()
    with subprocess.Popen(command, cwd=folder, stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        answered, took = process.stdout.readline(), time.perf_counter() - start
        peak = peak_rss_bytes(process.pid)
    if not answered:
        raise ValueError(f"the first answer of {folder.name} did not come")
    return round(took, 3), peak
