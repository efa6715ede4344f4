"""Chooses the runtime and the precision for a bundle on this device: measured once, then stored.

A runtime and a precision are a candidate if the runtime is installed. A single candidate is taken
without a test. Several candidates are tried: those whose goldens keep their bounds are timed in
turns, and the fastest is taken. The choice is valid until the bundle, a package, the processor or
the request changes. If the times vary too much to tell, the next load measures again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from samclip_sdk.bundle.manifest import GOLDEN_INDEX, GOLDEN_TENSORS
from samclip_sdk.bundle.open import Bundle
from samclip_sdk.device.auto_comparison import by_time, describe, rivals
from samclip_sdk.device.auto_records import AUTO, Device, Ratio, Request, Selection, Trial
from samclip_sdk.device.auto_trials import try_candidates
from samclip_sdk.errors import (
    BundleError,
    RuntimeMissingError,
    SamClipWarning,
    StorageError,
    VerificationError,
)
from samclip_sdk.runtimes.artifact_sets import (
    RuntimeSet,
    artifact_sets,
    find_set,
    runtime_sets,
    set_paths,
)
from samclip_sdk.runtimes.availability import why_not_installed
from samclip_sdk.runtimes.options import RuntimeOptions, why_refused
from samclip_sdk.runtimes.versions import installed_versions
from samclip_sdk.system.atomic_file import atomic_file
from samclip_sdk.system.hardware import cpu_name, gpu_name, usable_cores
from samclip_sdk.system.timing import utc_now
from samclip_sdk.system.user_folders import user_data
from samclip_sdk.system.user_warning import warn_user


def select(
    bundle: Bundle, *, runtime: str, precision: str | None, options: RuntimeOptions
) -> tuple[RuntimeSet, bool]:
    """Chooses how to run a bundle here; tries the candidates if no choice is stored.

    Args:
        bundle: the bundle to run.
        runtime: one of its runtimes, or "auto".
        precision: a precision or "auto"; None takes the first in the bundle's order that runs
            here.
        options: the runtime's options. A runtime that does not take all of them is no candidate:
            with execution providers, for instance, onnxruntime is the only candidate.

    Returns:
        The choice, and whether it was compared with the goldens here. A single candidate is not
        compared. Without goldens the first candidate in the bundle's order is taken.

    Raises:
        BundleError: the bundle has no artifacts for this runtime and precision.
        RuntimeMissingError: no runtime for them is installed.
        VerificationError: no candidate keeps the bounds.
    """
    candidates = find_candidates(bundle, runtime=runtime, precision=precision, options=options)
    if len(candidates) == 1 or not _has_goldens(bundle):
        return candidates[0], False
    request = _request(runtime, precision, options)
    chosen = _read(bundle, request=request, candidates=candidates)
    if chosen is None or not chosen.settled:
        chosen = _try(
            bundle, request=request, candidates=candidates, options=options, before=chosen
        )
    kind = (chosen.runtime, chosen.precision)
    return next(each for each in candidates if (each.runtime, each.precision) == kind), True


def remembered(
    bundle: Bundle, *, runtime: str, precision: str | None, options: RuntimeOptions
) -> Selection | None:
    """The stored choice, which `select` takes without a trial if it is settled; None without."""
    candidates = find_candidates(bundle, runtime=runtime, precision=precision, options=options)
    request = _request(runtime, precision, options)
    return _read(bundle, request=request, candidates=candidates)


def choose_again(
    bundle: Bundle, *, runtime: str, precision: str | None, options: RuntimeOptions
) -> Selection:
    """Tries the candidates, even a single one, ignores a stored choice, and stores the new one.

    The arguments and errors are those of `select`.

    Raises:
        BundleError: the bundle has no goldens.
    """
    candidates = find_candidates(bundle, runtime=runtime, precision=precision, options=options)
    bundle.file(GOLDEN_INDEX)
    request = _request(runtime, precision, options)
    return _try(bundle, request=request, candidates=candidates, options=options)


def find_candidates(
    bundle: Bundle, *, runtime: str, precision: str | None, options: RuntimeOptions
) -> tuple[RuntimeSet, ...]:
    """The candidates for a bundle whose runtimes are installed here, in the bundle's order.

    The arguments and errors are those of `select`.
    """
    asked = [
        each
        for each in runtime_sets(bundle)
        if runtime in (AUTO, each.runtime) and precision in (None, AUTO, each.precision)
    ]
    if not asked and runtime != AUTO:
        find_set(bundle, runtime=runtime, precision=None if precision == AUTO else precision)
    if not asked:
        held = ", ".join(f"{kind} {each}" for kind, each in artifact_sets(bundle))
        raise BundleError(
            f"the bundle {bundle.manifest.name} has files for {held}: nothing runs them as "
            f"{runtime} {precision}"
        )
    reasons = {each: _why_not(each.runtime, options=options) for each in asked}
    candidates = [each for each in asked if not reasons[each]]
    if not candidates:
        every_reason = "; ".join(dict.fromkeys(reasons.values()))
        wanted = "" if precision in (None, AUTO) else f" in {precision}"
        raise RuntimeMissingError(
            f"{bundle.manifest.name}{wanted} does not run here: {every_reason}"
        )
    if precision is None:
        candidates = [each for each in candidates if each.precision == candidates[0].precision]
    return tuple(candidates)


def selection_path(bundle: Bundle, *, request: Request) -> Path:
    """The path of the file that stores the choice for a request."""
    digest = hashlib.sha256(request.model_dump_json().encode()).hexdigest()[:8]
    folder = user_data("selected")
    return folder / f"{bundle.id}-{digest}.json"


def _why_not(runtime: str, *, options: RuntimeOptions) -> str:
    """The reason why a runtime is no candidate; empty if it is one. Does not import the runtime."""
    reason = why_refused(runtime, options=options) or why_not_installed(runtime)
    if reason or runtime != "tensorrt":
        return reason
    from samclip_sdk.runtimes.tensorrt.engine import engine_cache

    if any(engine_cache().glob("*.engine")):
        return ""
    return "TensorRT has no engines yet: run `samclip compile`"


def _request(runtime: str, precision: str | None, options: RuntimeOptions) -> Request:
    return Request(
        runtime=runtime,
        precision=precision,
        device=options.device,
        providers=tuple(options.providers),
        compute_units=options.compute_units,
        threads=options.threads,
    )


def _device() -> Device:
    return Device(
        cpu=cpu_name(), cores=usable_cores(), gpu=gpu_name(), versions=installed_versions()
    )


def _has_goldens(bundle: Bundle) -> bool:
    return GOLDEN_INDEX in {stored.path for stored in bundle.manifest.files}


def _read(
    bundle: Bundle, *, request: Request, candidates: Sequence[RuntimeSet]
) -> Selection | None:
    """The stored choice, if it was made from the same candidates on an unchanged device."""
    try:
        content = selection_path(bundle, request=request).read_bytes()
        known = Selection.model_validate_json(content)
    except (OSError, ValidationError):
        return None
    same = (
        (known.bundle_id, known.request) == (bundle.id, request)
        and {(each.runtime, each.precision) for each in known.trials}
        == {(each.runtime, each.precision) for each in candidates}
        and known.device == _device()
    )
    return known if same else None


def _try(
    bundle: Bundle,
    *,
    request: Request,
    candidates: Sequence[RuntimeSet],
    options: RuntimeOptions,
    before: Selection | None = None,
) -> Selection:
    """Tries every candidate and stores the fastest; `before` is the choice that was in doubt."""
    # Any error refuses a candidate. So all files are downloaded first: a broken connection must
    # not refuse one.
    goldens = [
        each.path for each in bundle.manifest.files if each.path in (GOLDEN_INDEX, GOLDEN_TENSORS)
    ]
    sets = [path for each in candidates for path in set_paths(bundle.manifest, runtime_set=each)]
    bundle.gather(dict.fromkeys([*sets, *goldens]))
    trials = try_candidates(bundle, candidates=candidates, options=options)
    ranked = by_time(trials)
    if not ranked:
        reasons = "; ".join(f"{each.name}: {each.refused}" for each in trials)
        raise VerificationError(
            f"no runtime here computes {bundle.manifest.name} correctly: {reasons}"
        )
    best = ranked[0][1]
    in_doubt = _count_doubts(ranked, before=before)
    selection = Selection(
        bundle_id=bundle.id,
        request=request,
        device=_device(),
        runtime=best.runtime,
        precision=best.precision,
        reason=describe(ranked, in_doubt=in_doubt),
        date=utc_now(),
        trials=trials,
        in_doubt=in_doubt,
    )
    _remember(selection, path=selection_path(bundle, request=request))
    return selection


def _count_doubts(ranked: Sequence[tuple[Ratio, Trial]], *, before: Selection | None) -> int:
    """How often in a row the fastest came out in doubt, this time included; 0 without a doubt."""
    if not rivals(ranked):
        return 0
    return before.in_doubt + 1 if before and before.name == ranked[0][1].name else 1


def _remember(selection: Selection, *, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as file:
            file.write(f"{selection.model_dump_json()}\n".encode())
    except (OSError, StorageError) as error:
        warn_user(
            f"{selection.runtime} {selection.precision} was chosen for now; the choice cannot be "
            f"kept, so the next start tries all of them again: {error}",
            SamClipWarning,
        )
