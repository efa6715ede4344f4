"""Opens a model by the caller's names for the runtime (or "auto"), the model and the precision."""

from __future__ import annotations

import os
from difflib import get_close_matches

from samclip_sdk.bundle.hub.opening import open_named_bundle
from samclip_sdk.bundle.hub.options import DEFAULT_HUB, HubOptions
from samclip_sdk.bundle.hub.repository import is_repository_name
from samclip_sdk.bundle.manifest import MANIFEST_NAME
from samclip_sdk.bundle.open import (
    DEFAULT_CHECKPOINT,
    DEFAULT_MODEL,
    embedded_bundles,
    is_embedded,
)
from samclip_sdk.device.auto_records import AUTO
from samclip_sdk.errors import BundleError, OptionError, RuntimeMissingError, one_line
from samclip_sdk.runtimes.availability import check_any_runtime, check_runtime
from samclip_sdk.runtimes.opening import check_openable
from samclip_sdk.runtimes.options import DEFAULT_OPTIONS, RuntimeOptions, check_options
from samclip_sdk.runtimes.source import BundleSource, ModelSource, OpenedSource
from samclip_sdk.runtimes.table import RUNTIMES

NAMES = (AUTO, *RUNTIMES)
"""The names that `SamClip.load` takes as a runtime; any other name is a model."""

_SPELLED_ALIKE = 0.7  # difflib's ratio: onxx and onnx .75, tflite and litert .67


def split_name(
    name: str | os.PathLike[str], *, model: str | os.PathLike[str] | None
) -> tuple[str, str | os.PathLike[str]]:
    """Splits a caller's name, and the optional model beside it, into a runtime and a model.

    Returns:
        A runtime's name and the default model, or "auto" and a model.

    Raises:
        RuntimeMissingError: the name is not a runtime, although a model is given beside it.
        BundleError: the name is neither a runtime nor a model.
    """
    if name in NAMES:
        return str(name), DEFAULT_MODEL if model is None else model
    known = ", ".join(NAMES)
    shown, meant = one_line(os.fspath(name)), _meant(os.fspath(name))
    if model is not None:
        raise RuntimeMissingError(
            f"unknown runtime {shown!r}{meant}: use {known}; a model is given as "
            f"{one_line(os.fspath(model))} already"
        )
    if not (os.path.exists(name) or is_repository_name(name) or name in embedded_bundles()):
        raise BundleError(
            f"{shown} is neither a runtime nor a model{meant}; runtimes are {known}; a model is a "
            f"folder or .zip, {' or '.join(embedded_bundles())}, or org/name of a hub"
        )
    return AUTO, name


def _meant(name: str) -> str:
    """The runtime or embedded model that a name is meant for, if it is nearly spelled so."""
    lowered, names = name.lower(), [*NAMES, *embedded_bundles()]
    alike = [each for each in NAMES if lowered.startswith(each)]
    alike += get_close_matches(lowered, names, n=1, cutoff=_SPELLED_ALIKE)
    return f' (did you mean "{alike[0]}"?)' if alike else ""


def open_source(
    runtime: str,
    *,
    model: str | os.PathLike[str],
    precision: str | None,
    public_key: str | os.PathLike[str] | None = None,
    options: RuntimeOptions = DEFAULT_OPTIONS,
    hub: HubOptions = DEFAULT_HUB,
) -> OpenedSource:
    """Opens a model on a runtime.

    Args:
        runtime: one of `NAMES`. "torch" reads checkpoint folders, all others read bundles. "auto"
            takes the fastest runtime here, see `auto.select`; for a checkpoint it is "torch".
        model: a bundle's folder, .zip or name, a repository of a hub, or a checkpoint folder.
        precision: the precision for a bundle; its preferred one if None, the fastest if "auto".
        public_key: the key that must have signed the bundle, see `open_bundle`; not checked if
            None.
        options: the runtime's options.
        hub: how a repository is downloaded from its hub.

    Raises:
        OptionError: the runtime does not take one of the options, or a key is given with a
            checkpoint.
        RuntimeMissingError: the runtime is unknown or not installed, or its device or an execution
            provider is missing.
        BundleError: the model cannot be opened, or not with this runtime; HubError if the hub does
            not deliver it.
        VerificationError: "auto" found no runtime whose goldens keep their bounds.
    """
    if runtime not in NAMES:
        names = ", ".join(NAMES)
        raise RuntimeMissingError(f"unknown runtime {runtime!r}{_meant(runtime)}: use {names}")
    if runtime == AUTO and _is_checkpoint(model):
        runtime = "torch"
    if runtime != AUTO:
        check_options(runtime, options=options)
    if runtime == "torch":
        if public_key is not None:
            raise OptionError(
                "a checkpoint has no signature: export it, sign the bundle, and load that"
            )
        if is_embedded(model):
            raise BundleError(
                f'{model} is a bundle inside the package, and "torch" runs checkpoints: give the '
                f"folder of one as model; a checkout has this one's in {DEFAULT_CHECKPOINT}"
            )
        if precision not in (None, AUTO, "fp32"):
            raise BundleError(f"a checkpoint runs in fp32, not in {precision}")
        from samclip_sdk.runtimes.torch.session import Checkpoint

        return Checkpoint(model, device=options.device or "cpu")
    if runtime == AUTO:
        check_any_runtime()
    else:
        check_runtime(runtime)
    if _is_checkpoint(model):
        raise BundleError(f'{os.fspath(model)} is a checkpoint: load it with "torch", or export it')
    bundle, warn = (
        open_named_bundle(model, public_key=public_key, hub=hub, on_progress=options.on_progress),
        True,
    )
    if AUTO in (runtime, precision):
        from samclip_sdk.device.auto import select  # with the goldens, by which it tries all

        chosen, compared = select(bundle, runtime=runtime, precision=precision, options=options)
        runtime, precision, warn = chosen.runtime, chosen.precision, not compared
    check_openable(runtime, precision=precision, options=options)
    return BundleSource(bundle, runtime=runtime, precision=precision, options=options, warn=warn)


def opened_source(source: ModelSource | None) -> ModelSource:
    """Where a model's graphs come from; an OptionError if it is only its name, or nothing."""
    if source is None or isinstance(source, str | os.PathLike):
        raise OptionError('a model is opened by SamClip.load, such as SamClip.load("onnx")')
    return source


def _is_checkpoint(model: str | os.PathLike[str]) -> bool:
    if is_embedded(model):
        return False
    weights, manifest = (os.path.join(model, name) for name in ("model.safetensors", MANIFEST_NAME))
    return os.path.isfile(weights) and not os.path.isfile(manifest)
