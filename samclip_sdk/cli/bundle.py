"""The commands about a bundle and this device: `samclip info | verify | compile`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Annotated

import typer

from samclip_sdk.bundle.artifact_sets import artifact_sets, runtime_sets
from samclip_sdk.bundle.graph_spec import GraphSpec
from samclip_sdk.bundle.manifest import Manifest
from samclip_sdk.bundle.open import Bundle, open_bundle
from samclip_sdk.cli.terminal import print_json, print_table, show_progress, working
from samclip_sdk.cli.tune import auto_choice, print_auto_choice
from samclip_sdk.client import DEFAULT_MODEL
from samclip_sdk.errors import RuntimeMissingError
from samclip_sdk.runtimes.availability import runtime_states
from samclip_sdk.runtimes.options import COMPUTE_UNITS, RuntimeOptions
from samclip_sdk.session import GraphFile
from samclip_sdk.verify.verify import VerificationReport, verify_bundle

BundleName = Annotated[str, typer.Argument(metavar="[BUNDLE]", help="its folder, .zip or name")]
AsJson = Annotated[bool, typer.Option("--json", help="print one line of JSON")]
AnyPrecision = Annotated[
    str | None, typer.Option(help="of the artifacts; by default all that the bundle has")
]


def info(
    bundle: BundleName = DEFAULT_MODEL,
    runtimes: Annotated[
        bool,
        typer.Option("--runtimes", help="tell what loads on this machine, and what auto takes"),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Tell what a bundle holds, or with --runtimes what can run here and why the rest cannot."""
    if runtimes:
        _print_runtimes(bundle, as_json=as_json)
        return
    with working("opening"):
        opened = open_bundle(bundle)
    manifest = opened.manifest
    if as_json:
        print_json({"id": opened.id, "manifest": manifest.model_dump(mode="json")})
        return
    print_table(("", f"{manifest.name} {manifest.revision}"), _facts(opened, manifest=manifest))
    rows = [
        (
            name,
            f"{artifact.runtime} {artifact.precision}",
            f"{artifact.size_bytes / 1e6:.2f} MB",
            artifact.parity.measured_on or "never measured",
        )
        for name, graph in manifest.graphs.items()
        for artifact in graph.artifacts
    ]
    print_table(("graph", "artifact", "size without weights", "compared with torch on"), rows)


def verify(
    bundle: BundleName = DEFAULT_MODEL,
    runtime: Annotated[
        str | None,
        typer.Option(help="onnx, openvino, coreml or tensorrt; by default all but the last"),
    ] = None,
    precision: AnyPrecision = None,
    as_json: AsJson = False,
) -> None:
    """Check a bundle's files, and that this device computes what the reference did.

    What passes is signed off: loading it here warns no more.
    """
    with working("checking the files") as status:
        wanted = _choose(open_bundle(bundle), runtime=runtime, precision=precision)
        reports = [
            verify_bundle(
                bundle,
                runtime=kind,
                precision=each,
                options=RuntimeOptions(compute_units=units, on_progress=show_progress),
                on_check=lambda check: status.update(f"checked {check.name}"),
            )
            for kind, each in wanted
            for units in (COMPUTE_UNITS if kind == "coreml" else COMPUTE_UNITS[:1])
        ]
    for report in reports:
        if as_json:
            typer.echo(report.to_json())
        else:
            _print_report(report)
    with working("signing off"):
        for report in reports:
            report.sign_off()


def compile_engines(
    bundle: BundleName = DEFAULT_MODEL, precision: AnyPrecision = None, as_json: AsJson = False
) -> None:
    """Build TensorRT engines for this machine's GPU now, instead of at first use."""
    from samclip_sdk.runtimes.trt_cuda import current_gpu
    from samclip_sdk.runtimes.trt_engine import compile_engine

    rows = []
    with working("asking for the GPU") as status:
        opened, gpu = open_bundle(bundle), current_gpu()
        for file, spec in _onnx_files(opened, precision=precision):
            what = file.path.name

            def show(phase: str, step: int, steps: int, what: str = what) -> None:
                status.update(f"building {what}: {phase} {step}/{steps}")

            engine = compile_engine(file, spec=spec, gpu=gpu, on_progress=show)
            size = f"{len(engine.data) / 1e6:.1f} MB"
            rows.append((what, size, "built" if engine.built else "was there"))
    if as_json:
        engines = [{"file": what, "size": size, "state": state} for what, size, state in rows]
        print_json({"gpu": gpu.name, "engines": engines})
        return
    print_table(("file", f"engine for {gpu.name}", ""), rows)


