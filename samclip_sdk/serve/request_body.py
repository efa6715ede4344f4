"""The body of a request: read within limits, and split before any of it is parsed.

A JSON document may take a hundred times its length once it is parsed. So images, which are long,
are taken out of it unparsed, and the rest, the question, must be short. Nothing is written to disk.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import io
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, TypeVar

from pydantic import ValidationError
from python_multipart.multipart import parse_options_header
from starlette.requests import ClientDisconnect, Request

from samclip_sdk.errors import one_line
from samclip_sdk.serve.errors import RefusedError
from samclip_sdk.serve.multipart_form import MultipartForm, check_question
from samclip_sdk.serve.schema import ImageById, ImagesRequest
from samclip_sdk.serve.settings import Limits
from samclip_sdk.serve.wrong_fields import tell_wrong_field
from samclip_sdk.system.recent import Recent

Value = TypeVar("Value")
Kind = TypeVar("Kind", bound=ImagesRequest)
HashedImage = tuple[str, bytes]
"""The sha256 of an image file's content, and the content."""

_JSON, _FORM = b"application/json", b"multipart/form-data"
_CHARSETS = (b"utf-8", b"utf8", b"us-ascii")

# No string holds an unescaped quote, so this pattern matches where a key begins or ends, and never
# inside a text. Some encoders write / as \/.
_BASE64 = re.compile(rb'("base64"\s*:\s*)"([A-Za-z0-9+/=\\]+)(?<!\\)"')


@dataclass(frozen=True)
class Body:
    """A body in parts.

    Attributes:
        question: the JSON; in the place of an image's base64 stands a key of `encoded`.
        encoded: the base64 of each image in the JSON.
        files: the images of a form.
    """

    question: bytes
    encoded: Mapping[str, bytes] = field(default_factory=dict)
    files: Sequence[bytes] = ()


async def read_body(request: Request, *, limits: Limits) -> Body:
    """Reads the body of a request and splits it.

    Args:
        request: the request, whose body is JSON or multipart/form-data, in UTF-8.
        limits: the limits of size and time.

    Raises:
        RefusedError: the body has another type, is too large or too slow, or is no valid form.
    """
    kind, said = parse_options_header(request.headers.get("content-type"))
    if kind not in (_JSON, _FORM):
        raise RefusedError(
            f"the content type is {_shown(kind)!r}; send application/json or multipart/form-data",
            status=415,
        )
    charset = said.get(b"charset", b"utf-8")
    if charset.lower() not in _CHARSETS:
        raise RefusedError(f"the charset is {_shown(charset)!r}; send utf-8", status=415)
    content = await _receive(request, limits=limits)
    apart = partial(_of_form, boundary=said.get(b"boundary", b"")) if kind == _FORM else _of_json
    return await off_loop(partial(apart, content, limits=limits), limits=limits)


async def off_loop(work: Callable[[], Value], *, limits: Limits) -> Value:
    """Does slow work in a thread, so that other requests are answered meanwhile.

    Raises:
        RefusedError: the work takes longer than a body may; or an error of `work`.
    """
    late = f"the body could not be read within {limits.body_s} s"
    return await _in_time(asyncio.to_thread(work), limit_s=limits.body_s, late=late)


async def _in_time(work: Awaitable[Value], *, limit_s: int, late: str) -> Value:
    # Not wait_for: its error and the frame that raised it refer to each other, and so keep the body
    # in memory until garbage is collected.
    task = asyncio.ensure_future(work)
    try:
        if not (await asyncio.wait((task,), timeout=limit_s))[0]:
            raise RefusedError(late, status=408)
        return task.result()
    finally:
        task.cancel()
        del task


async def _receive(request: Request, *, limits: Limits) -> bytes:
    maximum = limits.body_mb * 1_000_000
    told = request.headers.get("content-length", "")
    received = io.BytesIO()

    async def receive() -> None:
        async for piece in request.stream():
            received.write(piece)
            if received.tell() > maximum:
                raise _too_large(limits)

    if told.isascii() and told.isdecimal() and int(told) > maximum:
        raise _too_large(limits)
    late = f"the body did not arrive within {limits.body_s} s"
    try:
        await _in_time(receive(), limit_s=limits.body_s, late=late)
    except ClientDisconnect as error:
        raise RefusedError("the body ended early", status=400) from error
    return received.getvalue()


