"""`python -m training STAGE`: runs one stage of a config; starts again where it stopped."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import typer
from lightning_fabric import Fabric

from samclip_sdk.cli.terminal import warnings_as_lines
from samclip_sdk.errors import SamClipError
from samclip_sdk.modeling.config import ModelConfig
from samclip_sdk.system.progress import OnProgress
from training.config import (
    CalibrateConfig,
    ClassifierClipConfig,
    ClipTeacherConfig,
    DistillConfig,
    EmbeddingsConfig,
    JointConfig,
    PublishConfig,
    SamTeacherConfig,
    StageConfig,
)
from training.config_file import CONFIGS, find_config, load_model, load_stage, stage_names
from training.errors import TrainingError
from training.inputs import check_inputs
from training.loop.run_state import check_state
from training.loop.train import build_fabric, leave_processes
from training.loop_config import Optimisation, Precision, Sharding
from training.publishing import publish_results
from training.stage_order import note_done, stages_to_run
from training.stages import Stages
from training.step_size import Trained, batches_in_step
from training.teachers.teacher_pair import SETTINGS_NAME
from training.terminal import drawn_progress
from training.text_config import (
    LexiconConfig,
    TextEncoderTrainingConfig,
    TextTeacherConfig,
)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

_CONFIG, _RUNS = "tiny", Path("runs")  # what is taken where nothing is said
_PUBLISHED = Path(__file__).parent / "checkpoints"
_ALL = "all"
_ACCELERATORS = ("auto", "cpu", "cuda", "mps")
_IN_ONE_PROCESS = (
    TextTeacherConfig,
    LexiconConfig,
    TextEncoderTrainingConfig,
    PublishConfig,
    CalibrateConfig,
)
_SHARDED = (DistillConfig, SamTeacherConfig)


@app.command()
def main(
    stage: Annotated[str, typer.Argument(help="a table of the config, such as stage2, or all")],
    override: Annotated[
        list[str] | None, typer.Option("--set", help="dotted.key=value, overrides the config")
    ] = None,
    config: Annotated[
        str, typer.Option(help="a config of training/configs by name, or a TOML file's path")
    ] = _CONFIG,
    runs: Annotated[Path, typer.Option(help="folder of the runs, one each stage")] = _RUNS,
    devices: Annotated[int, typer.Option(min=1, help="processes on this machine")] = 1,
    nodes: Annotated[int, typer.Option(min=1, help="machines; start each with torchrun")] = 1,
    accelerator: Annotated[str, typer.Option(help="auto, cpu, cuda or mps")] = "auto",
    changed: Annotated[
        bool, typer.Option("--changed", help="resume although the settings have changed")
    ] = False,
) -> None:
    """Runs STAGE, a table of the config, or all of them.

    Of tiny's, in order: clip_teacher, sam_teacher, stage1, stage2, stage3, calibrate.
    A stage writes its result into RUNS/CONFIG/STAGE; publish, into training/checkpoints/CONFIG;
    calibrate, into the checkpoint's folder. With "all", stages that are done are not run again, and
    nothing is published.
    """
    try:
        with warnings_as_lines(partial(typer.echo, err=True)), drawn_progress() as on_progress:
            run = partial(
                _run,
                config=config,
                runs=runs,
                launch=Launch(devices, nodes, accelerator),
                changed=changed,
                on_progress=on_progress,
            )
            stages: tuple[str, ...] = (stage,)
            if stage == _ALL:
                stages = stages_to_run(find_config(config), runs=runs, overrides=override)
            for each in stages:
                if told := run(each, tuple(override or ())):
                    typer.echo(told)
        leave_processes()
    except SystemExit:  # stopped by a signal, which all processes heed at the same step
        leave_processes()
        raise
    except (OSError, FloatingPointError, SamClipError) as error:
        typer.echo(f"error: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(1) from error


@dataclass(frozen=True)
class Launch:
    """On how many processes and machines a stage runs, and on what."""

    devices: int
    nodes: int
    accelerator: str

    def check(self, settings: StageConfig, model: ModelConfig) -> None:
        """Holds what was asked against the machine, and against the stage of a model.

        Raises:
            TrainingError: the machine does not have that, the stage runs in one process only or on
                one machine, its pictures cannot be shared out, or it cannot be sharded.
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
        if isinstance(settings, _IN_ONE_PROCESS) and self.devices * self.nodes > 1:
            raise TrainingError(
                f"a stage of the task {settings.task} runs in one process: leave out --devices "
                "and --nodes"
            )
        if isinstance(settings, Trained):
            batches_in_step(settings, processes=self.devices * self.nodes)
        if isinstance(settings, EmbeddingsConfig) and self.nodes > 1:
            raise TrainingError(
                f"a stage of the task {settings.task} runs on one machine, whose processes fill "
                "its cache: leave out --nodes"
            )
        if _sharding(settings) != "none":
            self._check_sharding(settings, model)

    def _check_sharding(self, settings: StageConfig, model: ModelConfig) -> None:
        kind, reason = model.image_encoder.kind, ""
        if not isinstance(settings, _SHARDED):
            reason = f"a stage of the task {settings.task} cannot be"
        elif kind != "vit_det":
            reason = f"that is for image encoders of the kind vit_det, and {model.name} has {kind}"
        elif self.devices * self.nodes == 1:
            reason = "there is one process: give --devices or --nodes"
        if reason:
            raise TrainingError(
                f'optimisation.sharding is "full", but {reason}; or set it to "none"'
            )

    def __call__(self, settings: StageConfig) -> Fabric:
        """Starts the processes; each goes on from here."""
        fabric = build_fabric(
            _precision(settings),
            devices=self.devices,
            nodes=self.nodes,
            accelerator=self.accelerator,
            sharding=_sharding(settings),
        )
        fabric.launch()
        return fabric


