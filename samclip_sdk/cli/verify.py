"""`samclip verify`: compares this device with the reference, and gives a verdict."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from samclip_sdk.bundle.hub.opening import open_named_bundle
from samclip_sdk.bundle.open import DEFAULT_MODEL, Bundle
from samclip_sdk.cli.options import (
    AnyPrecision,
    AsJson,
    BundleModel,
    PublicKey,
    RunOptions,
    grouped,
)
from samclip_sdk.cli.terminal import Display, print_json, print_line, print_table, working
from samclip_sdk.device.goldens.check import Check, describe_failures
from samclip_sdk.device.verify import VerificationReport, verify_bundle
from samclip_sdk.errors import RuntimeMissingError
from samclip_sdk.runtimes.artifact_sets import runtime_sets
from samclip_sdk.runtimes.availability import check_runtime
from samclip_sdk.runtimes.opening import runtime_states
from samclip_sdk.runtimes.options import COMPUTE_UNITS, RuntimeOptions, check_options, why_refused
from samclip_sdk.runtimes.table import OF_BUNDLES, RUNTIMES

_NAMED_ONLY = {name for name in OF_BUNDLES if RUNTIMES[name].builds}


@grouped
def verify(
    *,
    model: BundleModel = DEFAULT_MODEL,
    runtime: Annotated[
        str | None,
        typer.Option(help=f"{', '.join(OF_BUNDLES)}; by default all but {', '.join(_NAMED_ONLY)}"),
    ] = None,
    precision: AnyPrecision = None,
    key: PublicKey = None,
    checks: Annotated[
        bool, typer.Option("--checks", help="list every check, not only those that failed")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="run tasks on two of the images, for a slow device")
    ] = False,
    run: RunOptions,
    as_json: AsJson = False,
) -> None:
    """Check a bundle's files, and that this device computes the answers of the reference.

    A set of artifacts that passes is signed off: loading it here in the same way warns no more.
    """
    with working("checking the files") as display:
        reports = _verify_all(
            display,
            model=model,
            key=key,
            runtime=runtime,
            precision=precision,
            quick=quick,
            run=run,
        )
        for report in reports:
            if report.passed:
                report.sign_off()
    for report in reports:
        if as_json:
            print_json(report.model_dump_json())
        else:
            print_line(_verdict(report))
    if not as_json:
        for report in reports:
            _print_checks(report, all_of_them=checks)
    with working("telling"):
        for report in reports:
            report.raise_if_failed()


def _verify_all(
    display: Display,
    *,
    model: str,
    key: Path | None,
    runtime: str | None,
    precision: str | None,
    quick: bool,
    run: RunOptions,
) -> list[VerificationReport]:
    """Verifies each set of artifacts that was asked for, on Core ML with all compute units."""
    options = run.for_runtime(display)
    if runtime is not None:
        check_runtime(runtime)
        check_options(runtime, options=options)
    bundle = open_named_bundle(model, public_key=key, on_progress=options.on_progress)
    ways = [
        (each, replace(options, compute_units=units))
        for each in _choose(bundle, runtime=runtime, precision=precision, options=options)
        for units in _units(each[0], units=run.compute_units, options=options)
    ]
    reports = []
    for index, ((kind, each), own) in enumerate(ways):

        def show(check: Check, done: int = index, name: str = kind) -> None:
            display.show(f"verifying {name}: {check.name}", done, len(ways))

        display.show(f"verifying {kind}", index, len(ways))
        reports.append(
            verify_bundle(
                bundle.name,
                runtime=kind,
                precision=each,
                public_key=key,
                quick=quick,
                options=own,
                on_check=show,
            )
        )
    return reports


def _units(runtime: str, *, units: str | None, options: RuntimeOptions) -> tuple[str, ...]:
    each_in_turn = "compute_units" in RUNTIMES[runtime].options and units is None
    return COMPUTE_UNITS if each_in_turn else (options.compute_units,)


def _choose(
    bundle: Bundle, *, runtime: str | None, precision: str | None, options: RuntimeOptions
) -> list[tuple[str, str | None]]:
    """The sets of artifacts to verify: those asked for, or all that run here with these options.

    Raises:
        RuntimeMissingError: there is none.
    """
    # TensorRT would build the engines of every precision, for minutes: one at a time.
    if runtime is not None and (precision is not None or runtime in _NAMED_ONLY):
        return [(runtime, precision)]
    asked = [
        each
        for each in runtime_sets(bundle)
        if runtime in (None, each.runtime) and precision in (None, each.precision)
    ]
    if not asked:
        return [(runtime or OF_BUNDLES[0], precision)]  # verifying it says what there is instead
    states = runtime_states()
    loading = {state.name.partition(" ")[0] for state in states if state.loads} - _NAMED_ONLY
    failing = {state.name for state in states if not state.loads}
    chosen: list[tuple[str, str | None]] = [
        (each.runtime, each.precision)
        for each in asked
        if str(each) not in failing
        # A runtime that was named raises its own error if it does not run.
        if runtime is not None
        or (each.runtime in loading and not why_refused(each.runtime, options=options))
    ]
    if not chosen:
        raise RuntimeMissingError(
            f"nothing of {bundle.manifest.name} runs here in this way: see "
            "`samclip info --runtimes`"
        )
    return chosen


def _verdict(report: VerificationReport) -> str:
    """The verdict: passed or failed, on which device, and how near to a bound."""
    key, count = report.key, f"{len(report.checks)}{' quick' if report.quick else ''}"
    where = f"({key.device}, {key.version})"
    failures = describe_failures(report.checks, subject=f"{report.name} on {key}")
    if failures:
        return f"FAILED: {failures} {where}"
    nearest = max(report.checks, key=_share)
    return (
        f"passed: {report.name} on {key}, {count} checks, all within {_share(nearest):.0%} of "
        f"their bounds {where}"
    )


def _print_checks(report: VerificationReport, *, all_of_them: bool) -> None:
    rows = [
        (each.name, f"{each.error:.2g}", f"{each.bound:.2g}", "ok" if each.passed else "FAILED")
        for each in report.checks
        if all_of_them or not each.passed
    ]
    if rows:
        print_table((f"check of {report.key}", "error", "bound", ""), rows)


def _share(check: Check) -> float:
    """An error as a share of its bound; for a check that must be exact, 0 or 1."""
    return check.error / check.bound if check.bound else float(check.error > 0)
