"""The images of a command, and what it prints and writes for each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer
from typer.core import TyperCommand

from samclip_sdk.annotate.remote_files import RemoteImage, is_url
from samclip_sdk.cli.checks import check_ending, check_image, check_sources
from samclip_sdk.cli.options import AsJson, LabelOptions, ModelOptions
from samclip_sdk.cli.terminal import (
    WrongUsageError,
    print_json,
    print_line,
    print_table,
    working,
)
from samclip_sdk.client import SamClip
from samclip_sdk.errors import ImageError, SamClipWarning, one_line
from samclip_sdk.image.loading import IMAGE_ENDINGS
from samclip_sdk.results.result_base import MASK_SUFFIXES, Result
from samclip_sdk.system.atomic_file import check_target
from samclip_sdk.system.user_warning import warn_user

Row = tuple[str, ...]

NAME = "{name}"
"""What stands in an output for the name of an image, without its ending."""

Images = Annotated[list[str], typer.Argument(metavar="IMAGE", help="the images")]
ImagesAndLabels = Annotated[
    list[str],
    typer.Argument(
        metavar="IMAGE LABEL", help="the images, and then nouns to look for, such as: dog"
    ),
]

_LABEL = "--label"


class LabelCommand(TyperCommand):
    """A command whose labels may stand behind `--`: `samclip classify *.jpg -- dog cat`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Typer's own, with `--label` before each word behind `--`."""
        if "--" in args:
            index = args.index("--")
            labels = [word for label in args[index + 1 :] for word in (_LABEL, label)]
            args = [*args[:index], *labels]
        return super().parse_args(ctx, args)


def read_arguments(words: Sequence[str], given: LabelOptions) -> tuple[list[str], list[str]]:
    """Tells images from labels.

    The first word is an image, and so are those behind it that end as images do; labels follow.
    With `--label` every word is an image.

    Returns:
        The images and the labels.

    Raises:
        WrongUsageError: a word behind the images is a file, or there are no labels.
        TextError: the file of labels cannot be read as text.
    """
    count = len(words)
    if not given.label:
        count = next((i for i, word in enumerate(words) if i and not _is_image(word)), count)
    for word in words[count:]:
        if _is_image(word) or _is_file(word):
            raise WrongUsageError(
                f"{one_line(word)} is a file, and stands among the labels: give the images "
                f"first, and labels with {_LABEL} or after --"
            )
    return list(words[:count]), given.read(words[count:])


@dataclass(frozen=True)
class ResultOptions:
    """The images' results: where they go, and whether an image may be fetched."""

    output: Annotated[
        list[Path] | None,
        typer.Option(
            "--output",
            "-o",
            help="write an overlay (.png, .jpg), the result (.json: COCO, .npz: arrays), or of "
            f"masks a table (.csv) or YOLO's lines (.txt); {NAME} is the image's name; "
            "repeatable",
        ),
    ] = None
    fetch: Annotated[
        bool, typer.Option("--fetch", help="an image may be a URL, which is fetched")
    ] = False
    as_json: AsJson = False

    def check(self, images: Sequence[str], *, endings: Sequence[str]) -> None:
        """Refuses files that cannot be read or written, before a model is opened for them.

        Raises:
            WrongUsageError: an output has another ending, or is one file for several images; or
                an image is a URL.
            StorageError: an output cannot be written.
            ImageError: there is no such image, or it is a folder.
        """
        for path in self.output or ():
            check_ending(path, endings=endings)
            targets = [_target(path, image) for image in images]
            if len(set(targets)) < len(targets):
                raise WrongUsageError(
                    f"{one_line(path)} is one file for {len(images)} images: put {NAME} in its "
                    "place, and give no two images of one name"
                )
            for each in targets:
                check_target(each)
            check_sources(targets, sources=images)
        for image in images:
            if not is_url(image):
                check_image(Path(image))
                if Path(image).is_dir():
                    raise ImageError(
                        f"{one_line(image)} is a folder: give its images, or use samclip annotate"
                    )
            elif not self.fetch:
                raise WrongUsageError(f"{one_line(image)} is a URL: give --fetch to fetch it")