def _run(
    stage: str,
    overrides: tuple[str, ...],
    *,
    config: str,
    runs: Path,
    launch: Launch,
    changed: bool,
    on_progress: OnProgress,
) -> str:
    """Runs a stage, once all that it needs is known to be there.

    Returns:
        Where the result is, and which command is next; nothing but in the first process.
    """
    path = find_config(config)
    settings, model = load_stage(path, stage, overrides=overrides), load_model(path)
    launch.check(settings, model)
    results, run = runs / path.stem, runs / path.stem / stage
    check_inputs(settings, runs=results)
    check_state(run)
    stages = Stages(
        model,
        clip=_clip_settings(settings, path, trained=results / "clip_teacher" / SETTINGS_NAME),
        runs=results,
        allow_changes=changed,
        on_progress=on_progress,
    )
    fabric = launch(settings)
    result, note = _carry_out(settings, stages, run, fabric, published=_PUBLISHED / path.stem)
    if not fabric.is_global_zero:
        return ""
    note_done(run, settings)
    runs = _PUBLISHED if isinstance(settings, PublishConfig) else runs
    return f"{_short(result)} is written{note}. Next: {_next(stage, path, runs=runs, last=result)}"


def _carry_out(
    settings: StageConfig, stages: Stages, run: Path, fabric: Fabric, *, published: Path
) -> tuple[Path, str]:
    """Does what a stage is for.

    Returns:
        Where the result is, and what else is to be told of it.
    """
    match settings:
        case ClipTeacherConfig() | SamTeacherConfig() | ClassifierClipConfig():
            stages.train_teacher(settings, run, fabric)
        case TextTeacherConfig() | LexiconConfig():
            stages.fit_words(settings, run)
        case TextEncoderTrainingConfig():
            stages.train_text_encoder(settings, run, fabric)
        case EmbeddingsConfig():
            stages.embed(settings, fabric)
            return settings.folder, ""
        case DistillConfig():
            stages.distill(settings, run, fabric)
        case JointConfig():
            stages.train_jointly(settings, run, fabric)
        case PublishConfig():
            publish_results(settings, results=run.parent, target=published)
            return published, ""
        case CalibrateConfig():
            kept = stages.calibrate(settings, fabric)
            note = f" ({' and '.join(kept)} at their defaults, for want of masks)" if kept else ""
            return run.parent / settings.checkpoint, note
    return run, ""


def _clip_settings(settings: StageConfig, path: Path, *, trained: Path) -> ClipTeacherConfig | None:
    """Those that the CLIP teacher was trained with; the config's, if it was not trained yet."""
    if isinstance(settings, ClipTeacherConfig):
        return settings
    if trained.exists():
        try:
            return ClipTeacherConfig.model_validate_json(trained.read_text(encoding="utf-8"))
        except ValueError as error:
            raise TrainingError(f"{trained} is not what the stage clip_teacher wrote") from error
    if "clip_teacher" not in stage_names(path):
        return None
    own = load_stage(path, "clip_teacher")
    return own if isinstance(own, ClipTeacherConfig) else None


def _precision(settings: StageConfig) -> Precision:
    if isinstance(settings, EmbeddingsConfig):
        return settings.precision
    optimisation = _optimisation(settings)
    return "fp32" if optimisation is None else optimisation.precision


def _sharding(settings: StageConfig) -> Sharding:
    optimisation = _optimisation(settings)
    return "none" if optimisation is None else optimisation.sharding


def _optimisation(settings: StageConfig) -> Optimisation | None:
    """How a stage steps, if the loop runs it."""
    match settings:
        case TextTeacherConfig() | LexiconConfig():
            return None
        case PublishConfig() | CalibrateConfig():
            return None
        case EmbeddingsConfig():
            return None
        case _:
            return settings.optimisation


def _next(stage: str, path: Path, *, runs: Path, last: Path) -> str:
    """The command of the next table of the config; after the last one, that of the export."""
    names = stage_names(path)
    following = names[names.index(stage) + 1 :]
    if not following:
        return f"python -m export {_short(last)} my-bundle"
    words = ["python -m training", following[0]]
    if path != find_config(_CONFIG):
        words.append(f"--config {path.stem if path.parent == CONFIGS else path}")
    if runs != _RUNS:
        words.append(f"--runs {_short(runs)}")
    return " ".join(words)


def _short(path: Path) -> Path:
    """The path as seen from here, if it is below."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


if __name__ == "__main__":
    app()
