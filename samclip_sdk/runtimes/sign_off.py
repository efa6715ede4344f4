"""What `samclip verify` found on this device, kept so that loading need not warn again."""

from __future__ import annotations

import hashlib
from pathlib import Path

from samclip_sdk.errors import StorageError
from samclip_sdk.system.atomic_file import atomic_file
from samclip_sdk.system.records import Record
from samclip_sdk.system.user_folders import user_data


class SignOffKey(Record):
    """What a report vouches for; any difference is something that it says nothing about.

    Attributes:
        bundle_id: of the bundle.
        runtime: that ran it.
        precision: that it ran in.
        providers: onnxruntime's, the preferred one first; none elsewhere.
        compute_units: Core ML's; "all" elsewhere.
        device: the processor or GPU that it ran on.
        version: of the runtime's package.
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
        """Where the report lies, once it has passed."""
        digest = hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]
        folder = user_data("verified")
        return folder / f"{self.bundle_id}-{self.runtime}-{self.precision}-{digest}.json"

    def __str__(self) -> str:
        """The runtime and the precision, and what else was chosen, in a few words."""
        units = (self.compute_units,) if self.compute_units != "all" else ()
        # Its last provider is the CPU, which takes what the others leave.
        return " ".join((self.runtime, self.precision, *self.providers[:-1], *units))


def write_sign_off(path: Path, *, report: str) -> None:
    """Writes a report that has passed.

    Raises:
        StorageError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from error
    with atomic_file(path) as file:
        file.write(f"{report}\n".encode())
