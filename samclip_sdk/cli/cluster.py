"""`samclip annotate --ray`: the cluster, its workers, and the model that each of them opens."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from samclip_sdk.annotate.annotation_log import AnnotationSettings
from samclip_sdk.annotate.annotation_run import Answered
from samclip_sdk.annotate.annotator import Annotator, annotate_images
from samclip_sdk.annotate.image_sources import SourceImage
from samclip_sdk.annotate.ray_workers import RayWorkers, check_address, find_cluster, import_ray
from samclip_sdk.cli.options import (
    Asked,
    LabelOptions,
    Labels,
    ModelOptions,
    query_option,
)
from samclip_sdk.cli.terminal import Display, WrongUsageError
from samclip_sdk.client import SamClip
from samclip_sdk.engine.queries import InstanceQuery, TextQuery
from samclip_sdk.runtimes.table import RUNTIMES
from samclip_sdk.system.reading_ahead import READERS

WORKERS = 2
_OPTION = "--ray"
_ADDRESS = re.compile(r"auto|local|[^-].*:.*")


@dataclass(frozen=True)
class ClusterOptions:
    """Who annotates: this process, or the workers of a Ray cluster."""

    ray: Annotated[
        str | None,
        typer.Option(
            metavar="[ADDRESS]",
            help="annotate on workers of a Ray cluster: HOST:PORT of its head, auto for this "
            "machine's cluster, or local; by default RAY_ADDRESS or local",
        ),
    ] = None
    workers: Annotated[
        int | None,
        typer.Option(min=1, help=f"with --ray: processes with a model each; by default {WORKERS}"),
    ] = None
    readers: Annotated[
        int, typer.Option(min=1, help="threads that read and decode images ahead of the model")
    ] = READERS
    at_once: Annotated[
        int,
        typer.Option(
            min=1,
            help="images that are annotated at the same time: with --threads 1, one a core",
        ),
    ] = 1

    @property
    def wanted(self) -> bool:
        """Whether workers were asked for."""
        return self.ray is not None

    def check(self) -> None:
        """Refuses wrong options, before a model is opened.

        Raises:
            WrongUsageError: workers without a cluster, or `--at-once` above 1 with one.
            OptionError: the address is not valid.
            RuntimeMissingError: Ray is missing.
            ClusterError: nothing listens at the address.
        """
        if not self.wanted:
            if self.workers is not None:
                raise WrongUsageError("--workers needs --ray")
            return
        if self.at_once > 1:
            raise WrongUsageError("--at-once is of one process: with --ray, give --workers")
        find_cluster(check_address(self.ray))
        import_ray()

    @contextmanager
    def answering(
        self, annotator: Annotator, opening: Opening
    ) -> Iterator[Callable[[Sequence[SourceImage]], Answered]]:
        """Opens the workers, if there are to be any; a worker has one thread without --threads.

        Yields:
            The `answer` of `annotate_listing`: by the workers, or by the annotator of this process.
        """
        if not self.wanted:
            yield partial(annotate_images, annotator, readers=self.readers, at_once=self.at_once)
            return
        run, settings = opening.opened.run, annotator.settings
        threads = max(1, run.threads)
        on_gpu = "cuda" in f"{run.device} {run.provider}".lower()
        workers = RayWorkers(
            opening.elsewhere(settings, threads=threads),
            settings=settings,
            workers=self.workers or WORKERS,
            cpus=threads,
            gpus=int(on_gpu or RUNTIMES[settings.runtime].on_gpu),
            readers=self.readers,
            address=self.ray,
        )
        # Ray reports dead nodes on standard output, which is for the answer.
        with redirect_stdout(sys.stderr), workers:
            yield workers.annotate


@dataclass(frozen=True)
class AnnotatorOptions:
    """What becomes an annotation, and how it is written; see `Annotator`."""

    instances: Annotated[
        bool, typer.Option(help="an annotation for each object, or one for each label")
    ] = True
    max_instances: Annotated[int | None, query_option(InstanceQuery, "max_instances")] = None
    min_score: Annotated[float | None, query_option(InstanceQuery, "min_score")] = None
    polygons: Annotated[
        bool, typer.Option("--polygons", help="masks as polygons; by default as RLE")
    ] = False

    def check(self, *, refine: bool) -> None:
        """Refuses options that exclude each other; raises WrongUsageError, which names them."""
        if self.max_instances is not None and not self.instances:
            raise WrongUsageError("--max-instances needs --instances")
        if self.min_score is not None and not self.instances:
            raise WrongUsageError("--min-score needs --instances")
        if self.instances and not refine:
            raise WrongUsageError(
                "--no-refine and --instances: the mask decoder draws the objects; leave one out, "
                "or give --no-instances"
            )

    def query(self, labels: Sequence[str], asked: Mapping[str, Any]) -> InstanceQuery | TextQuery:
        """What is asked of each image: `asked`, as of `segment_text`, and these options."""
        if not self.instances:
            return TextQuery(labels=labels, **asked)
        given = {name: value for name, value in asked.items() if name != "refine"}
        if self.max_instances is not None:
            given["max_instances"] = self.max_instances
        return InstanceQuery(labels=labels, min_score=self.min_score, **given)


@dataclass(frozen=True, kw_only=True)
class Opening:
    """Opens an annotator; each worker calls it once.

    Attributes:
        labels: the labels of the command line; those of the vocabulary if there are none.
        given: the vocabulary, and whether embeddings of labels are kept.
        asked: how labels are found.
        how: what becomes an annotation.
        opened: the model, and where it runs.
    """

    labels: Labels = None
    given: LabelOptions
    asked: Annotated[Asked, TextQuery]
    how: AnnotatorOptions
    opened: ModelOptions

    def checked(self) -> Opening:
        """The same with all labels; raises WrongUsageError for options that do not go together."""
        self.how.check(refine=self.asked.options["refine"])
        self.asked.arguments()
        return replace(self, labels=self.given.read(self.labels))

    def __call__(self) -> Annotator:
        """Opens the model, and embeds the labels."""
        return self.annotator(self.load())

    def load(self, display: Display | None = None) -> SamClip:
        """Opens the model; raises the errors of `SamClip.load`."""
        return self.opened.load(display=display, text_cache=self.given.text_cache)

    def annotator(self, samclip: SamClip) -> Annotator:
        """Embeds the labels; raises the errors of `Annotator`."""
        labels = self.given.known(samclip, self.labels or ())
        query = self.how.query(labels, self.asked.arguments())
        return Annotator(samclip, query, polygons=self.how.polygons)

    def elsewhere(self, settings: AnnotationSettings, *, threads: int) -> Opening:
        """The same for workers in other folders: absolute paths, and the runtime chosen here."""
        model, key, vocabulary = self.opened.model, self.opened.key, self.given.vocabulary
        opened = replace(
            self.opened,
            model=os.path.abspath(model) if Path(model).exists() else model,
            runtime=settings.runtime,
            precision=settings.precision,
            key=key and key.absolute(),
            run=replace(self.opened.run, threads=threads),
        )
        given = replace(self.given, vocabulary=vocabulary and vocabulary.absolute())
        return replace(self, given=given, opened=opened)


class AnnotateCommand(TyperCommand):
    """A command whose `--ray` may stand without an address, which Typer does not offer."""

    def make_parser(self, ctx: Any) -> Any:
        """The parser of Typer, given an address after every --ray."""
        parser = super().make_parser(ctx)
        parse = parser.parse_args
        setattr(parser, "parse_args", lambda args: parse(_with_address(args)))  # noqa: B010, types forbid the assignment
        return parser


def _with_address(words: Sequence[str]) -> list[str]:
    """Gives a --ray without an address an empty one, since labels may follow it."""
    found: list[str] = []
    for word, following in zip(words, [*words[1:], ""], strict=False):
        bare = word == _OPTION and not _ADDRESS.fullmatch(following)
        found.append(f"{_OPTION}=" if bare else word)
    return found
