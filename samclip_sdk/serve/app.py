"""The app: its routes, its page, and its middleware."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from samclip_sdk.serve.api_page import api_page
from samclip_sdk.serve.errors import RefusedError
from samclip_sdk.serve.handlers import NDJSON, RequestHandler
from samclip_sdk.serve.hosts import Hosts
from samclip_sdk.serve.keys import Keys
from samclip_sdk.serve.metrics import Metrics
from samclip_sdk.serve.middleware import (
    REQUEST_ID,
    RequestMiddleware,
    problem_response,
    refusal_response,
)
from samclip_sdk.serve.openapi import describe
from samclip_sdk.serve.pool import Pool
from samclip_sdk.serve.schema import (
    ClassifiedImages,
    ClassifyRequest,
    EverythingRequest,
    Health,
    ImagesRequest,
    InstancesRequest,
    MaskedImages,
    Model,
    Models,
    Problem,
    SegmentRequest,
    StoredImages,
    TextRequest,
)
from samclip_sdk.serve.settings import Limits

PAGE = Path(__file__).parent / "page"
PAGE_FILES = {
    "/": ("index.html", "text/html"),
    "/style.css": ("style.css", "text/css"),
    "/server.js": ("server.js", "text/javascript"),
    "/page.js": ("page.js", "text/javascript"),
    "/stage.js": ("stage.js", "text/javascript"),
    "/rle.js": ("rle.js", "text/javascript"),
    "/sample.jpg": ("sample.jpg", "image/jpeg"),
}
API_PATH = "/docs"
BODIES: dict[str, type[ImagesRequest]] = {
    "/v1/images": ImagesRequest,
    "/v1/classify": ClassifyRequest,
    "/v1/segment": SegmentRequest,
    "/v1/text": TextRequest,
    "/v1/instances": InstancesRequest,
    "/v1/everything": EverythingRequest,
}
_REASONS = {
    400: "the body ended early",
    401: "no API key, or a wrong one",
    404: "an image that the server does not have",
    408: "the body did not arrive in time",
    413: "too many bytes or pixels",
    415: "another content type or charset",
    421: "a name of the server that it does not know",
    422: "a value that cannot be, or too many of them",
    429: "too many wait already; Retry-After tells when to try again",
    500: "a fault of the server",
    503: "no answer in time",
}
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": reason} for status, reason in _REASONS.items()
}
_OR_LINES: dict[int | str, dict[str, Any]] = {
    200: {"content": {NDJSON: {"schema": {"type": "string"}}}, "description": "masks"}
}


def create_app(
    pool: Pool,
    *,
    limits: Limits,
    keys: Keys,
    hosts: Hosts,
    metrics: Metrics,
    origins: Sequence[str] = (),
) -> FastAPI:
    """Builds the app of a server.

    Args:
        pool: the pool of workers; the caller starts and closes it.
        limits: the limits of requests.
        keys: the API keys.
        hosts: the host names that requests may use where no key is asked for.
        metrics: the metrics of this server; the pool calls its `note_batch`.
        origins: of pages of other sites that may read the answers, from `check_origins`.
    """
    # FastAPI's page of docs loads scripts from elsewhere; its redirects repeat the request's host.
    app = FastAPI(title="samclip", docs_url=None, redoc_url=None, redirect_slashes=False)
    handler = RequestHandler(pool, limits=limits)
    _add_questions(app, handler)
    _add_state(app, handler, limits=limits, metrics=metrics)
    _add_page(app)
    app.openapi = lambda: describe(app, bodies=BODIES)  # type: ignore[method-assign]  # as FastAPI documents it
    _add_file(app, API_PATH, api_page(app.openapi()), "text/html")
    app.add_exception_handler(RefusedError, _refused)
    app.add_exception_handler(HTTPException, _refused_by_http)
    app.add_middleware(
        RequestMiddleware,
        keys=keys,
        hosts=hosts,
        queue=limits.queue,
        retry_after_s=pool.retry_after_s,
        metrics=metrics,
        routes=frozenset({*BODIES, *PAGE_FILES, API_PATH, "/health", "/metrics", "/v1/models"}),
    )
    if origins:  # outermost: a browser asks first whether it may ask, and sends no key with that
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=("GET", "POST"),
            allow_headers=("Authorization", "X-API-Key", "Content-Type", REQUEST_ID),
            expose_headers=(REQUEST_ID, "Retry-After"),
        )
    return app


def _add_questions(app: FastAPI, handler: RequestHandler) -> None:
    @app.post("/v1/images", response_model=StoredImages, responses=_PROBLEMS)
    async def images(request: Request) -> Response:
        """Keep and encode images, so that later requests can name them and cost less."""
        return await handler.answer(request, "images", ImagesRequest)

    @app.post("/v1/classify", response_model=ClassifiedImages, responses=_PROBLEMS)
    async def classify(request: Request) -> Response:
        """Tell how well each label describes an image."""
        return await handler.answer(request, "classify", ClassifyRequest)

    @app.post("/v1/segment", response_model=MaskedImages, responses=_PROBLEMS)
    async def segment(request: Request) -> Response:
        """Draw the masks of points and boxes."""
        return await handler.answer(request, "segment", SegmentRequest)

    @app.post("/v1/text", response_model=MaskedImages, responses=_PROBLEMS | _OR_LINES)
    async def text(request: Request) -> Response:
        """Find labels in an image."""
        return await handler.answer(request, "text", TextRequest)

    @app.post("/v1/instances", response_model=MaskedImages, responses=_PROBLEMS | _OR_LINES)
    async def instances(request: Request) -> Response:
        """Find the objects of labels in an image."""
        return await handler.answer(request, "instances", InstancesRequest)

    @app.post("/v1/everything", response_model=MaskedImages, responses=_PROBLEMS | _OR_LINES)
    async def everything(request: Request) -> Response:
        """Segment everything in an image, and name it."""
        return await handler.answer(request, "everything", EverythingRequest)


def _add_state(app: FastAPI, handler: RequestHandler, *, limits: Limits, metrics: Metrics) -> None:
    pool = handler.pool

    not_ready = {"model": Health, "description": "no worker is ready"}

    @app.get("/health", responses={421: _PROBLEMS[421], 503: not_ready})
    async def health() -> Health:
        """Tell whether the server can answer requests now; it needs no key."""
        found = Health(
            status="ready" if pool.ready else "not ready",
            workers_ready=pool.ready,
            workers=len(pool.workers),
            waiting=pool.waiting,
        )
        return found if pool.ready else JSONResponse(found.model_dump(), 503)  # type: ignore[return-value]  # FastAPI takes both

    @app.get("/metrics", response_class=Response, include_in_schema=False)
    async def read_metrics() -> Response:
        """Give the metrics to Prometheus; it needs no key."""
        content = metrics.read(
            waiting=pool.waiting,
            ready=pool.ready,
            restarts=pool.restarts,
            stored_bytes=handler.stored.held_bytes,
        )
        return Response(content, media_type="text/plain; version=0.0.4")

    @app.get("/v1/models", responses={each: _PROBLEMS[each] for each in (401, 421, 429)})
    async def models() -> Models:
        """Tell the model and the limits of this server."""
        opened = next((worker.model_info for worker in pool.workers if worker.model_info), None)
        found = [Model.model_validate(opened)] if opened else []
        return Models(models=found, limits=asdict(limits))


def _add_page(app: FastAPI) -> None:
    for path, (name, media_type) in PAGE_FILES.items():
        _add_file(app, path, (PAGE / name).read_bytes(), media_type)


def _add_file(app: FastAPI, path: str, content: bytes, media_type: str) -> None:
    @app.get(path, include_in_schema=False)
    async def file() -> Response:
        return Response(content, media_type=media_type)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    return refusal_response(error, request_id=request.state.request_id)


async def _refused_by_http(request: Request, error: Exception) -> Response:
    """The answer where there is no such route, or no such method of it."""
    assert isinstance(error, HTTPException)
    answer = problem_response(
        "Refused", error.detail, status=error.status_code, request_id=request.state.request_id
    )
    answer.headers.update(error.headers or {})
    return answer
