"""`python -m training STAGE`: trains one stage of a config; starts again where it stopped."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Annotated, Any

import typer
from torch.utils.data import Dataset

from samclip_sdk.modeling.build import SamClipModel, build_model
from samclip_sdk.modeling.checkpoint import load_checkpoint, save_checkpoint
from samclip_sdk.modeling.config import PRESETS, ModelConfig
from training.captions import Captions
from training.config import (
    CONFIGS,
    ClipTeacherConfig,
    DistillConfig,
    SamTeacherConfig,
    StageConfig,
    load_stage,
)
from training.data import Joined, PictureBatches, SceneBatches
from training.scenes import Corpus, load_corpus
from training.tasks import ClipTeacherTask, DistillTask, SamTeacherTask
from training.teachers import SmallClip, SmallSam, load_teacher, save_teacher
from training.train import train
from training.vocabulary import CORPUS, tiny_vocabulary

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    stage: Annotated[str, typer.Argument(help="a table of the config, such as stage2")],
    override: Annotated[
        list[str] | None, typer.Option("--set", help="dotted.key=value, overrides the config")
    ] = None,
    config: Annotated[str, typer.Option(help="a config of training/configs, by name")] = "tiny",
    runs: Annotated[Path, typer.Option(help="folder of the runs, one each stage")] = Path("runs"),
) -> None:
    """Trains STAGE and writes its result into RUNS/CONFIG/STAGE."""
    path = CONFIGS / f"{config}.toml"
    settings = load_stage(path, stage, overrides=tuple(override or ()))
    clip_settings = load_stage(path, "clip_teacher")
    assert isinstance(clip_settings, ClipTeacherConfig)
    run = runs / config / stage
    run.mkdir(parents=True, exist_ok=True)
    (run / "config.json").write_text(settings.model_dump_json(indent=2), encoding="utf-8")
    stages = Stages(PRESETS[config], clip_settings, runs / config)
    match settings:
        case ClipTeacherConfig():
            stages.train_clip_teacher(settings, run)
        case SamTeacherConfig():
            stages.train_sam_teacher(settings, run)
        case DistillConfig():
            stages.distill(settings, run)


class Stages:
    """Puts teachers, student and data together for each kind of stage."""

    def __init__(self, model: ModelConfig, clip: ClipTeacherConfig, runs: Path) -> None:
        self.model = model
        self.clip_settings = clip
        self.runs = runs
        self.nouns = tiny_vocabulary(clip.nouns)

    def train_clip_teacher(self, settings: ClipTeacherConfig, run: Path) -> None:
        """Trains the small CLIP."""
        clip = self._new_clip()
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
        train(task, settings.optimisation, run)
        save_teacher(clip, run / "model.safetensors")

    def train_sam_teacher(self, settings: SamTeacherConfig, run: Path) -> None:
        """Trains the small SAM."""
        sam = SmallSam(build_model(self.model, seed=settings.optimisation.seed))
        dataset = SceneBatches(self._corpus(), settings.scenes, seed=settings.optimisation.seed)
        train(SamTeacherTask(sam, dataset), settings.optimisation, run)
        save_teacher(sam, run / "model.safetensors")

    def distill(self, settings: DistillConfig, run: Path) -> None:
        """Runs one of the paper's stages and writes a checkpoint."""
        clip, sam = self.teachers()
        student = self._student(settings, clip=clip, sam=sam)
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
            clip=clip,
            sam=sam,
            sam_weight=settings.sam_weight,
            region_weight=settings.region_weight,
        )
        train(task, settings.optimisation, run)
        save_checkpoint(student, run, provenance=_provenance(settings))

    def teachers(self) -> tuple[SmallClip, SmallSam]:
        """The two trained teachers, frozen."""
        clip, sam = self._new_clip(), SmallSam(build_model(self.model))
        load_teacher(clip, self.runs / "clip_teacher" / "model.safetensors")
        load_teacher(sam, self.runs / "sam_teacher" / "model.safetensors")
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

    def _new_clip(self) -> SmallClip:
        resolution = self.clip_settings.pictures.resolutions[-1]
        tower = self.clip_settings.image_tower
        return SmallClip(self.model, image_tower=tower, resolution=resolution)

    def _corpus(self) -> Corpus:
        return load_corpus(CORPUS, split="train", nouns=[noun.name for noun in self.nouns])


def _provenance(settings: StageConfig) -> dict[str, Any]:
    versions = {name: importlib.metadata.version(name) for name in ("torch", "timm", "numpy")}
    return {"stage": settings.model_dump(mode="json"), "versions": versions}


if __name__ == "__main__":
    app()
