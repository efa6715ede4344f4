"""Compares this device with eager torch: re-runs a bundle's goldens, and stores the sign-off."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable

from pydantic import computed_field

from samclip_sdk.bundle.hub.opening import open_named_bundle
from samclip_sdk.device.golden_checks import golden_checks
from samclip_sdk.device.goldens.check import Check, describe_failures
from samclip_sdk.errors import VerificationError
from samclip_sdk.runtimes.opening import check_openable
from samclip_sdk.runtimes.options import DEFAULT_OPTIONS, RuntimeOptions
from samclip_sdk.runtimes.sign_off import SignOffKey, write_sign_off
from samclip_sdk.runtimes.source import BundleSource
from samclip_sdk.runtimes.versions import installed_versions
from samclip_sdk.system.records import Record
from samclip_sdk.system.timing import utc_now


class VerificationReport(Record):
    """The report of `verify_bundle`.

    Attributes:
        name: the model's name.
        key: the bundle, runtime, device and so on that the report is valid for.
        system: the operating system it ran on.
        versions: package -> version, of this package and the runtimes.
        date: ISO 8601, UTC.
        quick: whether tasks ran on two images only.
        checks: the checks, in the order they were made.
        passed: whether every check passed.
    """

    name: str
    key: SignOffKey
    system: str
    versions: dict[str, str]
    date: str
    quick: bool = False
    checks: tuple[Check, ...]

    @computed_field  # type: ignore[prop-decorator]  # mypy knows no decorator over a property
    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    def raise_if_failed(self) -> None:
        """Raises VerificationError if a check failed; the message names the worst."""
        failures = describe_failures(self.checks, subject=str(self.key))
        if failures:
            raise VerificationError(failures)

    def sign_off(self) -> None:
        """Stores the report, so that loading these artifacts here no longer warns.

        Raises:
            VerificationError: a check failed.
            StorageError: the report cannot be written.
        """
        self.raise_if_failed()
        write_sign_off(self.key.path, report=self.model_dump_json())


def verify_bundle(
    model: str | os.PathLike[str],
    *,
    runtime: str = "onnx",
    precision: str | None = None,
    public_key: str | os.PathLike[str] | None = None,
    quick: bool = False,
    options: RuntimeOptions = DEFAULT_OPTIONS,
    on_check: Callable[[Check], None] = lambda check: None,
) -> VerificationReport:
    """Verifies every file's sha256, then re-runs every golden.

    Args:
        model: a bundle's folder, .zip or name, or a repository of a hub. From a hub only the files
            that are run or compared are downloaded.
        runtime: "onnx", "openvino", "coreml", "tensorrt", "litert" or "executorch".
        precision: the artifacts' precision; the bundle's preferred one if None.
        public_key: the key that must have signed the bundle, see `open_bundle`; not checked if
            None.
        quick: run whole tasks on two images only, which a slow device does in an eighth of the
            time; all else is checked as ever.
        options: the runtime's options.
        on_check: called with each check as soon as it is made.

    Returns:
        The report. A failed check raises nothing: see `VerificationReport.passed`.

    Raises:
        BundleError: the bundle cannot be opened, one of its files was changed, or it has no
            goldens.
        OptionError: the runtime does not take one of the options.
        RuntimeMissingError: the runtime is not installed, or its device or an execution provider
            is missing.
    """
    check_openable(runtime, precision=precision, options=options)
    bundle = open_named_bundle(model, public_key=public_key, on_progress=options.on_progress)
    bundle.verify()
    source = BundleSource(bundle, runtime=runtime, precision=precision, options=options, warn=False)
    checks = []
    for check in golden_checks(bundle, source=source, precision=source.precision, quick=quick):
        checks.append(check)
        on_check(check)
    return VerificationReport(
        name=bundle.manifest.name,
        key=source.sign_off_key,
        system=platform.platform(),
        versions=installed_versions(),
        date=utc_now(),
        quick=quick,
        checks=tuple(checks),
    )
