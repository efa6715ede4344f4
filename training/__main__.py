"""`python -m training STAGE`: runs one stage of a config; starts again where it stopped."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from lightning_fabric import Fabric

from samclip_sdk.errors import SamClipError
from training.config import (
    CalibrateConfig,
    ClipTeacherConfig,
    DistillConfig,
    EmbeddingsConfig,
    Precision,
    PublishConfig,
    SamTeacherConfig,
    find_config,
    load_model,
    load_stage,
    stage_names,
)
from training.loop.train import build_fabric, leave_processes
from training.stages import Stages, publish
from training.teachers.teacher_pair import SETTINGS_NAME

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

_PUBLISHED = Path(__file__).parent / "checkpoints"


@app.command()
def main(
    stage: Annotated[str, typer.Argument(help="a table of the config, such as stage2")],
    override: Annotated[
        list[str] | None, typer.Option("--set", help="dotted.key=value, overrides the config")
    ] = None,
    config: Annotated[
        str, typer.Option(help="a config of training/configs by name, or a TOML file's path")
    ] = "tiny",
    runs: Annotated[Path, typer.Option(help="folder of the runs, one each stage")] = Path("runs"),
    devices: Annotated[int, typer.Option(min=1, help="processes on this machine")] = 1,
    nodes: Annotated[int, typer.Option(min=1, help="machines; start each with torchrun")] = 1,
    accelerator: Annotated[str, typer.Option(help="auto, cpu, cuda or mps")] = "auto",
    changed: Annotated[
        bool, typer.Option("--changed", help="resume although the settings have changed")
    ] = False,
) -> None:
    """Runs STAGE, a table of the config.

    Of tiny's, in order: clip_teacher, sam_teacher, stage1, stage2, stage3, publish, calibrate.
    A stage writes its result into RUNS/CONFIG/STAGE; publish, into training/checkpoints/CONFIG;
    calibrate, into the checkpoint's folder.
    """
    try:
        _run(
            stage,
            tuple(override or ()),
            path=find_config(config),
            runs=runs,
            launch=Launch(devices, nodes, accelerator),
            changed=changed,
        )
        leave_processes()
    except SystemExit:  # stopped by a signal, which all processes heed at the same step
        leave_processes()
        raise
    except (ValueError, OSError, FloatingPointError, SamClipError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error


@dataclass(frozen=True)
class Launch:
    """On how many processes and machines a stage runs, and on what."""

    devices: int
    nodes: int
    accelerator: str

    def __call__(self, precision: Precision) -> Fabric:
        """Starts the processes; each goes on from here."""
        fabric = build_fabric(
            precision, devices=self.devices, nodes=self.nodes, accelerator=self.accelerator
        )
        fabric.launch()
        return fabric


def _run(
    stage: str,
    overrides: tuple[str, ...],
    *,
    path: Path,
    runs: Path,
    launch: Launch,
    changed: bool,
) -> None:
    settings = load_stage(path, stage, overrides=overrides)
    results = runs / path.stem
    run = results / stage
    clip_settings = (
        settings
        if isinstance(settings, ClipTeacherConfig)
        else _clip_settings(path, trained=results / "clip_teacher" / SETTINGS_NAME)
    )
    stages = Stages(load_model(path), clip=clip_settings, runs=results, allow_changes=changed)

    match settings:
        case ClipTeacherConfig():
            stages.train_clip_teacher(settings, run, launch(settings.optimisation.precision))
        case SamTeacherConfig():
            stages.train_sam_teacher(settings, run, launch(settings.optimisation.precision))
        case EmbeddingsConfig():
            stages.embed(settings, launch(settings.precision))
        case DistillConfig():
            stages.distill(settings, run, launch(settings.optimisation.precision))
        case PublishConfig():
            for name in settings.results:
                publish(results / name, _PUBLISHED / path.stem / name)
        case CalibrateConfig():
            stages.calibrate(settings)


def _clip_settings(path: Path, *, trained: Path) -> ClipTeacherConfig | None:
    """Those that the CLIP teacher was trained with; the config's, if it was not trained yet."""
    if trained.exists():
        return ClipTeacherConfig.model_validate_json(trained.read_text(encoding="utf-8"))
    if "clip_teacher" not in stage_names(path):
        return None
    settings = load_stage(path, "clip_teacher")
    assert isinstance(settings, ClipTeacherConfig)
    return settings


if __name__ == "__main__":
    app()
