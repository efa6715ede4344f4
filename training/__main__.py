"""`python -m training STAGE`: runs one stage of a config; starts again where it stopped."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import typer
from lightning_fabric import Fabric
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

from samclip_sdk.cli.options import grouped
from samclip_sdk.cli.terminal import PlainProgress, warnings_as_lines
from samclip_sdk.errors import SamClipError
from samclip_sdk.system.progress import OnProgress
from training.config_file import config_name, find_config, load_model, load_stage, stage_names
from training.errors import TrainingError
from training.loop.memory import keep_freed_memory
from training.loop.run_state import check_state
from training.loop.train import build_fabric, leave_processes
from training.stage import Stage, StageSettings
from training.stage_order import note_done, note_stages, stages_to_run

app = typer.Typer(add_completion=False, rich_markup_mode="markdown", pretty_exceptions_enable=False)

_CONFIG, _RUNS = "tiny", Path("runs")  # the defaults, which no command needs to name
_ALL, _FINETUNE = "all", "finetune"
_ACCELERATORS = ("auto", "cpu", "cuda", "mps")


@dataclass(frozen=True)
class Launch:
    """The processes and machines that a stage runs on, and their accelerator."""

    devices: Annotated[int, typer.Option(min=1, help="processes on this machine")] = 1
    nodes: Annotated[int, typer.Option(min=1, help="machines; start each with torchrun")] = 1
    accelerator: Annotated[str, typer.Option(help="auto, cpu, cuda or mps")] = "auto"

    def check(self, settings: StageSettings) -> None:
        """Compares what was asked for with the machine and with the stage.

        Raises:
            TrainingError: the machine does not have that, the stage runs in one process or on one
                machine only, or the processes cannot share its steps.
        """
        if self.accelerator not in _ACCELERATORS:
            known = ", ".join(_ACCELERATORS)
            raise TrainingError(f"--accelerator {self.accelerator}: give one of {known}")
        found = torch.accelerator.current_accelerator(check_available=True)
        here = "cpu" if found is None else found.type
        wanted = here if self.accelerator == "auto" else self.accelerator
        if wanted not in ("cpu", here):
            raise TrainingError(
                f"--accelerator {wanted}: torch {torch.__version__} finds no such device here; "
                "give auto or cpu"
            )
        if wanted != "cpu" and self.devices > torch.accelerator.device_count():
            count = torch.accelerator.device_count()
            raise TrainingError(f"--devices {self.devices}: there are {count} of {wanted} here")
        if settings.one_process and self.devices * self.nodes > 1:
            raise TrainingError(
                f"a stage of the task {settings.task} runs in one process: leave out --devices "
                "and --nodes"
            )
        if settings.one_machine and self.nodes > 1:
            raise TrainingError(
                f"a stage of the task {settings.task} runs on one machine: leave out --nodes"
            )
        settings.check_processes(self.devices * self.nodes)

    def __call__(self, settings: StageSettings) -> Fabric:
        """Starts the processes; each goes on from here."""
        keep_freed_memory()
        fabric = build_fabric(
            settings.computes_in,
            devices=self.devices,
            nodes=self.nodes,
            accelerator=self.accelerator,
        )
        fabric.launch()
        return fabric


@dataclass(frozen=True)
class OwnImages:
    """One's own images, which the stage finetune alone has and needs."""

    coco: Annotated[Path | None, typer.Option(help="of finetune: one's own COCO file")] = None
    images: Annotated[Path | None, typer.Option(help="of finetune: its folder of images")] = None

    def settings(self, stage: str, config: str) -> tuple[str, list[str]]:
        """The config that runs, and its settings of these images; raises TrainingError."""
        own = vars(self)
        if stage != _FINETUNE or config != _CONFIG:
            if any(own.values()):
                raise TrainingError("--coco and --images are of the stage finetune")
            return config, []
        if not all(own.values()):
            raise TrainingError("finetune needs --coco FILE and --images FOLDER")
        return _FINETUNE, [f"{name}={json.dumps(str(each))}" for name, each in own.items()]


