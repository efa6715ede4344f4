"""`samclip serve`: a model behind an HTTP port."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Annotated, Literal

import typer

from samclip_sdk.cli.options import PublicKey, RunOptions, TextCache, grouped
from samclip_sdk.cli.terminal import working
from samclip_sdk.client import DEFAULT_MODEL
from samclip_sdk.serve.server import run_server
from samclip_sdk.serve.settings import Limits, ModelChoice


@dataclass(frozen=True)
class AddressOptions:
    """Where a server is found; see `run_server`."""

    host: Annotated[str, typer.Option(help="the address to listen at")] = "127.0.0.1"
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one")] = 8080
    name: Annotated[
        list[str] | None,
        typer.Option(
            help="by which a server without API keys may be called, besides localhost and "
            "addresses; repeatable"
        ),
    ] = None


@dataclass(frozen=True)
class LimitOptions:
    """What a request may ask for, and what is kept; see `Limits`."""

    body_mb: Annotated[int, typer.Option(min=1, help="of a request")] = Limits.body_mb
    question_kb: Annotated[
        int, typer.Option(min=1, help="of a request's JSON, without the pictures in it")
    ] = Limits.question_kb
    megapixels: Annotated[int, typer.Option(min=1, help="of a picture")] = Limits.megapixels
    images: Annotated[int, typer.Option(min=1, help="pictures of a request")] = Limits.images
    labels: Annotated[int, typer.Option(min=1, help="of a request")] = Limits.labels
    letters: Annotated[int, typer.Option(min=1, help="of a label")] = Limits.letters
    prompts: Annotated[int, typer.Option(min=1, help="points and boxes of a request")] = (
        Limits.prompts
    )
    points_per_side: Annotated[int, typer.Option(min=1, help="of /v1/everything's grid")] = (
        Limits.points_per_side
    )
    queue: Annotated[
        int, typer.Option(min=1, help="requests in progress; more are answered 429")
    ] = Limits.queue
    pictures_mb: Annotated[int, typer.Option(min=1, help="of uploads kept for their ids")] = (
        Limits.pictures_mb
    )
    embeddings_mb: Annotated[
        int, typer.Option(min=1, help="of encoded pictures that each worker keeps")
    ] = Limits.embeddings_mb
    body_s: Annotated[int, typer.Option(min=1, help="for a request to arrive")] = Limits.body_s
    answer_s: Annotated[int, typer.Option(min=1, help="for an answer")] = Limits.answer_s
    stop_s: Annotated[int, typer.Option(min=1, help="to finish after SIGTERM")] = Limits.stop_s

    def limits(self) -> Limits:
        """The same as the server takes it."""
        return Limits(**vars(self))


@grouped
def serve(
    model: Annotated[
        str, typer.Argument(metavar="[MODEL]", help="a bundle's folder, .zip or name")
    ] = DEFAULT_MODEL,
    *,
    address: AddressOptions,
    runtime: Annotated[
        str, typer.Option(help="onnx, openvino, coreml, tensorrt, torch or auto")
    ] = "auto",
    precision: Annotated[
        str | None,
        typer.Option(help="fp32, fp16, bf16, int8 or auto; by default the bundle's own choice"),
    ] = None,
    key: PublicKey = None,
    workers: Annotated[int, typer.Option(min=1, help="processes with a model each")] = 1,
    run: RunOptions,
    limited: LimitOptions,
    text_cache: TextCache = True,
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], typer.Option(help="of what is logged")
    ] = "info",
) -> None:
    """Serve a model over HTTP; the page at / asks it. API keys come from SAMCLIP_API_KEYS.

    Logs are lines of JSON on standard error. SIGTERM and Ctrl-C answer what is in progress first.
    Several workers share the cores, unless --threads says how many each has.
    """
    with working("serving") as display:
        options = run.for_runtime(display)
        choice = ModelChoice(
            model=model,
            runtime=runtime,
            precision=precision,
            device=options.device,
            providers=options.providers,
            compute_units=options.compute_units,
            threads=options.threads,
            cores=max(1, (os.cpu_count() or 1) // workers) if workers > 1 else 0,
            text_cache=text_cache,
            public_key=None if key is None else str(key),
        )
        display.progress.stop()  # from here on, logs tell
        run_server(
            choice,
            host=address.host,
            port=address.port,
            names=address.name or (),
            workers=workers,
            limits=limited.limits(),
            log_level=log_level,
        )
