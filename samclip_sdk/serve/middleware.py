"""Middleware around all routes: request ids, keys, the limit of requests, logs, metrics."""

from __future__ import annotations

import json
import logging
import re
import time
import uuid
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from samclip_sdk.serve.errors import RefusedError, name_of
from samclip_sdk.serve.hosts import Hosts
from samclip_sdk.serve.keys import Keys
from samclip_sdk.serve.metrics import Metrics

log = logging.getLogger(__name__)

REQUEST_ID = "X-Request-ID"
GUARDED = "/v1/"
"""The paths that need a key and count against the limit of requests."""

_SAFE_ID = re.compile(r"[\w.-]{1,64}", flags=re.ASCII)
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class RequestMiddleware:
    """ASGI middleware: the outermost part of the app.

    Args:
        app: the app behind it.
        keys: the API keys.
        hosts: the host names that requests may use where no key is asked for.
        queue: the number of requests in progress, at most.
        retry_after_s: estimates the seconds until there is room for another request.
        metrics: counts each request.
        routes: the paths that are counted under their own names.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        keys: Keys,
        hosts: Hosts,
        queue: int,
        retry_after_s: Callable[[], int],
        metrics: Metrics,
        routes: frozenset[str],
    ) -> None:
        self._app, self._keys, self._hosts, self._queue = app, keys, hosts, queue
        self._retry_after_s, self._metrics, self._routes = retry_after_s, metrics, routes
        self._inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles a request, and logs and counts it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers, started = Headers(scope=scope), time.perf_counter()
        brought = headers.get(REQUEST_ID, "")
        request_id = brought if _SAFE_ID.fullmatch(brought) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0

        async def send_out(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                out = MutableHeaders(scope=message)
                out[REQUEST_ID] = request_id
                if "content-length" in headers and "transfer-encoding" in headers:
                    out["Connection"] = "close"  # a proxy may end this request elsewhere
                for name, value in _HEADERS.items():
                    out.setdefault(name, value)
            await send(message)

        self._metrics.in_progress.inc()
        try:
            await self._enter(scope, receive, send_out, headers=headers)
        except Exception:
            log.exception("unforeseen error", extra={"request_id": request_id})
            if not status:
                message = "something went wrong here; the logs tell what, under this request_id"
                answer = problem_response(
                    "InternalError", message, status=500, request_id=request_id
                )
                await answer(scope, receive, send_out)
        finally:
            self._metrics.in_progress.dec()
            self._note(scope, headers, request_id, status or 499, time.perf_counter() - started)

    async def _enter(self, scope: Scope, receive: Receive, send: Send, *, headers: Headers) -> None:
        """Passes a request on to the app, or refuses it."""
        guarded = scope["path"].startswith(GUARDED)
        refused = None if self._keys.asked else self._hosts.refusal(headers)
        if guarded and refused is None:
            refused = self._refusal(headers)
        if refused is not None:
            answer = refusal_response(refused, request_id=scope["state"]["request_id"])
            await answer(scope, receive, send)
            return
        if not guarded:
            await self._app(scope, receive, send)
            return
        self._inside += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._inside -= 1

    def _refusal(self, headers: Headers) -> RefusedError | None:
        if not self._keys.admit(headers):
            return RefusedError(
                "no API key, or a wrong one: send Authorization: Bearer KEY", status=401
            )
        if self._inside >= self._queue:
            return RefusedError(
                f"{self._inside} requests are in progress already; try again later",
                status=429,
                retry_after_s=self._retry_after_s(),
            )
        return None

    def _note(
        self, scope: Scope, headers: Headers, request_id: str, status: int, seconds: float
    ) -> None:
        path = scope["path"]
        route = path if path in self._routes else "other"
        self._metrics.requests.labels(route, str(status)).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        fields = {
            "request_id": request_id,
            "method": scope["method"],
            "route": route,
            "status": status,
            "ms": round(1000 * seconds, 1),
            "bytes": headers.get("content-length"),
        }
        log.info("request", extra=fields)


def problem_response(error: str, message: str, *, status: int, request_id: str) -> Response:
    """The answer with an error, a `schema.Problem`."""
    content = {"error": error, "message": message, "request_id": request_id}
    return Response(json.dumps(content, ensure_ascii=False), status, media_type="application/json")


def refusal_response(error: RefusedError, *, request_id: str) -> Response:
    """The answer to a request that is refused."""
    answer = problem_response(
        name_of(error), str(error), status=error.status, request_id=request_id
    )
    if error.retry_after_s is not None:
        answer.headers["Retry-After"] = str(error.retry_after_s)
    if error.status == 401:
        answer.headers["WWW-Authenticate"] = "Bearer"
    return answer
