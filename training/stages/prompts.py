"""The stage that trains a finished model's prompt encoder and mask decoder alone."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from samclip_sdk.modeling.checkpoint import load_checkpoint, read_provenance
from samclip_sdk.text.known_words import KNOWN_COSINE
from training.batches import VALIDATION_SEED
from training.data_config import JointPhotographs
from training.inputs import check_trained
from training.real.joint_batches import JointBatches
from training.real.photographs import Photographs, find_sets
from training.stage import Job, Stage, TrainedSettings
from training.student_file import embed_names, student_provenance, write_student
from training.tasks.prompts import PromptsTask


class PromptsConfig(TrainedSettings):
    """More of SAM's training on the features of a finished model, which stay as they are.

    Args:
        task: `prompts`.
        starts_from: the model, a folder.
        photographs: the pictures.
        optimisation: how the loop steps.
        share: of what was learned in the weights of the result. The rest are the weights before:
            their mean answers new prompts nearly as well, and old ones nearly as before (WiSE-FT,
            arXiv:2109.01903).
    """

    task: Literal["prompts"]
    starts_from: Path
    photographs: JointPhotographs
    share: float = Field(default=1.0, gt=0, le=1)

    @property
    def pictures_in_batch(self) -> int:
        """The number of pictures in a batch."""
        return self.photographs.batch

    def check(self, *, runs: Path) -> None:
        """Looks for the model and the data; raises TrainingError if one is missing."""
        check_trained(self.starts_from)
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
        names = embed_names(student, dataset.names, folder=self.starts_from)
        task = PromptsTask(
            student,
            dataset,
            names=names,
            kin=names @ names.T >= KNOWN_COSINE,
            validation=validation,
        )
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
