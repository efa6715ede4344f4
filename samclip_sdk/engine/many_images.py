"""One image or many: a method is written for one image, and takes a list or an iterator too."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import Any, Concatenate, ParamSpec, Protocol, TypeAlias, TypeVar, cast, overload

from samclip_sdk.bundle.manifest import Task
from samclip_sdk.engine.engine import AnyImage, Engine
from samclip_sdk.picture.image import own_image
from samclip_sdk.results.image_embedding import ImageEmbedding, PreparedImage
from samclip_sdk.system.reading_ahead import read_ahead
from samclip_sdk.system.timing import Stopwatch

P = ParamSpec("P")
Answer = TypeVar("Answer")
Covariant = TypeVar("Covariant", covariant=True)
OneImage = TypeVar("OneImage", bound=AnyImage)

Several: TypeAlias = "list[OneImage] | tuple[OneImage, ...]"


class BoundVerb(Protocol[P, Answer]):
    """The types of a method: an image gives an answer, a list a list, an iterator an iterator."""

    # An open file is an image, and an iterator too. It counts as an image.
    @overload
    def __call__(self, image: AnyImage, *args: P.args, **kwargs: P.kwargs) -> Answer: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(
        self, image: Several[OneImage], *args: P.args, **kwargs: P.kwargs
    ) -> list[Answer]: ...
    @overload
    def __call__(
        self, image: Iterator[AnyImage], *args: P.args, **kwargs: P.kwargs
    ) -> Iterator[Answer]: ...


class Verb(Protocol[P, Answer]):
    """A method with the types of `BoundVerb`."""

    def __get__(self, model: object, owner: type) -> BoundVerb[P, Answer]:
        """Binds the method to a model."""


class AnswersOne(Protocol[Covariant]):
    """A function of the engine that answers one image."""

    def __call__(self, engine: Engine, image: AnyImage, /, *, clock: Stopwatch) -> Covariant:
        """Answers an image; the clock measures its steps."""


def takes_many(verb: Callable[Concatenate[Any, AnyImage, P], Answer]) -> Verb[P, Answer]:
    """Gives a method that calls `answer_each` its types; the method itself stays as it is."""
    return cast("Verb[P, Answer]", verb)


def answer_each(
    engine: Engine,
    image: AnyImage | Several[AnyImage] | Iterator[AnyImage],
    answer: AnswersOne[Answer],
    *,
    task: Task,
) -> Answer:
    """Answers one image or many; threads read the next images while the model runs.

    Args:
        engine: reads the images, and runs the graphs.
        image: one image, a list or tuple of images, or an iterator.
        answer: computes the answer from an image.
        task: decides how raw images are read.

    Returns:
        The answer for one image, a list for a list or tuple, an iterator for an iterator. The type
        is that of one answer, because `takes_many` types the method.
    """
    if isinstance(image, (list, tuple)):
        return cast("Answer", list(_answers(engine, image, answer, task=task)))
    # An open file is an iterator too: of lines.
    if isinstance(image, Iterator) and not hasattr(image, "read"):
        owned = map(own_image, image)
        return cast("Answer", _answers(engine, owned, answer, task=task))
    return answer(engine, cast("AnyImage", image), clock=Stopwatch())


def _answers(
    engine: Engine,
    images: Iterable[AnyImage],
    answer: AnswersOne[Answer],
    *,
    task: Task,
) -> Iterator[Answer]:
    def read(image: AnyImage) -> tuple[PreparedImage | ImageEmbedding, Stopwatch]:
        clock = Stopwatch()
        return engine.to_prepared(image, task=task, clock=clock), clock

    with closing(read_ahead(images, read)) as ahead:
        for image, clock in ahead:
            yield answer(engine, image, clock=clock)
