"""From the body of a request to what is asked of which pictures; nothing of it goes to a disk."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from pydantic import ValidationError
from starlette.requests import Request

from samclip_sdk.errors import one_line
from samclip_sdk.serve.bodies import Body, off_loop, read_body
from samclip_sdk.serve.refusal import RefusedError
from samclip_sdk.serve.schema import ImageById, ImagesAsked
from samclip_sdk.serve.settings import Limits
from samclip_sdk.system.recent import Recent
from samclip_sdk.system.records import first_fault

Kind = TypeVar("Kind", bound=ImagesAsked)
Picture = tuple[str, bytes]
"""The sha256 of a picture's content, and the content."""


@dataclass(frozen=True)
class Call(Generic[Kind]):
    """What a request asks.

    Attributes:
        asked: the question; pictures in it are told by `pictures` alone.
        pictures: which it is about.
    """

    asked: Kind
    pictures: Sequence[Picture]


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
    body = await read_body(request, limits=limits)
    work = partial(_understand, body, kind, most=limits.images, stored=stored)
    return await off_loop(work, limits=limits)


def _understand(body: Body, kind: type[Kind], *, most: int, stored: Recent[bytes]) -> Call[Kind]:
    try:
        asked = kind.model_validate_json(body.question)
    except ValidationError as error:
        raise RefusedError(one_line(first_fault(error)), status=422) from error
    if body.files and asked.images:
        raise RefusedError("pictures are parts called image or in images, not both", status=422)
    count = len(body.files) or len(asked.images)
    if not 1 <= count <= most:
        raise RefusedError(
            f"there are {count} pictures; give 1 to {most}, as parts called image or in images",
            status=422,
        )
    if body.files:
        return Call(asked, [_hashed(content) for content in body.files])
    return Call(asked, _open_all(asked, body, stored))


def _open_all(asked: ImagesAsked, body: Body, stored: Recent[bytes]) -> list[Picture]:
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
            encoded = body.encoded[image.base64].replace(rb"\/", b"/")
            content = base64.b64decode(encoded, validate=True)
        except (KeyError, binascii.Error) as error:
            raise RefusedError(f"images.{place}: it is no base64", status=422) from error
        pictures.append(_hashed(content))
    return pictures


def _hashed(content: bytes) -> Picture:
    return hashlib.sha256(content).hexdigest(), content
