"""`samclip annotate --ray`: which cluster, how many workers, and what each of them opens."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from samclip_sdk.annotate.annotation_log import AnnotationSettings
from samclip_sdk.annotate.annotation_run import Answered
from samclip_sdk.annotate.annotator import Annotator, annotate_pictures
from samclip_sdk.annotate.picture_sources import SourcePicture
from samclip_sdk.annotate.ray_workers import RayWorkers, check_address, find_cluster, import_ray
from samclip_sdk.cli.options import ModelOptions, RunOptions, TextOptions, known_labels
from samclip_sdk.cli.terminal import WrongUsageError
from samclip_sdk.client import SamClip
from samclip_sdk.runtimes.known import RUNTIMES

WORKERS = 2
_OPTION = "--ray"
_ADDRESS = re.compile(r"auto|local|[^-].*:.*")


@dataclass(frozen=True)
class ClusterOptions:
    """Whether workers of a Ray cluster annotate, and which."""

    ray: Annotated[
        str | None,
        typer.Option(
            metavar="[ADDRESS]",
            help="on workers of a Ray cluster: HOST:PORT of its head, auto for the one that this "
            "machine is in, or local; by default RAY_ADDRESS or local",
        ),
    ] = None
    workers: Annotated[
        int | None,
        typer.Option(min=1, help=f"with --ray: each with a model of its own; by default {WORKERS}"),
    ] = None

    @property
    def wanted(self) -> bool:
        """Whether workers were asked for."""
        return self.ray is not None

    def check(self) -> None:
        """Refuses what could not be, before a model is opened.

        Raises:
            WrongUsageError: workers without a cluster.
            OptionError: the address is none.
            RuntimeMissingError: Ray is missing.
            ClusterError: nobody is at the address.
        """
        if not self.wanted:
            if self.workers is not None:
                raise WrongUsageError("--workers needs --ray")
            return
        find_cluster(check_address(self.ray))
        import_ray()

    @contextmanager
    def answering(
        self, annotator: Annotator, opening: Opening, *, readers: int
    ) -> Iterator[Callable[[Sequence[SourcePicture]], Answered]]:
        """What `annotate_listing` takes: the annotator of this process, or workers like it.

        Yields:
            Where workers were asked for, theirs: each has one thread if nothing was said.
        """
        if not self.wanted:
            yield partial(annotate_pictures, annotator, readers=readers)
            return
        run, settings = opening.run, annotator.settings
        threads = max(1, run.threads)
        on_gpu = "cuda" in f"{run.device} {run.provider}".lower()
        workers = RayWorkers(
            opening.elsewhere(settings, threads=threads),
            settings=settings,
            workers=self.workers or WORKERS,
            cpus=threads,
            gpus=int(on_gpu or RUNTIMES[settings.runtime].on_gpu),
            readers=readers,
            address=self.ray,
        )
        # Ray tells of nodes that die on standard output, where the answer goes.
        with redirect_stdout(sys.stderr), workers:
            yield workers.annotate


@dataclass(frozen=True)
class AskedOfAll:
    """What every picture is asked; see `Annotator`."""

    labels: tuple[str, ...]
    vocabulary: Path | None
    asked: TextOptions
    instances: bool
    max_instances: int | None
    polygons: bool

    def annotator(self, samclip: SamClip) -> Annotator:
        """Embeds the labels; raises what `Annotator` raises."""
        return Annotator(
            samclip,
            known_labels(samclip, self.labels, self.vocabulary),
            threshold=self.asked.threshold,
            mask_threshold=self.asked.mask_threshold,
            points_per_class=self.asked.points_per_class,
            refine=self.asked.refine,
            instances=self.instances,
            max_instances=self.max_instances,
            polygons=self.polygons,
        )


@dataclass(frozen=True)
class Opening:
    """What a worker calls once."""

    every: AskedOfAll
    opened: ModelOptions
    run: RunOptions
    text_cache: bool

    def __call__(self) -> Annotator:
        """Opens a model, and embeds the labels."""
        return self.every.annotator(self.opened.load(self.run, text_cache=self.text_cache))

    def elsewhere(self, settings: AnnotationSettings, *, threads: int) -> Opening:
        """The same for another working folder, with the runtime that was chosen here."""
        model, key, vocabulary = self.opened.model, self.opened.key, self.every.vocabulary
        opened = replace(
            self.opened,
            model=os.path.abspath(model) if Path(model).exists() else model,
            runtime=settings.runtime,
            precision=settings.precision,
            key=key and key.absolute(),
        )
        every = replace(self.every, vocabulary=vocabulary and vocabulary.absolute())
        return replace(self, every=every, opened=opened, run=replace(self.run, threads=threads))


class AnnotateCommand(TyperCommand):
    """Lets `--ray` stand without an address, for which Typer has no way."""

    def make_parser(self, ctx: Any) -> Any:
        """The parser, which finds an address behind every --ray."""
        parser = super().make_parser(ctx)
        parse = parser.parse_args
        setattr(parser, "parse_args", lambda args: parse(_with_address(args)))  # noqa: B010
        return parser


def _with_address(words: Sequence[str]) -> list[str]:
    """A --ray that no address follows is given an empty one: labels may come behind it."""
    found: list[str] = []
    for word, following in zip(words, [*words[1:], ""], strict=False):
        bare = word == _OPTION and not _ADDRESS.fullmatch(following)
        found.append(f"{_OPTION}=" if bare else word)
    return found
