"""Does this device compute what eager torch computed? Re-runs a bundle's goldens, and signs off."""

from __future__ import annotations

import datetime
import json
import math
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from samclip_sdk.bundle.open import open_bundle
from samclip_sdk.errors import VerificationError
from samclip_sdk.goldens.graph_checks import Check, describe_failures
from samclip_sdk.model_source import BundleSource
from samclip_sdk.runtimes.availability import installed_versions
from samclip_sdk.runtimes.base import DEFAULT_OPTIONS, RuntimeOptions
from samclip_sdk.sign_off import sign_off_path, write_sign_off
from samclip_sdk.verify.task_checks import golden_checks

COMPUTE_UNITS = ("all", "cpu_only", "cpu_and_gpu", "cpu_and_ne")


@dataclass(frozen=True)
class VerificationReport:
    """What `verify_bundle` found.

    Attributes:
        name: of the model.
        bundle_id: of the bundle.
        runtime: on which it ran.
        precision: of its artifacts.
        compute_units: of Core ML; "all" elsewhere.
        device: the system and its processor.
        versions: package -> version, of this one and the runtimes.
        date: ISO 8601, UTC.
        checks: in the order they were made.
    """

    name: str
    bundle_id: str
    runtime: str
    precision: str
    compute_units: str
    device: str
    versions: dict[str, str]
    date: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    @property
    def subject(self) -> str:
        """What was verified: the runtime, the precision, and the compute units if chosen."""
        units = "" if self.compute_units == "all" else f" {self.compute_units}"
        return f"{self.runtime} {self.precision}{units}"

    def to_json(self) -> str:
        """The report as one line of JSON; an error that is not finite is null."""
        checks: list[dict[str, Any]] = [
            {
                "name": check.name,
                "error": check.error if math.isfinite(check.error) else None,
                "bound": check.bound,
                "passed": check.passed,
            }
            for check in self.checks
        ]
        return json.dumps({**self.__dict__, "passed": self.passed, "checks": checks})

    def raise_if_failed(self) -> None:
        """Raises VerificationError, naming the checks that failed, if any did."""
        failures = describe_failures(self.checks, subject=self.subject)
        if failures:
            raise VerificationError(failures)

    def sign_off(self) -> None:
        """Keeps the report, so that loading these artifacts here no longer warns.

        Raises:
            VerificationError: a check failed.
            StorageError: it cannot be written.
        """
        self.raise_if_failed()
        path = sign_off_path(
            self.bundle_id,
            runtime=self.runtime,
            precision=self.precision,
            compute_units=self.compute_units,
        )
        write_sign_off(path, report=self.to_json())


def verify_bundle(
    model: str | os.PathLike[str],
    *,
    runtime: str = "onnx",
    precision: str | None = None,
    options: RuntimeOptions = DEFAULT_OPTIONS,
    on_check: Callable[[Check], None] = lambda check: None,
) -> VerificationReport:
    """Verifies every file's sha256, then re-runs every golden.

    Args:
        model: a bundle's folder, .zip or name.
        runtime: "onnx", "openvino", "coreml" or "tensorrt".
        precision: of the artifacts; the bundle's preferred ones if None.
        options: of the runtime.
        on_check: told of each check as soon as it is made.

    Returns:
        The report; whether it passed is for the caller to ask.

    Raises:
        BundleError: the bundle cannot be opened, a file of it was changed, or it has no goldens.
        RuntimeMissingError: the runtime is not installed.
    """
    bundle = open_bundle(model)
    bundle.verify()
    source = BundleSource(bundle, runtime=runtime, precision=precision, options=options, warn=False)
    checks = []
    for check in golden_checks(bundle, source=source, precision=source.precision):
        checks.append(check)
        on_check(check)
    return VerificationReport(
        name=bundle.manifest.name,
        bundle_id=bundle.id,
        runtime=runtime,
        precision=source.precision,
        compute_units=options.compute_units,
        device=f"{platform.platform()}, {platform.processor() or platform.machine()}",
        versions=installed_versions(),
        date=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        checks=tuple(checks),
    )