def _too_large(limits: Limits) -> RefusedError:
    return RefusedError(
        f"the body has more than {limits.body_mb} MB, which this server takes at most", status=413
    )


def _of_form(content: bytes, *, boundary: bytes, limits: Limits) -> Body:
    question_bytes = 1000 * limits.question_kb
    form = MultipartForm(
        content, boundary=boundary, maximum=limits.images, question_bytes=question_bytes
    )
    return Body(b"{}" if form.question is None else form.question, files=form.images)


def _of_json(content: bytes, *, limits: Limits) -> Body:
    encoded: dict[str, bytes] = {}

    def take(found: re.Match[bytes]) -> bytes:
        if len(encoded) == limits.images:
            raise RefusedError(
                f"there are more than {limits.images} images, which this server takes at most",
                status=422,
            )
        key = str(len(encoded))
        encoded[key] = found[2]
        return b'%b"%b"' % (found[1], key.encode())

    question = _BASE64.sub(take, content)
    check_question(len(question), maximum=1000 * limits.question_kb)
    return Body(question, encoded=encoded)


def _shown(value: bytes) -> str:
    return one_line(value.decode("latin-1"), limit=40)


@dataclass(frozen=True)
class Call(Generic[Kind]):
    """A request that was read.

    Attributes:
        asked: the question; its `images` are replaced by `images`.
        images: the images that the question is about.
    """

    asked: Kind
    images: Sequence[HashedImage]


async def read_call(
    request: Request, kind: type[Kind], *, limits: Limits, stored: Recent[bytes]
) -> Call[Kind]:
    """Reads and validates a request.

    Args:
        request: the request, whose body is JSON or multipart/form-data.
        kind: the model of the body.
        limits: the limits of the body and its images.
        stored: the uploaded images that the request may name.

    Raises:
        RefusedError: the body is too large or too slow, has another type, or does not validate.
    """
    body = await read_body(request, limits=limits)
    work = partial(_understand, body, kind, maximum=limits.images, stored=stored)
    return await off_loop(work, limits=limits)


def _understand(body: Body, kind: type[Kind], *, maximum: int, stored: Recent[bytes]) -> Call[Kind]:
    try:
        asked = kind.model_validate_json(body.question)
    except ValidationError as error:
        raise RefusedError(tell_wrong_field(error, of=kind), status=422) from error
    if body.files and asked.images:
        raise RefusedError("images are parts called image or in images, not both", status=422)
    count = len(body.files) or len(asked.images)
    if not 1 <= count <= maximum:
        raise RefusedError(
            f"there are {count} images; give 1 to {maximum}, as parts called image or in images",
            status=422,
        )
    if body.files:
        return Call(asked, [_hashed(content) for content in body.files])
    return Call(asked, _open_all(asked, body, stored))


def _open_all(request: ImagesRequest, body: Body, stored: Recent[bytes]) -> list[HashedImage]:
    """The images that a question names by id or holds in base64."""
    images = []
    for index, image in enumerate(request.images):
        if isinstance(image, ImageById):
            content = stored.get(image.id)
            if content is None:
                raise RefusedError(
                    f"images.{index}: no image {image.id} is kept here; upload it to /v1/images",
                    status=404,
                )
            images.append((image.id, content))
            continue
        try:
            encoded = body.encoded[image.base64].replace(rb"\/", b"/")
            content = base64.b64decode(encoded, validate=True)
        except (KeyError, binascii.Error) as error:
            raise RefusedError(f"images.{index}: it is not base64", status=422) from error
        images.append(_hashed(content))
    return images


def _hashed(content: bytes) -> HashedImage:
    return hashlib.sha256(content).hexdigest(), content
