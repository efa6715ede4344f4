"""Draws masks and objects of labels on the photographs of images/; prints a table with times.

`make demo` runs this program. It needs the package and one runtime, and no torch:
`pip install 'samclip-sdk[onnx]'`, then `python examples/demo.py --output demo_output`.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

from samclip_sdk import Instances, SamClip, SamClipError, TextMasks
from samclip_sdk.errors import UnknownWordWarning
from samclip_sdk.image import load_image
from samclip_sdk.results.overlay import draw_overlay

IMAGES = Path(__file__).with_name("images")
TILE_PX = 320  # longest side of an image in the contact sheet
COLUMNS = 4  # of overlays: an image has two beside each other
MAX_OBJECTS = 12
JPEG_QUALITY = 74
STEPS = ("encode", "classify", "masks", "objects")
CAPTION = (
    "A number from 0 to 1 is the presence of the label, or how likely the likeliest label is; a "
    "whole number is how many objects of a label were told apart."
)
LEGEND = (
    "Of each image: left, the mask of each label that was found, with its presence; right, each "
    "object of a label, with its score."
)


@dataclass(frozen=True)
class Answer:
    """The model's answer for one image, and the labels that are in it.

    Attributes:
        name: the file's name.
        present: labels asked that are in the image.
        absent: labels asked that are not.
        top: the likeliest of all the demo's labels, and its probability.
        masks: the masks of the labels asked.
        objects: the objects of the labels that were found.
        ms: milliseconds by step.
    """

    name: str
    present: tuple[str, ...]
    absent: tuple[str, ...]
    top: tuple[str, float]
    masks: TextMasks
    objects: Instances
    ms: dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("demo_output"))
    parser.add_argument("--runtime", default="onnx", help="onnx, openvino, coreml, tensorrt, auto")
    parser.add_argument("--model", help="bundle folder, .zip or name; by default the embedded one")
    options = parser.parse_args()
    # Piped output has no width, and 80 columns break every row.
    console = Console(width=None if sys.stdout.isatty() else 120)
    # Some labels are asked to show what the model does with words that it does not know.
    warnings.simplefilter("ignore", UnknownWordWarning)
    try:
        run(console, output=options.output, runtime=options.runtime, bundle=options.model)
    except (SamClipError, OSError) as error:
        sys.exit(f"demo: {error}")


def run(console: Console, *, output: Path, runtime: str, bundle: str | None) -> None:
    asked = json.loads((IMAGES / "labels.json").read_text(encoding="utf-8"))
    every_label = sorted(
        {each for row in asked.values() for each in row["present"] + row["absent"]}
    )
    started = perf_counter()
    model = SamClip.load(runtime) if bundle is None else SamClip.load(runtime, model=bundle)
    # The first call also opens sessions and embeds texts; its time is told separately.
    model.segment_text(IMAGES / next(iter(asked)), every_label)
    model.segment_instances(IMAGES / next(iter(asked)), every_label)
    cold_ms = 1e3 * (perf_counter() - started)
    output.mkdir(parents=True, exist_ok=True)
    answers = []
    quiet = not sys.stdout.isatty()
    for name, row in track(asked.items(), "images", transient=True, disable=quiet):
        answer = ask(model, name=name, row=row, labels=every_label)
        answer.masks.save(overlay(output, name, "masks"))
        draw_objects(answer).save(overlay(output, name, "objects"))
        answers.append(answer)
    right = [each for each in answers if not faults(each)]
    wrong = [each for each in answers if faults(each)]
    for sheet, shown in (("contact_sheet.jpg", right), ("failures.jpg", wrong)):
        contact_sheet(shown, folder=output).save(output / sheet, quality=JPEG_QUALITY)
    console.print(table(answers))
    console.print(summary(answers))
    console.print(
        f"These times are warm. Loading and the first call, which embeds all {len(every_label)} "
        f"labels, took {cold_ms:.0f} ms."
    )
    console.print(
        f"Overlays, contact_sheet.jpg, the images without a wrong answer, and failures.jpg, those "
        f"with one, are in {output}/"
    )


def faults(answer: Answer) -> int:
    """The number of labels that were missed, or found where they are not."""
    return len(set(answer.masks.labels) ^ set(answer.present))


def overlay(folder: Path, name: str, kind: str) -> Path:
    """The path of an image's overlay, with its masks or its objects."""
    return folder / f"{Path(name).stem}_{kind}.png"


def draw_objects(answer: Answer) -> Image.Image:
    """The objects of each label in the colour of the label's mask, with their scores."""
    asked, found = answer.masks.asked.labels, answer.objects
    pairs = zip(found.labels, found.scores, strict=True)
    drawn = draw_overlay(
        load_image(IMAGES / answer.name),
        masks=found.masks,
        captions=[f"{label} {score:.2f}" for label, score in pairs],
        colours=[asked.index(label) for label in found.labels],
    )
    return Image.fromarray(drawn)


