"""What the server promises of each answer, whatever it was sent."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Sequence
from typing import Any

import httpx
import numpy as np
from PIL import Image

from samclip_sdk.image.masks import rle_to_mask
from samclip_sdk.serve.schema import (
    ClassifiedImages,
    MaskedImages,
    Problem,
    ResponseModel,
    StoredImages,
)
from tests.fuzz.promises import refuse_constant

SECRET = b"a line that only files of the server hold"
SECRET_SIZE = (37, 53)
"""Of an image that only files of the server hold."""
NO_HTTP = b"Invalid HTTP request received."
"""What uvicorn itself answers to what is no request, in plain text."""

REFUSALS = (400, 401, 404, 405, 408, 413, 415, 422, 429)

_KINDS: dict[str, type[ResponseModel]] = {"images": StoredImages, "classify": ClassifiedImages}
"""Of the answers by verb; all others are of masks."""

_PASSWORDS = b"root:x:0:0:"


def check_reply(reply: httpx.Response, *, verb: str, sizes: Sequence[tuple[int, int]] = ()) -> str:
    """Whether an answer keeps all promises.

    Args:
        reply: the answer.
        verb: which was asked; "" if it was none, or is not known.
        sizes: of the images that were asked about, in their order, if they are known.

    Returns:
        Why the request was refused, in one line; "" if it was answered.

    Raises:
        AssertionError: it breaks a promise.
    """
    for secret in (SECRET, _PASSWORDS, b"Traceback (most recent"):
        assert secret not in reply.content, f"its answer holds {secret!r}"
    assert "x-injected" not in reply.headers, "a header of the request's making"
    assert re.fullmatch(r"[\w.-]{,64}", reply.headers.get("x-request-id", "")), "an odd id"
    if reply.status_code == 200:
        _check_answer(reply, verb=verb, sizes=sizes)
        return ""
    assert reply.status_code in REFUSALS, f"status {reply.status_code}: {reply.text[:300]!r}"
    if (reply.status_code, reply.content) == (400, NO_HTTP):
        return f"400: {reply.text}"
    if not reply.content:
        return f"{reply.status_code}: an answer to HEAD has no body"
    assert reply.headers["content-type"] == "application/json", reply.headers
    problem = Problem.model_validate_json(reply.content)
    assert problem.request_id == reply.headers["x-request-id"], "another id"
    waits = reply.headers.get("retry-after", "0")
    assert (reply.status_code == 429) == (int(waits) >= 1), f"retry after {waits}"
    return f"{reply.status_code}: {problem.error}: {problem.message}"


def _check_answer(reply: httpx.Response, *, verb: str, sizes: Sequence[tuple[int, int]]) -> None:
    kind = reply.headers["content-type"].partition(";")[0]
    if kind == "application/x-ndjson":
        _check_lines([_json(line) for line in reply.content.splitlines()], sizes=sizes)
        return
    if not verb or not reply.content:  # to HEAD
        assert kind.startswith("text/") or kind == "application/json", kind
        return
    assert kind == "application/json", f"{kind} from /v1/{verb}"
    content = _json(reply.content)
    _KINDS.get(verb, MaskedImages).model_validate(content)
    answers = content["answers"]
    assert len(answers) == (len(sizes) or len(answers)), f"{len(answers)} answers"
    for index, answer in enumerate(answers):
        size = _size(answer)
        if "probs" in answer:
            assert abs(sum(answer["probs"]) - 1) < 1e-3, answer["probs"]
        else:
            _check_size(size, sizes[index] if sizes else None)
        for each in answer.get("annotations", ()):
            _check_annotation(each, size=size)


def _check_lines(lines: list[dict[str, Any]], *, sizes: Sequence[tuple[int, int]]) -> None:
    """Lines of a stream: those of each image, then one that counts them; an error is the last."""
    index, rows = 0, []
    for number, line in enumerate(lines):
        assert line["image_index"] == index, f"line {number} is of {line['image_index']}"
        if "error" in line:
            assert number == len(lines) - 1, "a line follows an error"
            assert line["message"].isprintable(), line
            return
        if "found" not in line:
            rows.append(line)
            continue
        assert line["found"] == len(rows), f"{len(rows)} lines of {line['found']}"
        size = _size(line)
        _check_size(size, sizes[index] if sizes else None)
        for each in rows:
            _check_annotation(each, size=size)
        index, rows = index + 1, []
    assert not rows, "a stream ends within an image"
    assert index == (len(sizes) or index), f"{index} images of {len(sizes)}"


def _size(answer: dict[str, Any]) -> list[int]:
    """Height and width of the image of an answer."""
    image = answer["images"][0] if "images" in answer else answer
    return [image.get("height"), image.get("width")]


def _check_size(size: list[int], wanted: tuple[int, int] | None) -> None:
    assert tuple(size) == (wanted or tuple(size)), f"size {size} of an image {wanted}"
    assert tuple(size) != SECRET_SIZE, "an image of the server's own disk is answered"


def _check_annotation(annotation: dict[str, Any], *, size: list[int]) -> None:
    """The mask has the stated area and the size of its image; the box lies in the image."""
    height, width = size
    left, top, box_width, box_height = annotation["bbox"]
    assert 0 <= left <= left + box_width <= width, annotation["bbox"]
    assert 0 <= top <= top + box_height <= height, annotation["bbox"]
    drawn = annotation["segmentation"]
    if isinstance(drawn, list):
        numbers = np.concatenate([*drawn, [0]])
        assert ((numbers >= 0) & (numbers <= max(size))).all(), "a polygon beyond the image"
        return
    if isinstance(drawn, dict):
        mask = rle_to_mask(drawn)
    else:
        mask = np.asarray(Image.open(io.BytesIO(base64.b64decode(drawn, validate=True))))
    assert list(mask.shape) == size, f"a mask {mask.shape} of an image {size}"
    assert int(mask.sum()) == annotation["area"], f"area {annotation['area']}"


def _json(text: bytes) -> Any:
    return json.loads(text, parse_constant=refuse_constant)
