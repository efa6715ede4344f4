"""`python -m training STAGE`: runs one stage of a config; starts again where it stopped."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from lightning_fabric import Fabric
from safetensors.torch import load_file, save
from torch import nn
from torch.utils.data import Dataset

from samclip_sdk.modeling.build import SamClipModel, build_model
from samclip_sdk.modeling.checkpoint import load_checkpoint, read_provenance, save_checkpoint
from samclip_sdk.modeling.config import PRESETS, ModelConfig
from samclip_sdk.storage import atomic_file
from training.calibrate import CALIBRATION_NAME, calibrate
from training.captions import Captions
from training.config import (
    CONFIGS,
    CalibrateConfig,
    ClipTeacherConfig,
    DistillConfig,
    Optimisation,
    PublishConfig,
    SamTeacherConfig,
    load_stage,
)
from training.data import Joined, PictureBatches, SceneBatches
from training.scenes import Corpus, load_corpus
from training.tasks import ClipTeacherTask, DistillTask, SamTeacherTask
from training.teachers import SmallClip, SmallSam, load_teacher, save_teacher
from training.train import build_fabric, train
from training.vocabulary import CORPUS, tiny_vocabulary

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

_SETTINGS = "config.json"
_WEIGHTS = "model.safetensors"
_PUBLISHED = Path(__file__).parent / "checkpoints"


@app.command()
def main(
    stage: Annotated[str, typer.Argument(help="a table of the config, such as stage2")],
    override: Annotated[
        list[str] | None, typer.Option("--set", help="dotted.key=value, overrides the config")
    ] = None,
    config: Annotated[str, typer.Option(help="a config of training/configs, by name")] = "tiny",
    runs: Annotated[Path, typer.Option(help="folder of the runs, one each stage")] = Path("runs"),
    devices: Annotated[int, typer.Option(min=1, help="processes on this machine")] = 1,
    nodes: Annotated[int, typer.Option(min=1, help="machines; start each with torchrun")] = 1,
    accelerator: Annotated[str, typer.Option(help="auto, cpu, cuda or mps")] = "auto",
) -> None:
    """Runs STAGE: clip_teacher, sam_teacher, stage1, stage2, stage3, publish, calibrate, in order.

    A stage writes its result into RUNS/CONFIG/STAGE; publish, into training/checkpoints/CONFIG;
    calibrate, into the checkpoint's folder.
    """
    path = CONFIGS / f"{config}.toml"
    settings = load_stage(path, stage, overrides=tuple(override or ()))
    run = runs / config / stage
    clip_settings = (
        settings
        if isinstance(settings, ClipTeacherConfig)
        else _clip_settings(path, trained=runs / config / "clip_teacher" / _SETTINGS)
    )
    stages = Stages(PRESETS[config], clip_settings, runs / config)

    def launched(optimisation: Optimisation) -> Fabric:
        fabric = build_fabric(optimisation, devices=devices, nodes=nodes, accelerator=accelerator)
        fabric.launch()
        return fabric

    match settings:
        case ClipTeacherConfig():
            stages.train_clip_teacher(settings, run, launched(settings.optimisation))
        case SamTeacherConfig():
            stages.train_sam_teacher(settings, run, launched(settings.optimisation))
        case DistillConfig():
            stages.distill(settings, run, launched(settings.optimisation))
        case PublishConfig():
            for name in settings.results:
                publish(runs / config / name, _PUBLISHED / config / name)
        case CalibrateConfig():
            stages.calibrate(settings)


def _clip_settings(path: Path, *, trained: Path) -> ClipTeacherConfig:
    """Those that the CLIP teacher was trained with; the config's, if it was not trained yet."""
    if trained.exists():
        return ClipTeacherConfig.model_validate_json(trained.read_text(encoding="utf-8"))
    settings = load_stage(path, "clip_teacher")
    assert isinstance(settings, ClipTeacherConfig)
    return settings