@dataclass(frozen=True)
class Question:
    """What a command asks of each image, and how it prints the answers.

    Attributes:
        doing: the step, in words.
        ask: the model, the images and the labels -> the results, one for each image.
        columns: the header of the table.
        rows_of: a result -> its rows of the table.
        endings: those that an output may have.
        note_of: a result -> a line to read below the table, or "".
    """

    doing: str
    ask: Callable[[SamClip, Iterator[str | bytes], Sequence[str]], Iterable[Result[Any]]]
    columns: Row
    rows_of: Callable[[Any], Iterable[Row]]
    endings: Sequence[str] = MASK_SUFFIXES
    note_of: Callable[[Any], str] = lambda _: ""


def answer_images(
    words: Sequence[str],
    question: Question,
    *,
    given: LabelOptions | None,
    text_cache: bool = False,
    answer: ResultOptions,
    opened: ModelOptions,
) -> None:
    """Answers a question for each image; prints a line of JSON for each, or one table.

    An image among others that cannot be read is named, and left out. Whatever fails, the answers
    before it are printed.

    Args:
        words: the images, and perhaps labels behind them.
        question: what to ask.
        given: the labels; None for a question that needs none.
        text_cache: without `given`, whether embeddings of labels are kept.
        answer: where answers go.
        opened: the model.
    """
    told = _Told(question, as_json=answer.as_json)
    try:
        with working(question.doing) as display:
            images, labels = (list(words), []) if given is None else read_arguments(words, given)
            told.several = len(images) > 1
            answer.check(images, endings=question.endings)
            cached = text_cache if given is None else given.text_cache
            with opened.load(display=display, text_cache=cached) as samclip:
                known = labels if given is None else given.known(samclip, labels)
                unread = 0
                for count, (image, result) in enumerate(_answers(samclip, question, images, known)):
                    if isinstance(result, ImageError):
                        unread += 1
                        warn_user(f"left out: {result}", SamClipWarning)
                    else:
                        for path in answer.output or ():
                            result.save(_target(path, image))
                        told.add(image, result)
                    if told.several:
                        display.show(question.doing, count + 1, len(images))
            if unread:
                raise ImageError(f"{unread} of {len(images)} images cannot be read")
    finally:
        told.print()


def _answers(
    samclip: SamClip, question: Question, images: Sequence[str], labels: Sequence[str]
) -> Iterator[tuple[str, Result[Any] | ImageError]]:
    """Yields each image with its answer, or with the reason why it cannot be read.

    Raises:
        ImageError: a single image cannot be read.
    """
    rest = list(images)
    while rest:
        try:
            for result in question.ask(samclip, map(_source, rest.copy()), labels):
                yield rest.pop(0), result
        except ImageError as error:
            if len(images) == 1:
                raise
            yield rest.pop(0), error


class _Told:
    """What was answered so far, as text."""

    def __init__(self, question: Question, *, as_json: bool) -> None:
        self._question, self._as_json = question, as_json
        self._documents: list[dict[str, Any]] = []
        self._lines: list[str] = []
        self._note = ""
        self._rows: list[Row] = []
        self.several = False

    def add(self, image: str, result: Result[Any]) -> None:
        if self._as_json:
            content = result.to_dict()
            if self.several and "images" not in content:  # COCO's documents name their image
                content = {"file_name": _name(image), **content}
            self._documents.append(content)
            return
        first = (_name(image),) if self.several else ()
        self._rows += [(*first, *row) for row in self._question.rows_of(result)]
        steps = ", ".join(f"{step} {ms:.0f} ms" for step, ms in result.speed.items())
        self._lines = [] if self.several else [steps]
        if note := self._question.note_of(result):
            self._note = note

    def print(self) -> None:
        if self._as_json:
            for document in self._documents:
                print_json(document)
        elif self._rows or self._lines:
            first = ("image",) if self.several else ()
            print_table((*first, *self._question.columns), self._rows)
            for line in (self._note, *self._lines):
                if line:
                    print_line(line)


def _source(image: str) -> str | bytes:
    """An image as the SDK takes it: a path, or what was fetched."""
    return RemoteImage(image, image, 0, 0).content() if is_url(image) else image


def _target(path: Path, image: str) -> Path:
    """The output of an image."""
    return Path(str(path).replace(NAME, Path(_name(image)).stem))


def _name(image: str) -> str:
    return Path(urlsplit(image).path if is_url(image) else image).name


def _is_image(word: str) -> bool:
    return Path(word).suffix.lower() in IMAGE_ENDINGS


def _is_file(word: str) -> bool:
    try:
        return Path(word).is_file()
    except (OSError, ValueError):  # ValueError: NUL
        return False
