"""`samclip learn`: teaches a label by examples, or the categories of a COCO file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from samclip_sdk.cli.checks import check_image, check_output, read_numbers
from samclip_sdk.cli.learn_examples import Example, Told, learn_examples, whole_note
from samclip_sdk.cli.options import (
    AsJson,
    ModelOptions,
    TextCache,
    grouped,
)
from samclip_sdk.cli.terminal import (
    Display,
    WrongUsageError,
    print_json,
    print_line,
    print_table,
    working,
)
from samclip_sdk.client import SamClip
from samclip_sdk.engine.learning import COMPARED, compare
from samclip_sdk.text.tokenizer import check_labels, clean_text

Positives = Annotated[
    list[str] | None,
    typer.Option(help="an example: IMAGE:X0,Y0,X1,Y1 (a box) or IMAGE:X,Y; repeatable"),
]
Negatives = Annotated[
    list[str] | None, typer.Option(help="an example of another thing, in the same form; repeatable")
]


@dataclass(frozen=True)
class LessonOptions:
    """What is learnt from; see `SamClip.learn` and `SamClip.learn_coco`."""

    positive: Positives = None
    negative: Negatives = None
    coco: Annotated[
        Path | None,
        typer.Option(
            help="instead of examples, a COCO file with masks or boxes of LABEL; without LABEL, "
            "all its categories are learnt"
        ),
    ] = None
    images: Annotated[Path | None, typer.Option(help="the folder of the COCO file's images")] = None
    seed: Annotated[
        int, typer.Option(min=0, help="of the choice of the fifth that is held out and measured")
    ] = 0

    def check(self, label: str | None) -> None:
        """Refuses what cannot be learnt from.

        Raises:
            WrongUsageError: an option is missing, or does not go with another.
        """
        if self.coco is None:
            if label is None:
                raise WrongUsageError("give a LABEL with --positive, or --coco with --images")
            if self.images is not None:
                raise WrongUsageError("--images is the folder of --coco's images: give both")
            if not self.positive:
                raise WrongUsageError("give --positive, once at least")
        elif self.positive or self.negative:
            raise WrongUsageError("give --coco, or --positive and --negative, not both")
        elif self.images is None:
            raise WrongUsageError("give --images, the folder of --coco's images")

    def examples(self) -> tuple[list[Example], list[Example]]:
        """The examples, and those of another thing; raises WrongUsageError."""
        positives = [_example(text, option="--positive") for text in self.positive or ()]
        return positives, [_example(text, option="--negative") for text in self.negative or ()]


@grouped
def learn(
    label: Annotated[
        str | None, typer.Argument(metavar="[LABEL]", help="such as: 'my mug'")
    ] = None,
    *,
    lesson: LessonOptions,
    score: Annotated[
        float, typer.Option(help="the score that the examples shall have, 0.5 to 1")
    ] = 0.95,
    vocabulary: Annotated[
        Path | None, typer.Option(help="a vocabulary pack, whose labels the new one has too")
    ] = None,
    text_cache: TextCache = True,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="the vocabulary pack to write, .safetensors")
    ] = Path("vocabulary.safetensors"),
    opened: ModelOptions,
    as_json: AsJson = False,
) -> None:
    """Teach a label by examples, or the categories of a COCO file; write a vocabulary pack."""
    with working("learning", if_interrupted="nothing was written") as display:
        positives, negatives = lesson.examples()
        lesson.check(label)
        if label is not None:
            check_labels([label])
        check_output(output, endings=(".safetensors",))
        needed = [path for path, _ in [*positives, *negatives]]
        for path in dict.fromkeys([*needed, *filter(None, [lesson.coco, lesson.images])]):
            check_image(path)
        with opened.load(display=display, text_cache=text_cache) as samclip:
            packed = samclip.load_vocabulary(vocabulary) if vocabulary else ()
            if label is None or lesson.coco is not None:
                told = _learn_coco(samclip, label, lesson, score=score, display=display)
            else:
                told = learn_examples(samclip, label, positives, negatives, score=score)
            known = {clean_text(each) for each in told.labels}
            labels = [each for each in packed if clean_text(each) not in known]
            labels += told.labels
            samclip.save_vocabulary(output, labels)
    if as_json:
        print_json({"output": str(output), "labels": labels, **told.facts})
        return
    print_table(told.columns, told.rows)
    for note in [*told.notes, f"{output}: {', '.join(labels)}"]:
        print_line(note)


def _learn_coco(
    samclip: SamClip, label: str | None, lesson: LessonOptions, *, score: float, display: Display
) -> Told:
    assert lesson.coco is not None
    assert lesson.images is not None
    report = samclip.learn_coco(
        lesson.coco,
        images=lesson.images,
        labels=None if label is None else [label],
        seed=lesson.seed,
        score=score,
        on_progress=display.show,
    )
    rows = [
        (*compared, str(each.examples), str(each.negatives), f"{each.threshold:.2f}")
        for each, compared in zip(report.labels, compare(report.before, report.after), strict=True)
    ]
    notes = [f"learnt from {report.images} images; {report.held_out} others were measured"]
    if report.left_out:
        notes.append(f"no image to learn from shows: {', '.join(report.left_out)}")
    if unmeasured := [label for label, now in report.after.items() if not now.images]:
        notes.append(
            f"no image that was held out shows {', '.join(unmeasured)}, so that nobody knows how "
            "well it is found: give more images of it"
        )
    if report.worse:
        notes.append(
            f"less is covered than before of: {', '.join(report.worse)}; give more images of it, "
            "or leave the label out, and the model takes it as its own word"
        )
    notes += [
        whole_note(each.label, images="held-out images", same_as=each.same_as)
        for each in report.labels
        if each.whole
    ]
    return Told(
        [each.label for each in report.labels],
        (*COMPARED, "examples", "negatives", "threshold"),
        rows,
        notes,
        {"report": report.to_dict()},
    )


def _example(text: str, *, option: str) -> Example:
    """Reads "mug.jpg:10,20,200,220" or "mug.jpg:50,60"."""
    path, colon, numbers = text.rpartition(":")
    if not path or not colon:
        raise WrongUsageError(f"{option} {text!r} is not IMAGE:X0,Y0,X1,Y1 or IMAGE:X,Y")
    return Path(path), read_numbers(numbers, option=option, counts=(2, 4))
