"""The stage that trains one part of a finished model alone."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from samclip_sdk.modeling.build import SamClipModel
from samclip_sdk.modeling.checkpoint import read_provenance
from training.errors import TrainingError
from training.files import check_trained
from training.real.joint_batches import JointBatches
from training.stage import Job, Stage, start_folder
from training.stages.joint import LabelledSettings, give_classifier
from training.student_file import (
    PACKAGES,
    embed_names,
    has_proposals,
    read_calibration,
    read_nouns,
    start_from,
    write_student,
)
from training.tasks.part import MODULES, TASKS, Part
from training.teachers.efficientnet_lite import ImageNetClassifier
from training.teachers.text_teacher import TEXT_TEACHER, load_text_teacher


class PartConfig(LabelledSettings):
    """More of the joint training for one part of a finished model.

    Args:
        part: `pictures` (all but the text encoder), `heads` (what reads the backbone's features),
            `outlines` (the image encoder, the prompt encoder and the mask decoder), `prompts` (the
            latter two), `cells` (the layers of the CLIP head that correct each cell) or `proposals`
            (the head that proposes boxes of things).
        starts_from: the model, a stage's name or a folder. If it has no proposal head, `proposals`
            gives it a new one; so do `pictures` and `outlines`, if the config's model has one.
        share: of what was learned in the weights of the result. The rest are the weights before:
            their mean answers what is new nearly as well, and all else nearly as before (WiSE-FT,
            arXiv:2109.01903).
        restored: of the published classifier's weights in the backbone and in the CLIP head's first
            layers as the training begins. The rest are the model's: names that no image taught
            are known again, and what the heads learn is to answer all else as before.
        text_teacher: likewise, the space that the classifier was turned into, for `restored`.
    """

    task: Literal["part"]
    part: Part
    starts_from: str
    share: float = Field(default=1.0, gt=0, le=1)
    restored: float = Field(default=0.0, ge=0, le=1)
    text_teacher: str = TEXT_TEACHER

    def check(self, *, runs: Path) -> None:
        """Looks for the model and the data; raises TrainingError if one is missing."""
        check_trained(start_folder(self.starts_from, runs=runs))
        if self.restored:
            check_trained(self._space(runs))
        super().check(runs=runs)

    def prepare(self, stage: Stage) -> Job:
        """Builds the student and its data."""
        start = start_folder(self.starts_from, runs=stage.runs)
        proposals = self.part == "proposals" or (
            self.part in ("pictures", "outlines") and has_proposals(stage.model)
        )
        student, fresh = start_from(start, proposals=proposals, seed=self.optimisation.seed)
        train, validation = self.batches(stage)
        names, classes, kin = self.names(stage, train.names, others=read_nouns(start))
        classifier = ImageNetClassifier()
        task = TASKS[self.part](
            student,
            train,
            modules=MODULES[self.part],
            names=embed_names(student, names, folder=start),
            classifier=classifier,
            classes=classes,
            kin=kin,
            validation=validation,
            fresh=fresh,
        )
        if (found := read_calibration(start)) is not None:
            task.presence.start(scale=found.scale, bias=found.bias)
        if self.restored:
            axes = load_text_teacher(self._space(stage.runs)).space.axes
            restore(student, classifier, axes=axes, images=train, share=self.restored)
        provenance = self.provenance(stage, PACKAGES) | {
            "photographs": train.photographs.terms(),
            "starts_from": read_provenance(start),
        }

        def write() -> None:
            task.mix(self.share)
            write_student(student, stage.run, start=start, provenance=provenance)

        return Job(task, self.optimisation, write)

    def _space(self, runs: Path) -> Path:
        if "image_encoder" not in MODULES[self.part]:
            raise TrainingError(
                f"restored is not for {self.part}, which keeps the backbone as it is"
            )
        return start_folder(self.text_teacher, runs=runs)


@torch.no_grad()
def restore(
    student: SamClipModel,
    classifier: ImageNetClassifier,
    *,
    axes: Tensor,
    images: JointBatches,
    share: float,
) -> None:
    """Gives a student a share of the classifier's published weights back; see `give_classifier`."""
    before = copy.deepcopy(student)
    give_classifier(student, classifier, axes=axes, images=images)
    for mine, trained in zip(student.parameters(), before.parameters(), strict=True):
        mine.lerp_(trained, 1 - share)
