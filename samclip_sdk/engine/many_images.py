"""One image or many: a method is written for one image, and takes a list or an iterator too."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import Any, Concatenate, ParamSpec, Protocol, TypeAlias, TypeVar, cast, overload

from samclip_sdk.engine.engine import AnyImage, Engine
from samclip_sdk.engine.one_pass import Pass, TaskName
from samclip_sdk.image.loading import own_image
from samclip_sdk.system.reading_ahead import read_ahead

P = ParamSpec("P")
Answer = TypeVar("Answer")
Asked = TypeVar("Asked")
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


def takes_many(verb: Callable[Concatenate[Any, AnyImage, P], Answer]) -> Verb[P, Answer]:
    """Gives a method that calls `answer_each` its types; the method itself stays as it is."""
    return cast("Verb[P, Answer]", verb)


def answer_each(
    engine: Engine,
    image: AnyImage | Several[AnyImage] | Iterator[AnyImage],
    skill: Callable[[Pass, Asked], Answer],
    query: Asked,
    *,
    task: TaskName = "segmentation",
) -> Answer:
    """Answers one image or many; threads read the next images while the model runs.

    Args:
        engine: reads the images, and runs the graphs.
        image: one image, a list or tuple of images, or an iterator.
        skill: answers a query in a pass over an image.
        query: what is asked of each image.
        task: decides how raw images are read.

    Returns:
        The answer for one image, a list for a list or tuple, an iterator for an iterator. The type
        is that of one answer, because `takes_many` types the method.
    """
    if isinstance(image, (list, tuple)):
        return cast("Answer", list(_answers(engine, image, skill, query, task)))
    # An open file is an iterator too: of lines.
    if isinstance(image, Iterator) and not hasattr(image, "read"):
        return cast("Answer", _answers(engine, map(own_image, image), skill, query, task))
    return skill(Pass(engine, cast("AnyImage", image), task=task), query)


def _answers(
    engine: Engine,
    images: Iterable[AnyImage],
    skill: Callable[[Pass, Asked], Answer],
    query: Asked,
    task: TaskName,
) -> Iterator[Answer]:
    def read(image: AnyImage) -> Pass:
        one = Pass(engine, image, task=task)
        return one.of(one.prepared)

    with closing(read_ahead(images, read)) as ahead:
        for one in ahead:
            yield skill(one, query)
