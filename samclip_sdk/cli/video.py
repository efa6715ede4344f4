"""`samclip video`: objects in a film, from a camera or in a folder of frames."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from samclip_sdk.cli.checks import check_output, check_sources
from samclip_sdk.cli.options import (
    AsJson,
    Asked,
    LabelOptions,
    Labels,
    ModelOptions,
    grouped,
)
from samclip_sdk.cli.terminal import (
    Display,
    print_json,
    print_line,
    print_table,
    working,
)
from samclip_sdk.engine.queries import StreamQuery
from samclip_sdk.engine.video.coco_video import CocoVideoWriter
from samclip_sdk.engine.video.film_writer import CODECS, DEFAULT_FPS, UNPLAYED, FilmWriter
from samclip_sdk.engine.video.footage import Footage
from samclip_sdk.engine.video.sources import VideoSource, open_footage
from samclip_sdk.errors import SamClipWarning
from samclip_sdk.results.tracked import TrackedInstances
from samclip_sdk.system.user_warning import warn_user

Source = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="a film, a folder of images, a camera's number, or a URL, such as rtsp://...",
    ),
]
Outputs = Annotated[
    list[Path] | None,
    typer.Option(
        "--output",
        "-o",
        help="write the frames with overlays (.mp4, or .webm for browsers) or COCO video JSON "
        "(.json); repeatable",
    ),
]
Take = Callable[[TrackedInstances], None]


@dataclass(frozen=True)
class FilmOptions:
    """How much of a film is followed, and what is written of it."""

    frames: Annotated[
        int | None, typer.Option(min=1, help="stop after this many frames; by default at the end")
    ] = None
    fps: Annotated[
        float | None,
        typer.Option(
            min=0.1, max=1000, help="frames a second of the output; by default those of the source"
        ),
    ] = None
    output: Outputs = None


@dataclass
class Report:
    """The counts so far; their size does not grow with the frames."""

    labels: Sequence[str]
    frames: int = 0
    seconds: float = 0.0
    objects: Counter[str] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)
    last_id: int = 0

    def add(self, found: TrackedInstances) -> None:
        """Counts a frame and the objects in it; a new object has a higher id than all before."""
        self.frames += 1
        self.seen.update(set(found.labels))
        new = [item for item in found if item.id > self.last_id]
        self.objects.update(item.label for item in new)
        self.last_id = max([self.last_id, *(item.id for item in new)])

    @property
    def frames_per_second(self) -> float:
        """The speed of this run, writing included."""
        return self.frames / self.seconds if self.seconds else 0.0


@grouped
def video(
    source: Source,
    labels: Labels = None,
    *,
    given: LabelOptions,
    query: Annotated[Asked, StreamQuery],
    film: FilmOptions,
    opened: ModelOptions,
    as_json: AsJson = False,
) -> None:
    """Find the objects of labels in a film, from a camera or in a folder, and follow them.

    After Ctrl-C, the outputs are complete up to the last frame.
    """
    with working("opening", if_interrupted="the outputs are complete up to there") as display:
        names = given.read(labels)
        outputs = film.output or ()
        for path in outputs:
            check_output(path, endings=(*CODECS, ".json"))
        check_sources(outputs, sources=[source])
        footage = open_footage(_source(source))
        with ExitStack() as to:
            samclip = to.enter_context(opened.load(display=display, text_cache=given.text_cache))
            wanted = given.known(samclip, names)
            report = Report(wanted)
            found = samclip.stream(footage, wanted, **query.arguments())
            takers = _open_outputs(to, outputs, footage, labels=wanted, fps=film.fps)
            to.enter_context(closing(found))
            start = time.perf_counter()
            for result in islice(found, film.frames):
                for take in takers:
                    take(result)
                report.add(result)
                report.seconds = time.perf_counter() - start
                _show(display, report.frames, count=film.frames or footage.count)
    _print(report, outputs=outputs, as_json=as_json)


def _source(text: str) -> VideoSource:
    """The number of a camera, or else the name of a file or folder."""
    return int(text) if text.isdecimal() and not Path(text).exists() else text


def _open_outputs(
    to: ExitStack,
    outputs: Sequence[Path],
    footage: Footage,
    *,
    labels: Sequence[str],
    fps: float | None,
) -> list[Take]:
    """Opens the outputs, which `to` closes; returns what to call with each frame's result."""
    rate = fps or footage.fps
    takers: list[Take] = []
    for path in outputs:
        if path.suffix.lower() == ".json":
            coco = CocoVideoWriter(path, labels=labels, name=footage.name, fps=rate)
            takers.append(to.enter_context(coco).add)
        else:
            film = FilmWriter(path, fps=rate or DEFAULT_FPS)
            to.callback(_tell_codec, film, path=path)
            takers.append(partial(_draw, to.enter_context(film)))
    return takers


def _draw(film: FilmWriter, found: TrackedInstances) -> None:
    film.add(found.plot())


def _tell_codec(film: FilmWriter, *, path: Path) -> None:
    if film.codec == UNPLAYED:
        warn_user(
            f"{path} is MPEG-4 part 2, since OpenCV writes no H.264 here: browsers do not play it; "
            f"for them, give --output {path.with_suffix('.webm')}",
            SamClipWarning,
        )


def _show(display: Display, done: int, *, count: int | None) -> None:
    if count is None:
        display.say(f"frame {done}")
    else:
        display.show("frames", done, count)


def _print(report: Report, *, outputs: Sequence[Path], as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "outputs": [str(path) for path in outputs],
                "frames": report.frames,
                "seconds": report.seconds,
                "frames_per_second": report.frames_per_second,
                "labels": {
                    label: {"objects": report.objects[label], "frames": report.seen[label]}
                    for label in report.labels
                },
            }
        )
        return
    rows = [(label, str(report.objects[label]), str(report.seen[label])) for label in report.labels]
    print_table(("label", "objects", "frames that show one"), rows)
    written = ", ".join(map(str, outputs))
    print_line(
        f"{written and f'{written}: '}{report.frames} frames; {report.seconds:.1f} s, "
        f"{report.frames_per_second:.1f} frames/s"
    )