def _onnx_files(bundle: Bundle, *, precision: str | None) -> Iterator[tuple[GraphFile, GraphSpec]]:
    """The ONNX files of a bundle in one precision, or in all that it has."""
    precisions = [each for kind, each in artifact_sets(bundle) if kind == "onnx"]
    for each in [precision] if precision else precisions:
        for name, spec in bundle.manifest.graphs.items():
            yield bundle.graph_files(name, runtime="onnx", precision=each)[0], spec


def _choose(
    bundle: Bundle, *, runtime: str | None, precision: str | None
) -> list[tuple[str, str | None]]:
    """The sets of artifacts to verify: those asked for, or all that load here.

    Raises:
        RuntimeMissingError: none of the bundle's runtimes loads here.
    """
    # TensorRT would build the engines of every precision, for minutes: one at a time.
    if runtime is not None and (precision is not None or runtime == "tensorrt"):
        return [(runtime, precision)]
    asked = [
        each
        for each in runtime_sets(bundle)
        if runtime in (None, each.runtime) and precision in (None, each.precision)
    ]
    if not asked:
        return [(runtime or "onnx", precision)]  # verifying it says what there is instead
    states = runtime_states()
    loading = {state.name.partition(" ")[0] for state in states if state.loads} - {"tensorrt"}
    failing = {state.name for state in states if not state.loads}
    chosen: list[tuple[str, str | None]] = [
        (each.runtime, each.precision)
        for each in asked
        if runtime is not None or each.runtime in loading
        if str(each) not in failing
    ]
    if not chosen:
        raise RuntimeMissingError(
            f"nothing of {bundle.manifest.name} runs here: see `samclip info --runtimes`"
        )
    return chosen


def _print_report(report: VerificationReport) -> None:
    rows = [
        (each.name, f"{each.error:.2g}", f"{each.bound:.2g}", "ok" if each.passed else "FAILED")
        for each in report.checks
    ]
    print_table((f"check of {report.key}", "error", "bound", ""), rows)


def _print_runtimes(bundle: str, *, as_json: bool) -> None:
    with working("trying the runtimes"):
        states = runtime_states()
        choice = auto_choice(open_bundle(bundle))
    if as_json:
        auto = choice if isinstance(choice, str) else choice.model_dump(mode="json")
        print_json({"runtimes": [dataclasses.asdict(state) for state in states], "auto": auto})
        return
    rows = [
        (state.name, state.version, "yes" if state.loads else "no", state.reason)
        for state in states
    ]
    print_table(("runtime", "version", "loads here", "why not"), rows)
    print_auto_choice(choice)


def _facts(bundle: Bundle, *, manifest: Manifest) -> list[tuple[str, str]]:
    """What a person wants to know of a bundle first."""
    segmentation, classification = manifest.tasks.segmentation, manifest.tasks.classification
    size = sum(stored.size_bytes for stored in manifest.stored_files())
    return [
        ("bundle", bundle.id),
        ("size", f"{size / 1e6:.1f} MB"),
        ("weights", "random" if manifest.random_weights else "trained"),
        ("segmentation", f"{segmentation.resolution} px, {segmentation.crop}"),
        ("classification", f"{classification.resolution} px, {classification.crop}"),
        ("templates", str(len(manifest.text.templates))),
        ("presence threshold", f"{manifest.calibration.presence_threshold:.3f}"),
        ("licences", ", ".join(f"{each.part}: {each.spdx}" for each in manifest.licences)),
    ]
