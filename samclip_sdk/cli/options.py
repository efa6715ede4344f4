"""The arguments and options that commands share, with their help and their checks."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, ClassVar, get_args, get_origin, get_type_hints

import typer

from samclip_sdk.bundle.open import DEFAULT_MODEL
from samclip_sdk.cli.terminal import Display, WrongUsageError
from samclip_sdk.client import SamClip
from samclip_sdk.device.auto_records import AUTO
from samclip_sdk.engine.queries import Query, TextQuery, options_of
from samclip_sdk.errors import PromptError, TextError, one_line
from samclip_sdk.image.tiles import Tiling
from samclip_sdk.runtimes.options import COMPUTE_UNITS, RuntimeOptions
from samclip_sdk.runtimes.table import PRECISIONS, RUNTIMES
from samclip_sdk.system.progress import no_progress

MODEL_HELP = "a bundle's folder, .zip or name, or org/name or org/name@revision of a hub"
OtherImage = Annotated[Path | None, typer.Argument(metavar="[IMAGE]", help="an image")]
Labels = Annotated[
    list[str] | None, typer.Argument(metavar="LABEL", help="nouns, such as: dog cat")
]
Vocabulary = Annotated[
    Path | None,
    typer.Option(help="a vocabulary pack; without other labels, its own are looked for"),
]
TextCache = Annotated[
    bool, typer.Option(help="keep embeddings of labels in the user's cache folder")
]
BundleModel = Annotated[str, typer.Option("--model", help=MODEL_HELP)]
AnyPrecision = Annotated[
    str | None, typer.Option("--precision", help="the precision of the artifacts; by default all")
]
AnyRuntime = Annotated[str, typer.Option(help=f"{', '.join(RUNTIMES)} or {AUTO}")]
RunPrecision = Annotated[
    str | None,
    typer.Option(help=f"{', '.join(PRECISIONS)} or {AUTO}; by default the bundle's own choice"),
]
PublicKey = Annotated[
    Path | None,
    typer.Option(help="refuse a bundle that this Ed25519 public key (.pem) has not signed"),
]
MODEL_PANEL = "Model and device"
_THREADED = [each.name for each in RUNTIMES.values() if "threads" in each.options]
AsJson = Annotated[bool, typer.Option("--json", help="print one line of JSON")]


def query_option(query: type[Query], name: str, *flags: str) -> Any:
    """What Typer reads of an option of a query."""
    known = options_of(query)[name]
    if known.default is False and known.kind is bool:
        flags = flags or (f"--{name.replace('_', '-')}",)
    about = known.option
    return typer.Option(*flags, min=about.minimum, max=about.maximum, help=about.help)


@dataclass(frozen=True)
class RunOptions:
    """The device and the threads of a model; see `RuntimeOptions`."""

    panel: ClassVar[str] = MODEL_PANEL

    device: Annotated[
        str | None,
        typer.Option(help="cpu, cuda, cuda:1 or, with torch, mps; by default the runtime's choice"),
    ] = None
    provider: Annotated[
        list[str] | None,
        typer.Option(
            help="instead of a device, an execution provider of onnx; repeatable, the preferred "
            "one first"
        ),
    ] = None
    compute_units: Annotated[
        str | None, typer.Option(help=f"compute units of coreml: {', '.join(COMPUTE_UNITS)}")
    ] = None
    threads: Annotated[int, typer.Option(help=f"of {', '.join(_THREADED)}; 0: their choice")] = 0

    def for_runtime(self, display: Display | None) -> RuntimeOptions:
        """The same options for the SDK; the display, if there is one, shows long steps.

        Raises:
            OptionError: no runtime takes the value of an option.
        """
        return RuntimeOptions(
            device=self.device,
            providers=self.provider or (),
            compute_units=self.compute_units or COMPUTE_UNITS[0],
            threads=self.threads,
            on_progress=no_progress if display is None else display.show,
        )


@dataclass(frozen=True)
class ArtifactOptions:
    """Which artifacts of a model run, and where."""

    panel: ClassVar[str] = MODEL_PANEL

    runtime: AnyRuntime = AUTO
    precision: RunPrecision = None
    key: PublicKey = None
    run: RunOptions = field(default_factory=RunOptions)


@dataclass(frozen=True)
class ModelOptions(ArtifactOptions):
    """The model, which of its artifacts run, and where."""

    model: Annotated[str, typer.Option(help=f"{MODEL_HELP}; or a checkpoint")] = DEFAULT_MODEL

    def load(self, *, display: Display | None = None, text_cache: bool = False) -> SamClip:
        """Opens the model; raises the errors of `SamClip.load`."""
        options = self.run.for_runtime(display)
        return SamClip.load(
            self.runtime,
            model=self.model,
            precision=self.precision,
            device=options.device,
            providers=options.providers,
            compute_units=options.compute_units,
            threads=options.threads,
            text_cache=text_cache,
            public_key=self.key,
            on_progress=options.on_progress,
        )


@dataclass(frozen=True)
class LabelOptions:
    """Labels from options, a file or a vocabulary pack, beside those of the command line."""

    label: Annotated[
        list[str] | None, typer.Option(help="a noun to look for, such as dog; repeatable")
    ] = None
    labels_file: Annotated[
        Path | None, typer.Option(help="instead of them a text file, with a label in each line")
    ] = None
    vocabulary: Vocabulary = None
    text_cache: TextCache = True

    def read(self, labels: Sequence[str] | None) -> list[str]:
        """The labels of the command line or of the file; with a vocabulary there may be none.

        Raises:
            WrongUsageError: there are no labels, or both labels and a file.
            TextError: the file cannot be read as text.
        """
        labels = [*(labels or ()), *(self.label or ())]
        if not labels and self.labels_file is None and self.vocabulary is not None:
            return []
        if labels and self.labels_file is not None:
            raise WrongUsageError("labels and --labels-file: give one of the two")
        if not labels and self.labels_file is None:
            raise WrongUsageError(
                "no label: give nouns, such as: dog cat; or --labels-file, or --vocabulary"
            )
        if self.labels_file is None:
            return labels
        try:
            lines = self.labels_file.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, ValueError) as error:  # ValueError: not UTF-8, or NUL in the name
            reason = getattr(error, "strerror", None) or "it is not text in UTF-8"
            raise TextError(
                f"the labels in {one_line(self.labels_file)} cannot be read: {reason}"
            ) from error
        found = [line.strip() for line in lines if line.strip()]
        if not found:
            raise TextError(f"{one_line(self.labels_file)} has no label: write one in each line")
        return found

    def known(self, samclip: SamClip, labels: Sequence[str]) -> Sequence[str]:
        """Loads the vocabulary, if there is one; returns the given labels, or else its own."""
        packed = samclip.load_vocabulary(self.vocabulary) if self.vocabulary else ()
        return labels or packed


@dataclass(frozen=True)
class TileOptions:
    """The tiles of a large image; see `SamClip.segment_text`."""

    tiles: Annotated[
        str | None,
        typer.Option(
            metavar="ROWSxCOLUMNS|SIDE",
            help="segment tiles too: rows and columns, such as 2x3, or their longest side, px",
        ),
    ] = None
    tile_overlap: Annotated[float | None, query_option(TextQuery, "tile_overlap")] = None

    def read(self) -> tuple[int, int] | int | None:
        """The tiles in the form of `segment_text`, checked as far as possible without an image.

        Raises:
            WrongUsageError: they are neither rows and columns nor a side, or out of range.
        """
        parts = [] if self.tiles is None else self.tiles.lower().split("x")
        if len(parts) > 2 or not all(each.isascii() and each.isdecimal() for each in parts):
            raise WrongUsageError(
                f"--tiles {self.tiles!r} is neither rows and columns, such as 2x3, nor a side"
            )
        numbers = [int(each) for each in parts]
        tiles = (
            None if not numbers else numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1])
        )
        try:
            Tiling.asked(tiles, overlap=self.tile_overlap)
        except PromptError as error:
            raise WrongUsageError(f"--tiles: {error}") from error
        return tiles


@dataclass(frozen=True)
class Asked:
    """The options of a verb. `Annotated[Asked, TextQuery]` is a group with those of that query.

    Attributes:
        options: their values by name, without those of tiles.
        cut: the tiles.
    """

    options: Mapping[str, Any]
    cut: TileOptions

    def arguments(self) -> dict[str, Any]:
        """The arguments of the verb; raises WrongUsageError as `TileOptions.read`."""
        return {**self.options, "tiles": self.cut.read(), "tile_overlap": self.cut.tile_overlap}


@dataclass(frozen=True)
class _Group:
    """A function of options, of which some may be groups in turn; a command is the outermost one.

    Attributes:
        make: the function.
        parts: its parameters by name.
    """

    make: Callable[..., Any]
    parts: Mapping[str, inspect.Parameter | _Group]

    @classmethod
    def of_function(
        cls,
        make: Callable[..., Any],
        hints: Mapping[str, Any],
        *,
        panel: str | None = None,
        leading: int = 0,
    ) -> _Group:
        """The group of a function, or a dataclass, with annotated parameters after `leading`."""
        parameters = inspect.signature(make).parameters.items()
        return cls(
            make,
            {
                name: cls.of_hint(hints[name])
                or each.replace(annotation=_in_panel(hints[name], panel))
                for name, each in islice(parameters, leading, None)
            },
        )

    @classmethod
    def of_hint(cls, hint: Any) -> _Group | None:
        """The group that an annotation stands for; None if it is an option's."""
        if isinstance(hint, type) and is_dataclass(hint):
            hints = get_type_hints(hint, include_extras=True)
            return cls.of_function(hint, hints, panel=getattr(hint, "panel", None))
        kind, *query = get_args(hint) or (None,)
        return cls.of_query(query[0]) if kind is Asked else None

    @classmethod
    def of_query(cls, query: type[Query]) -> _Group:
        """The options of a query; those of tiles are written as `TileOptions` reads them."""
        options = {
            name: inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=known.default,
                annotation=Annotated[known.hint, query_option(query, name)],
            )
            for name, known in options_of(query).items()
            if not known.option.in_python_only and name != "tile_overlap"
        }
        cut = cls.of_hint(TileOptions)
        assert cut is not None
        return cls(Asked, {"options": cls(dict, options), "cut": cut})

    def parameters(self) -> Iterator[inspect.Parameter]:
        """The options, one after the other."""
        for part in self.parts.values():
            if isinstance(part, _Group):
                yield from part.parameters()
            else:
                yield part.replace(kind=inspect.Parameter.KEYWORD_ONLY)

    def call(self, given: Mapping[str, Any], *leading: Any) -> Any:
        """Calls the function with its leading arguments and the values of the options."""
        own = {
            name: part.call(given) if isinstance(part, _Group) else given[part.name]
            for name, part in self.parts.items()
        }
        return self.make(*leading, **own)


