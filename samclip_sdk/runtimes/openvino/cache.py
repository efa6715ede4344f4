"""What OpenVINO made of ONNX files, kept so that loading them again is faster.

A kept model is used only if its header names exactly what is needed and its bytes have the sha256
that the header states. A cache that cannot be read or written costs time, nothing else.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from samclip_sdk.errors import StorageError
from samclip_sdk.system.atomic_file import atomic_file
from samclip_sdk.system.user_folders import user_cache


@dataclass(frozen=True)
class CompiledKey:
    """What a model was compiled from and for; any difference makes it another one.

    Attributes:
        sha256: of the ONNX file.
        weights_sha256: of its external weights.
        precision_hint: "f32" or "bf16".
        cpu: its name.
        version: of OpenVINO.
    """

    sha256: str
    weights_sha256: tuple[str, ...]
    precision_hint: str
    cpu: str
    version: str

    def path(self, name: str) -> Path:
        """Its place in the cache, which all versions of OpenVINO share."""
        content = json.dumps({**asdict(self), "version": None}, sort_keys=True)
        digest = hashlib.sha256(content.encode()).hexdigest()[:16]
        return cache_folder() / f"{name}-{digest}.blob"

    def header(self, data: bytes) -> bytes:
        """The first line of the file that holds `data`."""
        content = {**asdict(self), "data_sha256": hashlib.sha256(data).hexdigest()}
        return json.dumps(content, sort_keys=True).encode() + b"\n"


def cache_folder() -> Path:
    """Where compiled models are kept."""
    return user_cache("openvino")


def read_compiled(name: str, *, key: CompiledKey) -> bytes | None:
    """What `write_compiled` wrote, or None where there is nothing that fits and is whole.

    Args:
        name: of the ONNX file.
        key: of the model.
    """
    try:
        header, _, data = key.path(name).read_bytes().partition(b"\n")
    except OSError:
        return None
    return data if header + b"\n" == key.header(data) else None


def write_compiled(name: str, *, key: CompiledKey, data: bytes) -> None:
    """Keeps a compiled model, if the cache can be written.

    Args:
        name: of the ONNX file.
        key: of the model.
        data: what OpenVINO exported.
    """
    path = key.path(name)
    with suppress(OSError, StorageError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as file:
            file.write(key.header(data))
            file.write(data)