class Stages:
    """Puts teachers, student and data together for each kind of stage."""

    def __init__(self, model: ModelConfig, clip: ClipTeacherConfig, runs: Path) -> None:
        self.model = model
        self.clip_settings = clip
        self.runs = runs
        self.nouns = tiny_vocabulary(clip.nouns)

    def train_clip_teacher(self, settings: ClipTeacherConfig, run: Path, fabric: Fabric) -> None:
        """Trains the small CLIP."""
        clip = self._new_clip()
        _go_on(clip, settings.starts_from)
        dataset = PictureBatches(
            self._corpus(),
            settings.pictures,
            num_nouns=len(self.nouns),
            seed=settings.optimisation.seed,
        )
        captions = Captions(self.nouns, embed_dim=self.model.embed_dim)
        task = ClipTeacherTask(
            clip,
            dataset,
            captions,
            text_weight=settings.text_weight,
            text_only_steps=settings.text_only_steps,
        )
        train(task, settings.optimisation, run, fabric=fabric)
        if fabric.is_global_zero:
            _write_teacher(clip, settings, run)

    def train_sam_teacher(self, settings: SamTeacherConfig, run: Path, fabric: Fabric) -> None:
        """Trains the small SAM."""
        sam = SmallSam(build_model(self.model, seed=settings.optimisation.seed))
        _go_on(sam, settings.starts_from)
        dataset = SceneBatches(self._corpus(), settings.scenes, seed=settings.optimisation.seed)
        train(SamTeacherTask(sam, dataset), settings.optimisation, run, fabric=fabric)
        if fabric.is_global_zero:
            _write_teacher(sam, settings, run)

    def distill(self, settings: DistillConfig, run: Path, fabric: Fabric) -> None:
        """Runs one of the paper's stages and writes a checkpoint."""
        clip, sam = self.teachers()
        student = self._student(settings, clip=clip, sam=sam)
        # Read now: whatever happens to the earlier stage later, this is what it was.
        provenance = self._provenance(settings, stage=run.name)
        corpus, seed = self._corpus(), settings.optimisation.seed
        datasets: dict[str, Dataset[Any]] = {
            "pictures": PictureBatches(
                corpus, settings.pictures, num_nouns=len(self.nouns), seed=seed + 1
            )
        }
        if settings.scenes is not None:
            datasets["scenes"] = SceneBatches(corpus, settings.scenes, seed=seed + 1)
        task = DistillTask(
            student,
            Joined(datasets),
            clip=clip.to(fabric.device),
            sam=sam.to(fabric.device),
            sam_weight=settings.sam_weight,
            region_weight=settings.region_weight,
            dense_weight=settings.dense_weight,
        )
        train(task, settings.optimisation, run, fabric=fabric)
        if fabric.is_global_zero:
            (run / CALIBRATION_NAME).unlink(missing_ok=True)  # it was of other weights
            save_checkpoint(student, run, provenance=provenance)

    def calibrate(self, settings: CalibrateConfig) -> None:
        """Writes a checkpoint's `calibration.json`, and into its provenance how it came about."""
        checkpoint = self.runs / settings.checkpoint
        calibrate(
            checkpoint,
            self._corpus(),
            size_px=self.model.segmentation_resolution,
            scenes=settings.scenes,
            seed=settings.seed,
        )
        content = json.loads((checkpoint / _SETTINGS).read_text(encoding="utf-8"))
        content["provenance"]["calibration"] = settings.model_dump(mode="json")
        with atomic_file(checkpoint / _SETTINGS) as file:
            file.write(json.dumps(content, indent=2).encode() + b"\n")

    def teachers(self) -> tuple[SmallClip, SmallSam]:
        """The two trained teachers, frozen."""
        clip, sam = self._new_clip(), SmallSam(build_model(self.model))
        load_teacher(clip, self.runs / "clip_teacher" / _WEIGHTS)
        load_teacher(sam, self.runs / "sam_teacher" / _WEIGHTS)
        return clip, sam

    def _student(self, settings: DistillConfig, *, clip: SmallClip, sam: SmallSam) -> SamClipModel:
        """Stage 0: SAM's parts, CLIP's text encoder, a head of copies; or an earlier stage."""
        if settings.starts_from != "teachers":
            return load_checkpoint(self.runs / settings.starts_from)
        student = build_model(self.model, seed=settings.optimisation.seed)
        SmallSam(student).load_state_dict(sam.state_dict())
        student.text_encoder.load_state_dict(clip.text_encoder.state_dict())
        student.logit_scale.copy_(clip.logit_scale)
        for block in student.clip_head.blocks:
            block.load_state_dict(student.image_encoder.blocks[-1].state_dict())
        return student

    def _provenance(self, settings: DistillConfig, *, stage: str) -> dict[str, Any]:
        """How a stage's weights come about, down to the teachers; `nouns` counts those taught."""
        if settings.starts_from == "teachers":
            starts_from = {
                name: json.loads((self.runs / name / _SETTINGS).read_text(encoding="utf-8"))
                for name in ("clip_teacher", "sam_teacher")
            }
        else:
            starts_from = read_provenance(self.runs / settings.starts_from)
        packages = ("torch", "timm", "numpy", "opencv-python-headless", "open_clip_torch")
        return {
            "stage": stage,
            "nouns": len(self.nouns),
            "settings": settings.model_dump(mode="json"),
            "versions": {name: importlib.metadata.version(name) for name in packages},
            "starts_from": starts_from,
        }

    def _new_clip(self) -> SmallClip:
        resolution = self.clip_settings.pictures.resolutions[-1]
        tower = self.clip_settings.image_tower
        return SmallClip(self.model, image_tower=tower, resolution=resolution)

    def _corpus(self) -> Corpus:
        return load_corpus(CORPUS, split="train", nouns=[noun.name for noun in self.nouns])


def publish(result: Path, target: Path) -> None:
    """Copies a teacher or a checkpoint, its weights rounded to fp16, without calibration."""
    state = load_file(result / _WEIGHTS)
    target.mkdir(parents=True, exist_ok=True)
    halves = {key: x.half() if x.is_floating_point() else x for key, x in state.items()}
    with atomic_file(target / _WEIGHTS) as file:
        file.write(save(halves))
    with atomic_file(target / _SETTINGS) as file:
        file.write((result / _SETTINGS).read_bytes())
    (target / CALIBRATION_NAME).unlink(missing_ok=True)  # it was of other weights


def _go_on(teacher: nn.Module, folder: Path | None) -> None:
    """Gives a teacher in training the weights of one that was trained."""
    if folder is not None:
        load_teacher(teacher, folder / _WEIGHTS)


def _write_teacher(
    module: nn.Module, settings: ClipTeacherConfig | SamTeacherConfig, run: Path
) -> None:
    """Writes a teacher's weights, and beside them the settings that say how to build it."""
    with atomic_file(run / _SETTINGS) as file:
        file.write(settings.model_dump_json(indent=2).encode())
    save_teacher(module, run / _WEIGHTS)


if __name__ == "__main__":
    app()
