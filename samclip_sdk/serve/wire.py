"""The protocol between the front process and a worker: JSON and bytes, over two pipes.

Nothing is pickled, so no message can run code in the other process.
"""

from __future__ import annotations

import asyncio
import json
import struct
from typing import Any, BinaryIO

Message = tuple[dict[str, Any], bytes]

_SIZES = struct.Struct("<IQ")  # the sizes of the JSON and of the bytes


def pack_message(header: dict[str, Any], content: bytes = b"") -> tuple[bytes, bytes]:
    """A message in two pieces, so that the bytes of an image are not copied."""
    text = json.dumps(header).encode()
    return _SIZES.pack(len(text), len(content)) + text, content


def write_message(file: BinaryIO, header: dict[str, Any], content: bytes = b"") -> None:
    """Writes a message and flushes it."""
    file.writelines(pack_message(header, content))
    file.flush()


def read_message(file: BinaryIO) -> Message | None:
    """Reads a message; None if the other process is gone."""
    sizes = _read_all(file, _SIZES.size)
    if sizes is None:
        return None
    header_bytes, content_bytes = _SIZES.unpack(sizes)
    header, content = _read_all(file, header_bytes), _read_all(file, content_bytes)
    return None if header is None or content is None else (json.loads(header), content)


async def receive_message(reader: asyncio.StreamReader) -> Message | None:
    """Reads a message without blocking the event loop; None if the other process is gone."""
    try:
        header_bytes, content_bytes = _SIZES.unpack(await reader.readexactly(_SIZES.size))
        header = await reader.readexactly(header_bytes)
        return json.loads(header), await reader.readexactly(content_bytes)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


def _read_all(file: BinaryIO, size: int) -> bytes | None:
    content = file.read(size)
    return content if len(content) == size else None
