"""`samclip serve`: a model behind an HTTP port."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from samclip_sdk.bundle.open import DEFAULT_MODEL
from samclip_sdk.cli.options import ArtifactOptions, TextCache, grouped
from samclip_sdk.cli.terminal import working
from samclip_sdk.serve.server import run_server
from samclip_sdk.serve.settings import Limits, ModelChoice


@dataclass(frozen=True)
class AddressOptions:
    """The address and the names of a server; see `run_server`."""

    host: Annotated[str, typer.Option(help="the address to listen at")] = "127.0.0.1"
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one")] = 8080
    name: Annotated[
        list[str] | None,
        typer.Option(
            help="a host name of the server, besides localhost and addresses; without API keys, "
            "other names are refused; repeatable"
        ),
    ] = None
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            help="let pages of another site read the answers, such as https://my.site; repeatable"
        ),
    ] = None


@dataclass(frozen=True)
class LimitOptions:
    """The limits of requests and of memory; see `Limits`."""

    body_mb: Annotated[int, typer.Option(min=1, help="the size of a request")] = Limits.body_mb
    question_kb: Annotated[
        int, typer.Option(min=1, help="the size of a request's JSON, without its images")
    ] = Limits.question_kb
    megapixels: Annotated[int, typer.Option(min=1, help="the size of an image")] = Limits.megapixels
    images: Annotated[int, typer.Option(min=1, help="the images of a request")] = Limits.images
    labels: Annotated[int, typer.Option(min=1, help="the labels of a request")] = Limits.labels
    letters: Annotated[int, typer.Option(min=1, help="the length of a label")] = Limits.letters
    prompts: Annotated[int, typer.Option(min=1, help="the points and boxes of a request")] = (
        Limits.prompts
    )
    points_per_side: Annotated[int, typer.Option(min=1, help="the grid of /v1/everything")] = (
        Limits.points_per_side
    )
    queue: Annotated[
        int, typer.Option(min=1, help="the requests in progress; more are answered 429")
    ] = Limits.queue
    images_mb: Annotated[int, typer.Option(min=1, help="the memory for uploaded images")] = (
        Limits.images_mb
    )
    embeddings_mb: Annotated[
        int, typer.Option(min=1, help="the memory for encoded images, in each worker")
    ] = Limits.embeddings_mb
    body_s: Annotated[int, typer.Option(min=1, help="the time for a request to arrive")] = (
        Limits.body_s
    )
    answer_s: Annotated[int, typer.Option(min=1, help="the time for an answer")] = Limits.answer_s
    stop_s: Annotated[int, typer.Option(min=1, help="the time to finish after SIGTERM")] = (
        Limits.stop_s
    )

    def limits(self) -> Limits:
        """The same limits for the server."""
        return Limits(**vars(self))


@grouped
def serve(
    model: Annotated[
        str, typer.Argument(metavar="[MODEL]", help="a bundle's folder, .zip or name")
    ] = DEFAULT_MODEL,
    *,
    address: AddressOptions,
    opened: ArtifactOptions,
    workers: Annotated[int, typer.Option(min=1, help="processes with a model each")] = 1,
    limited: LimitOptions,
    vocabulary: Annotated[
        Path | None, typer.Option(help="a vocabulary pack, whose labels need no text encoder")
    ] = None,
    text_cache: TextCache = True,
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        typer.Option(help="the lowest level that is logged"),
    ] = "info",
) -> None:
    """Serve a model over HTTP, with a page to try it at /. API keys come from SAMCLIP_API_KEYS.

    Logs are lines of JSON on standard error. After SIGTERM or Ctrl-C, requests in progress are
    answered. Several workers share the cores, unless --threads is given.
    """
    with working("serving") as display:
        options = opened.run.for_runtime(display)
        choice = ModelChoice(
            model=model,
            runtime=opened.runtime,
            precision=opened.precision,
            device=options.device,
            providers=options.providers,
            compute_units=options.compute_units,
            threads=options.threads,
            cores=max(1, (os.cpu_count() or 1) // workers) if workers > 1 else 0,
            text_cache=text_cache,
            public_key=None if opened.key is None else str(opened.key),
            vocabulary=None if vocabulary is None else str(vocabulary),
        )
        display.progress.stop()  # from here on, there are logs
        run_server(
            choice,
            host=address.host,
            port=address.port,
            names=address.name or (),
            origins=address.allow_origin or (),
            workers=workers,
            limits=limited.limits(),
            log_level=log_level,
        )