def grouped(command: Callable[..., None], *, leading: int = 0) -> Callable[..., None]:
    """Makes an option of each field of the dataclasses and the queries that a command takes.

    Typer reads a function's signature and knows no groups of options: without this, every command
    would repeat all of them.

    Args:
        command: a function with some parameters that are annotated with a dataclass, whose fields
            may be such in turn, or with `Asked` and a query.
        leading: how many of its first parameters are no options: its caller gives these.

    Returns:
        The command in the form that Typer reads.
    """
    # Not get_type_hints: on Python 3.10 it makes an Optional of a parameter that defaults to None.
    hints = inspect.get_annotations(command, eval_str=True)
    group = _Group.of_function(command, hints, leading=leading)
    parameters = list(group.parameters())

    def call(*leading: Any, **given: Any) -> None:
        group.call(given, *leading)

    call.__name__, call.__doc__ = command.__name__, command.__doc__
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # inspect reads it
    call.__annotations__ = {each.name: each.annotation for each in parameters}
    return call


def _in_panel(annotation: Any, panel: str | None) -> Any:
    """An option in a panel of the help; None is the panel of the command's own."""
    if get_origin(annotation) is not Annotated:
        return annotation
    kind, option = get_args(annotation)
    own = copy.copy(option)
    own.rich_help_panel = panel
    return Annotated[kind, own]
