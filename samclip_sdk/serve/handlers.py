"""Handling of requests: read, checked against the limits, given to the workers, answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from samclip_sdk.engine.queries import POINTS_PER_SIDE
from samclip_sdk.errors import one_line
from samclip_sdk.serve.encoding import to_line
from samclip_sdk.serve.errors import RefusedError
from samclip_sdk.serve.middleware import problem_response
from samclip_sdk.serve.pool import Pool
from samclip_sdk.serve.request_body import Call, read_call
from samclip_sdk.serve.schema import ImagesRequest
from samclip_sdk.serve.settings import Limits
from samclip_sdk.serve.worker_process import Answer
from samclip_sdk.system.recent import Recent

NDJSON = "application/x-ndjson"


class RequestHandler:
    """Answers requests with a pool of workers.

    Args:
        pool: the pool, which the caller starts and closes.
        limits: the limits of requests.

    Attributes:
        stored: the uploaded images that requests may name by their ids.
    """

    def __init__(self, pool: Pool, *, limits: Limits) -> None:
        self.pool, self._limits = pool, limits
        self.stored: Recent[bytes] = Recent(limit_bytes=limits.images_mb * 1_000_000)

    async def answer(self, request: Request, verb: str, kind: type[ImagesRequest]) -> Response:
        """Answers a request.

        Args:
            request: the request; its body is read here.
            verb: the verb, such as "text".
            kind: the model of the body.

        Raises:
            RefusedError: the request cannot be answered, or not now.
        """
        call = await read_call(request, kind, limits=self._limits, stored=self.stored)
        question = call.asked.model_dump(exclude={"images"})
        check_limits(question, limits=self._limits)
        answers = self.pool.put(verb, call.images, question)
        request_id: str = request.state.request_id
        stream: bool = question.get("stream", False)
        first = asyncio.gather(*(answers[:1] if stream else answers))
        try:
            found = await asyncio.wait_for(first, self._limits.answer_s)
        except asyncio.TimeoutError as error:
            for waiting in answers:
                waiting.cancel()
            raise RefusedError(
                f"there was no answer within {self._limits.answer_s} s; try again later",
                status=503,
                retry_after_s=self.pool.retry_after_s(),
            ) from error
        for index, each in enumerate(found):
            if each.status != 200:
                return _failed(each, index, many=len(answers) > 1, request_id=request_id)
        if stream:
            lines = self._lines(answers, request_id=request_id)
            return StreamingResponse(lines, media_type=NDJSON)
        if verb == "images":
            self._store(call)
        joined = b",".join(each.content.rstrip() for each in found)
        return Response(b'{"answers":[%b]}' % joined, media_type="application/json")

    def _store(self, call: Call[ImagesRequest]) -> None:
        for key, content in call.images:
            self.stored.put(key, content, size_bytes=len(content))

    async def _lines(
        self, answers: Sequence[asyncio.Future[Answer]], *, request_id: str
    ) -> AsyncIterator[bytes]:
        """Yields the lines of each image as soon as they are there; an error is the last line."""
        try:
            for index, each in enumerate(answers):
                answer = await self._wait_for(each)
                if answer.status == 200:
                    yield answer.content
                    continue
                error, message = _error_of(answer)
                line = {"image_index": index, "error": error, "message": message}
                yield to_line({**line, "request_id": request_id})
                return
        finally:  # after an error, or when the client is gone, nobody waits for the rest
            for each in answers:
                each.cancel()

    async def _wait_for(self, answer: asyncio.Future[Answer]) -> Answer:
        try:
            return await asyncio.wait_for(answer, self._limits.answer_s)
        except asyncio.TimeoutError:
            message = f"there was no answer within {self._limits.answer_s} s"
            return Answer(503, "Refused", message.encode())


def check_limits(question: Mapping[str, Any], *, limits: Limits) -> None:
    """Refuses a request that asks for too much.

    Args:
        question: the fields of the request, without its images.
        limits: the limits of the server.

    Raises:
        RefusedError: a count or a length is above its limit; the message names both.
    """
    labels = question.get("labels") or [""]
    _check_maximum(len(labels), limits.labels, "labels")
    longest = max(labels, key=len)
    if len(longest) > limits.letters:
        raise RefusedError(
            f"the label {one_line(longest, limit=40)!r} has {len(longest)} letters; this "
            f"server takes {limits.letters} at most",
            status=422,
        )
    points = sum(_count(each) for each in question.get("points") or ()) // 2
    boxes = sum(_count(each) for each in question.get("boxes") or ()) // 4
    _check_maximum(points + boxes, limits.prompts, "points and boxes")
    if "points_per_side" in question:
        rows, columns = question["tiles"] or (0, 0)
        points = (question["points_per_side"] or POINTS_PER_SIDE) ** 2 * (1 + rows * columns)
        _check_maximum(points, limits.points_per_side**2, "points of points_per_side, in all tiles")


def _check_maximum(count: int, maximum: int, name: str) -> None:
    if count > maximum:
        raise RefusedError(f"{name}: {count}; this server takes {maximum} at most", status=422)


def _count(numbers: object) -> int:
    """The count of numbers in lists of lists."""
    return sum(map(_count, numbers)) if isinstance(numbers, list) else 1


def _failed(answer: Answer, index: int, *, many: bool, request_id: str) -> Response:
    error, message = _error_of(answer)
    if many:
        message = f"images.{index}: {message}"
    return problem_response(error, message, status=answer.status, request_id=request_id)


def _error_of(answer: Answer) -> tuple[str, str]:
    """The class and the message of an error; an unforeseen one is described in the logs alone."""
    if not answer.error:
        return "InternalError", "something went wrong here; the logs tell what"
    return answer.error, answer.content.decode()