@app.command()
@grouped
def main(
    stage: Annotated[str, typer.Argument(help="a table of the config, such as stage2, or all")],
    *,
    override: Annotated[
        list[str] | None, typer.Option("--set", help="dotted.key=value, overrides the config")
    ] = None,
    config: Annotated[
        str, typer.Option(help="a config of training/configs by name, or a TOML file's path")
    ] = _CONFIG,
    runs: Annotated[Path, typer.Option(help="folder of the runs, one each stage")] = _RUNS,
    launch: Launch,
    changed: Annotated[
        bool, typer.Option("--changed", help="resume although the settings have changed")
    ] = False,
    own: OwnImages,
    smoke: Annotated[
        int, typer.Option(min=0, help="only so many steps: speed, memory and hours; no result")
    ] = 0,
) -> None:
    """Runs STAGE, a table of the config, or all of them.

    finetune teaches a finished model one's own things: give --coco and --images.

    Of tiny's, in order: clip_teacher, sam_teacher, stage1, stage2, stage3, calibrate.
    A stage writes its result into RUNS/CONFIG/STAGE; calibrate, into the checkpoint's folder. With
    "all", stages that are done are not run again.
    """
    try:
        config, settings = own.settings(stage, config)
        override = [*settings, *(override or ())]
        if smoke and stage == _ALL:
            raise TrainingError("--smoke is for one stage: give a stage's name instead of all")
        with warnings_as_lines(partial(typer.echo, err=True)), _drawn_progress() as on_progress:
            run = partial(
                _run,
                config=config,
                runs=runs,
                launch=launch,
                changed=changed,
                smoke=smoke,
                on_progress=on_progress,
            )
            for each in _asked_stages(stage, config, runs=runs, overrides=override):
                if told := run(each, tuple(override)):
                    typer.echo(told)
        leave_processes()
    except SystemExit:  # stopped by a signal, which all processes heed at the same step
        leave_processes()
        raise
    except (OSError, FloatingPointError, SamClipError) as error:
        typer.echo(f"error: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(1) from error


def _asked_stages(
    stage: str, config: str, *, runs: Path, overrides: Sequence[str]
) -> tuple[str, ...]:
    """The stage, or of all those that are still to be run."""
    if stage != _ALL:
        return (stage,)
    stages = stages_to_run(find_config(config), runs=runs, overrides=overrides)
    if not stages:
        typer.echo(f"all stages of {config} are done")
    return stages


def _run(
    stage: str,
    overrides: tuple[str, ...],
    *,
    config: str,
    runs: Path,
    launch: Launch,
    changed: bool,
    smoke: int,
    on_progress: OnProgress,
) -> str:
    """Runs a stage as soon as all that it needs is known to exist.

    Returns:
        Where the result is, and the next command, or the pace; nothing in other processes than the
        first.
    """
    path = find_config(config)
    settings, model = load_stage(path, stage, overrides=overrides), load_model(path)
    launch.check(settings)
    results, run = runs / path.stem, runs / path.stem / stage
    settings.check(runs=results)
    if not smoke:
        check_state(run)
    fabric = launch(settings)
    opened = Stage(
        run=run,
        runs=results,
        model=model,
        fabric=fabric,
        allow_changes=changed,
        on_progress=on_progress,
    )
    if smoke:
        pace = settings.smoke(opened, steps=smoke)
        return f"{stage}: {pace}" if fabric.is_global_zero else ""
    result = settings.run(opened)
    if not fabric.is_global_zero:
        return ""
    note_done(run, settings, path=path)
    note_stages(result, path=path, stage=stage)
    following = _next(stage, path, runs=runs, last=result)
    return f"{settings.told(result)}{_short(result)} is written. Next: {following}"


def _next(stage: str, path: Path, *, runs: Path, last: Path) -> str:
    """The command of the next table of the config; after the last one, that of the export."""
    names = stage_names(path)
    following = names[names.index(stage) + 1 :]
    if not following:
        return f"python -m export {_short(last)} my-bundle"
    words = ["python -m training", following[0]]
    if path != find_config(_CONFIG):
        words.append(f"--config {config_name(path)}")
    if runs != _RUNS:
        words.append(f"--runs {_short(runs)}")
    return " ".join(words)


def _short(path: Path) -> Path:
    """The path as seen from here, if it is below."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


@contextmanager
def _drawn_progress() -> Iterator[OnProgress]:
    """A bar on the error output once there is something to show, or lines without a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield PlainProgress(console).show
        return
    progress = Progress(
        BarColumn(20),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}", table_column=Column(ratio=1, no_wrap=True)),
        console=console,
        expand=True,
    )

    def show(message: str, done: int, total: int) -> None:
        if not progress.tasks:
            progress.start()
            progress.add_task("", total=total, completed=done)
        bar = progress.tasks[0]
        if total != bar.total:  # another piece of work
            progress.reset(bar.id, total=total)
        progress.update(bar.id, description=escape(message), completed=done)

    try:
        yield show
    finally:
        if progress.tasks:
            progress.stop()


if __name__ == "__main__":
    app()
