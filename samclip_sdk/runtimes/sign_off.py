"""The stored reports of `samclip verify` on this device, so that loading does not warn again."""

from __future__ import annotations

import hashlib
from pathlib import Path

from samclip_sdk.errors import StorageError
from samclip_sdk.system.atomic_file import atomic_file
from samclip_sdk.system.records import Record
from samclip_sdk.system.user_folders import user_data


class SignOffKey(Record):
    """The key of a report, which is valid for exactly this combination.

    Attributes:
        bundle_id: the bundle's id.
        runtime: the runtime that ran it.
        precision: the precision that it ran in.
        providers: onnxruntime's execution providers, the preferred one first; empty for other
            runtimes.
        compute_units: Core ML's compute units; "all" for other runtimes.
        device: the processor or GPU that it ran on.
        version: the versions of the runtime's packages.
    """

    bundle_id: str
    runtime: str
    precision: str
    providers: tuple[str, ...]
    compute_units: str
    device: str
    version: str

    @property
    def path(self) -> Path:
        """The path of the report; the file exists if the checks have passed."""
        digest = hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]
        folder = user_data("verified")
        return folder / f"{self.bundle_id}-{self.runtime}-{self.precision}-{digest}.json"

    def __str__(self) -> str:
        """The runtime, the precision, and the providers and compute units if they were chosen."""
        units = (self.compute_units,) if self.compute_units != "all" else ()
        # The last provider is always the CPU, which runs what the others cannot.
        return " ".join((self.runtime, self.precision, *self.providers[:-1], *units))


def write_sign_off(path: Path, *, report: str) -> None:
    """Writes a report that has passed.

    Raises:
        StorageError: the report cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from error
    with atomic_file(path) as file:
        file.write(f"{report}\n".encode())
