"""What `samclip verify` found on this device, kept so that loading need not warn again."""

from __future__ import annotations

from pathlib import Path

import platformdirs

from samclip_sdk.atomic_file import atomic_file
from samclip_sdk.errors import StorageError


def sign_off_path(bundle_id: str, *, runtime: str, precision: str, compute_units: str) -> Path:
    """Where the report of a bundle on a runtime lies, once it has passed."""
    name = f"{bundle_id}-{runtime}-{precision}-{compute_units}.json"
    return platformdirs.user_data_path("samclip-sdk") / "verified" / name


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