def ask(model: SamClip, *, name: str, row: dict[str, Any], labels: list[str]) -> Answer:
    """Encodes one image once, then classifies it and finds masks and objects."""
    clock = [perf_counter()]
    image = model.encode_image(IMAGES / name)
    clock.append(perf_counter())
    classes = model.classify(image, labels)
    clock.append(perf_counter())
    asked = row["present"] + row["absent"]
    masks = model.segment_text(image, asked)
    clock.append(perf_counter())
    objects = model.segment_instances(image, asked, max_instances=MAX_OBJECTS)
    clock.append(perf_counter())
    return Answer(
        name=name,
        present=tuple(row["present"]),
        absent=tuple(row["absent"]),
        top=classes.top(1)[0],
        masks=masks,
        objects=objects,
        ms=dict(zip(STEPS, (1e3 * np.diff(clock)).tolist(), strict=True)),
    )


def table(answers: list[Answer]) -> Table:
    """A table with a row for each image: the labels asked, the answers, and the time."""
    result = Table(title="Text to mask", caption=CAPTION, box=box.SIMPLE_HEAD, show_lines=True)
    result.add_column("image", no_wrap=True)
    result.add_column("found")
    result.add_column("not found")
    result.add_column("objects")
    result.add_column("looks most\nlike")
    for step in (*STEPS, "total"):
        result.add_column(f"{step}\nms", justify="right")
    for answer in answers:
        found: list[str] = []
        other: list[str] = []
        for label in answer.masks.asked.labels:
            (found if label in answer.masks else other).append(verdict(answer, label))
        times = [*answer.ms.values(), sum(answer.ms.values())]
        result.add_row(
            Path(answer.name).stem,
            "\n".join(found),
            "\n".join(other),
            "\n".join(
                f"{count} {label}" for label, count in Counter(answer.objects.labels).items()
            ),
            f"{answer.top[0]} {answer.top[1]:.2f}",
            *(f"{time:.0f}" for time in times),
        )
    return result


def verdict(answer: Answer, label: str) -> str:
    """The label, its presence, and whether the answer is right."""
    asked = answer.masks.asked
    text = f"{label} {asked.presence[asked.labels.index(label)]:.2f}"
    match label in answer.present, label in answer.masks:
        case True, True:
            return f"[green]{text}[/]"
        case True, False:
            return f"[yellow]{text} MISSED[/]"
        case False, True:
            return f"[red]{text} NOT THERE[/]"
        case _:
            return f"[dim]{text}[/]"


def summary(answers: list[Answer]) -> str:
    """The number of present labels that were found, and of absent ones."""
    present = [label in each.masks for each in answers for label in each.present]
    absent = [label in each.masks for each in answers for label in each.absent]
    return (
        f"{sum(present)} of {len(present)} labels found, "
        f"{sum(absent)} of {len(absent)} that are not there found too."
    )


def contact_sheet(answers: list[Answer], *, folder: Path) -> Image.Image:
    """A sheet of small overlays, with the labels that were asked."""
    band, across, indices = 46, COLUMNS // 2, range(len(answers))
    drawn = [thumbnails(folder, answer.name) for answer in answers]
    rows = [indices[first : first + across] for first in indices[::across]]
    heights = [max(each.height for index in row for each in drawn[index]) for row in rows]
    size = (COLUMNS * TILE_PX, sum(heights) + band * (len(rows) + 1))
    sheet, top = Image.new("RGB", size, "white"), band
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    draw.text((8, 14), LEGEND, fill="black", font=font)
    for row, height in zip(rows, heights, strict=True):
        for column, index in enumerate(row):
            left, answer = column * 2 * TILE_PX, answers[index]
            for beside, image in enumerate(drawn[index]):
                x = left + beside * TILE_PX + (TILE_PX - image.width) // 2
                sheet.paste(image, (x, top + height - image.height))
            lines = (
                "asked: " + ", ".join(answer.present),
                "not there: " + ", ".join(answer.absent),
            )
            for line, text in enumerate(lines):
                draw.text((left + 8, top + height + 4 + 18 * line), text, fill="black", font=font)
        top += height + band
    return sheet


def thumbnails(folder: Path, name: str) -> list[Image.Image]:
    """The small images of an image's two overlays."""
    found = []
    for kind in ("masks", "objects"):
        with Image.open(overlay(folder, name, kind)) as image:
            image.thumbnail((TILE_PX - 8, TILE_PX - 8))
            found.append(image.convert("RGB"))
    return found


if __name__ == "__main__":
    main()
