"""From the body of a request to what is asked of which pictures; nothing of it goes to a disk."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from samclip_sdk.bundle.graph_spec import first_fault
from samclip_sdk.errors import one_line
from samclip_sdk.serve.recent import Recent
from samclip_sdk.serve.refusal import RefusedError
from samclip_sdk.serve.schema import ImageById, ImagesAsked
from samclip_sdk.serve.settings import Limits

Kind = TypeVar("Kind", bound=ImagesAsked)
Picture = tuple[str, bytes]
"""The sha256 of a picture's content, and the content."""

_LARGE_BYTES = 1 << 18  # what takes longer than changing threads does


@dataclass(frozen=True)
class Call(Generic[Kind]):
    """What a request asks.

    Attributes:
        asked: the question.
        pictures: which it is about.
    """

    asked: Kind
    pictures: Sequence[Picture]


class InMemory(MultiPartParser):
    """Starlette's parser, without temporary files: the whole body is bounded.

    Attributes:
        ended: whether the last boundary has come; what comes before it may be half a part.
    """

    spool_max_size = 1 << 40
    ended = False

    def on_end(self) -> None:
        """Called at the last boundary."""
        self.ended = True


async def read_call(
    request: Request, kind: type[Kind], *, limits: Limits, stored: Recent[bytes]
) -> Call[Kind]:
    """Reads a request.

    Args:
        request: with a body of JSON or multipart/form-data.
        kind: what it is to hold.
        limits: of its body and pictures.
        stored: the pictures that it may name.

    Raises:
        RefusedError: it is too large, too slow, of another type, or not what it is to be.
    """
    type_of_body = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if type_of_body not in ("application/json", "multipart/form-data"):
        raise RefusedError(
            f"the content type is {one_line(type_of_body)!r}; send application/json or "
            "multipart/form-data",
            status=415,
        )
    body = await read_body(request, limits=limits)
    if type_of_body == "multipart/form-data":
        text, files = await _read_parts(request, body, most=limits.images)
    else:
        text, files = body, []
    large = len(body) > _LARGE_BYTES
    asked = await asyncio.to_thread(_parse, kind, text) if large else _parse(kind, text)
    if files and asked.images:
        raise RefusedError("pictures are parts called image or in images, not both", status=422)
    count = len(files) or len(asked.images)
    if not 1 <= count <= limits.images:
        raise RefusedError(
            f"there are {count} pictures; give 1 to {limits.images}, as parts called image or in "
            "images",
            status=422,
        )
    open_all = partial(_hashed, files) if files else partial(_open_all, asked, stored)
    return Call(asked, await asyncio.to_thread(open_all) if large else open_all())


async def read_body(request: Request, *, limits: Limits) -> bytes:
    """The body, if it is small enough and arrives in time.

    Raises:
        RefusedError: it does not.
    """
    most = limits.body_mb * 1_000_000
    told = request.headers.get("content-length", "")
    too_large = RefusedError(
        f"the body has more than {limits.body_mb} MB, which this server takes at most", status=413
    )
    if told.isascii() and told.isdecimal() and int(told) > most:
        raise too_large
    body = bytearray()

    async def read() -> None:
        async for piece in request.stream():
            body.extend(piece)
            if len(body) > most:
                raise too_large

    try:
        await asyncio.wait_for(read(), limits.body_s)
    except asyncio.TimeoutError as error:
        raise RefusedError(
            f"the body did not arrive within {limits.body_s} s", status=408
        ) from error
    except ClientDisconnect as error:
        raise RefusedError("the body ended early", status=400) from error
    return bytes(body)


async def _read_parts(request: Request, body: bytes, *, most: int) -> tuple[bytes, list[bytes]]:
    """The part `request`, {} if it is not there, and the parts `image`."""

    async def whole() -> AsyncGenerator[bytes, None]:
        yield body
        if not parser.ended:
            raise MultiPartException("it ends early.")

    try:
        parser = InMemory(
            request.headers, whole(), max_files=most, max_fields=1, max_part_size=len(body)
        )
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError) as error:
        said = getattr(error, "message", "") or "its boundary is missing or wrong"
        raise RefusedError(
            f"the form cannot be read: {one_line(said)} Give pictures as files called image, and "
            "all else as JSON in one field called request",
            status=422,
        ) from error
    try:
        return await _parts_of(form)
    finally:
        await form.close()


async def _parts_of(form: FormData) -> tuple[bytes, list[bytes]]:
    text, files = b"{}", []
    for name, part in form.multi_items():
        if name == "image" and isinstance(part, UploadFile):
            files.append(await part.read())
        elif name == "request":
            text = await _content_of(part)
        else:
            raise RefusedError(
                f"there is a part {one_line(name, limit=40)!r}; parts are files called image, and "
                "request, in JSON",
                status=422,
            )
    return text, files


async def _content_of(part: UploadFile | str) -> bytes:
    if isinstance(part, UploadFile):
        return await part.read()
    return part.encode("utf-8", "surrogatepass")  # half a character is refused as no JSON


def _parse(kind: type[Kind], text: bytes) -> Kind:
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        raise RefusedError(one_line(first_fault(error)), status=422) from error


def _hashed(files: Sequence[bytes]) -> list[Picture]:
    return [(hashlib.sha256(content).hexdigest(), content) for content in files]


def _open_all(asked: ImagesAsked, stored: Recent[bytes]) -> list[Picture]:
    """The pictures that a question names or holds."""
    pictures = []
    for place, image in enumerate(asked.images):
        if isinstance(image, ImageById):
            content = stored.get(image.id)
            if content is None:
                raise RefusedError(
                    f"images.{place}: no picture {image.id} is kept here; upload it to /v1/images",
                    status=404,
                )
            pictures.append((image.id, content))
            continue
        try:
            content = base64.b64decode(image.base64, validate=True)
        except (binascii.Error, ValueError) as error:
            raise RefusedError(f"images.{place}: it is no base64", status=422) from error
        pictures += _hashed([content])
    return pictures
