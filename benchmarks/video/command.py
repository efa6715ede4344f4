"""`python -m benchmarks video`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.command import ModelName, Output, Runtime, Write, measurement
from benchmarks.record import describe_model
from benchmarks.video.made_video import FRAMES, actors, labels_of, make_frames
from benchmarks.video.measure import VideoQuality, measure_ways, render
from samclip_sdk import SamClip
from samclip_sdk.client import DEFAULT_MODEL
from samclip_sdk.video.film_writer import FilmWriter


def video(
    model: ModelName = DEFAULT_MODEL,
    runtime: Runtime = "auto",
    threads: Annotated[int, typer.Option(help="the runtime's; 0: its own choice", min=0)] = 0,
    every: Annotated[
        list[int], typer.Option(help="of the stream's encode_every; repeatable", min=1)
    ] = [1, 2, 3, 4],  # noqa: B006, as typer takes it
    frames: Annotated[int, typer.Option(help="of the made video", min=1)] = FRAMES,
    rounds: Annotated[int, typer.Option(help="each times every way once", min=1)] = 3,
    film: Annotated[Path | None, typer.Option(help="an .mp4 of the made video to write")] = None,
    output: Output = None,
    write: Write = False,
) -> None:
    """Follows objects through a made video with occlusion: frames a second, masks and ids."""
    with measurement("video", output=output, write=write) as measured:
        cast = actors()
        made = list(make_frames(cast, frames=frames))
        if film is not None:
            with FilmWriter(film) as writer:
                for frame in made:
                    writer.add(frame.pixels)
        with (
            SamClip.load(runtime, model=model, threads=threads) as samclip,
            Console(stderr=True).status("following") as status,
        ):
            ways = measure_ways(
                samclip,
                made,
                names=labels_of(cast),
                every=every,
                rounds=rounds,
                say=status.update,
            )
            record = VideoQuality(
                **measured.run(),
                model=describe_model(samclip.manifest, samclip.source),
                threads=threads,
                frames=len(made),
                objects=len(labels_of(cast)),
                rounds=rounds,
                ways=tuple(ways),
            )
        measured.finish(record, render(record))
