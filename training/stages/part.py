"""The stage that trains one part of a finished model alone."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from samclip_sdk.modeling.build import SamClipModel
from samclip_sdk.modeling.checkpoint import load_checkpoint, read_provenance
from samclip_sdk.text.tokenizer import clean_text
from training.batches import VALIDATION_SEED
from training.data_config import JointPhotographs
from training.errors import TrainingError
from training.inputs import check_trained
from training.real.joint_batches import JointBatches
from training.real.photographs import Photographs, find_sets
from training.real.taught_nouns import class_names
from training.stage import Job, Stage, TrainedSettings
from training.stages.joint import give_classifier
from training.student_file import (
    embed_names,
    read_calibration,
    read_nouns,
    student_provenance,
    write_student,
)
from training.tasks.part import MODULES, TASKS, Part
from training.teachers.efficientnet_lite import lite2_file
from training.teachers.imagenet_classifier import ImageNetClassifier
from training.teachers.text_teacher import load_text_teacher
from training.text.relations import Relations
from training.text.wordnet import WORDNET, WordNet, check_wordnet


class PartConfig(TrainedSettings):
    """More of the joint training for one part of a finished model.

    Args:
        task: `part`.
        part: `pictures` (all but the text encoder), `heads` (what reads the backbone's features),
            `prompts` (the prompt encoder and the mask decoder) or `cells` (the layers of the CLIP
            head that correct each cell).
        starts_from: the model, a folder.
        photographs: the pictures.
        optimisation: how the loop steps.
        share: of what was learned in the weights of the result. The rest are the weights before:
            their mean answers what is new nearly as well, and all else nearly as before (WiSE-FT,
            arXiv:2109.01903).
        restored: of the published classifier's weights in the backbone and in the CLIP head's first
            layers as the training begins. The rest are the model's: names that no picture taught
            are known again, and what the heads learn is to answer all else as before.
        text_teacher: the folder with the space that the classifier was turned into, for `restored`.
        wordnet: WordNet's folder. Names of one thing never compete.
    """

    task: Literal["part"]
    part: Part
    starts_from: Path
    photographs: JointPhotographs
    share: float = Field(default=1.0, gt=0, le=1)
    restored: float = Field(default=0.0, ge=0, le=1)
    text_teacher: Path | None = None
    wordnet: Path = WORDNET

    @property
    def pictures_in_batch(self) -> int:
        """The number of pictures in a batch."""
        return self.photographs.batch

    def check(self, *, runs: Path) -> None:
        """Looks for the model and the data; raises TrainingError if one is missing."""
        check_trained(self.starts_from)
        if self.restored:
            check_trained(self._space())
        lite2_file()
        check_wordnet(self.wordnet)
        find_sets(self.photographs)

    def prepare(self, stage: Stage) -> Job:
        """Builds the student and its data."""
        student = load_checkpoint(self.starts_from)
        photographs = Photographs(self.photographs, split="train")
        dataset = JointBatches(photographs, self.photographs, seed=self.optimisation.seed)
        validation = None
        if self.optimisation.validation is not None:
            held_out = Photographs(self.photographs, split="calibration")
            validation = JointBatches(
                held_out, self.photographs, seed=VALIDATION_SEED, augment=False
            )
        stage.tell("relating names", 0, 1)
        relations = Relations(WordNet(self.wordnet))
        taught = [clean_text(name) for name in dataset.names]
        classes = class_names(relations.senses)
        others = {*read_nouns(self.starts_from), *classes} - set(taught)
        names = [*taught, *sorted(others)]
        classifier = ImageNetClassifier()
        task = TASKS[self.part](
            student,
            dataset,
            modules=MODULES[self.part],
            names=embed_names(student, names, folder=self.starts_from),
            classifier=classifier,
            classes=torch.tensor([names.index(name) for name in classes]),
            kin=torch.from_numpy(relations.kin(names)),
            validation=validation,
        )
        if (found := read_calibration(self.starts_from)) is not None:
            task.presence.start(scale=found.scale, bias=found.bias)
        if self.restored:
            axes = load_text_teacher(self._space()).space.axes
            restore(student, classifier, axes=axes, pictures=dataset, share=self.restored)
        provenance = student_provenance(
            self,
            stage=stage.run.name,
            nouns=None,
            licences={},
            terms={each.name: each.terms for each in photographs.sets},
            starts_from=read_provenance(self.starts_from),
        )

        def write() -> None:
            task.mix(self.share)
            write_student(student, stage.run, start=self.starts_from, provenance=provenance)

        return Job(task, self.optimisation, write)

    def _space(self) -> Path:
        if "image_encoder" not in MODULES[self.part]:
            raise TrainingError(
                f"restored is not for {self.part}, which keeps the backbone as it is"
            )
        if self.text_teacher is None:
            raise TrainingError("restored weights need text_teacher, the folder of that stage")
        return self.text_teacher


@torch.no_grad()
def restore(
    student: SamClipModel,
    classifier: ImageNetClassifier,
    *,
    axes: Tensor,
    pictures: JointBatches,
    share: float,
) -> None:
    """Gives a student a share of the classifier's published weights back; see `give_classifier`."""
    before = copy.deepcopy(student)
    give_classifier(student, classifier, axes=axes, pictures=pictures)
    for mine, trained in zip(student.parameters(), before.parameters(), strict=True):
        mine.lerp_(trained, 1 - share)
