"""The stage of the joint training: one backbone learns all labels of photographs at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from samclip_sdk.modeling.build import SamClipModel, build_model
from samclip_sdk.modeling.classifier_head import ClassifierHead, pool_unpadded
from samclip_sdk.modeling.config import ClassifierHeadConfig, ModelConfig
from samclip_sdk.text.tokenizer import clean_text
from training.batches import VALIDATION_SEED
from training.data_config import JointPhotographs
from training.errors import TrainingError
from training.inputs import check_trained
from training.real.joint_batches import JointBatches
from training.real.photographs import Photographs, find_sets
from training.real.taught_nouns import class_names
from training.stage import Job, Stage, TrainedSettings
from training.student_file import student_provenance, write_student
from training.tasks.joint import JointTask
from training.teachers.efficientnet_lite import LICENCE, lite2_file, load_lite2
from training.teachers.imagenet_classifier import ImageNetClassifier
from training.teachers.small import SmallSam, load_prompt_parts
from training.teachers.taught_names import read_names
from training.teachers.text_encoder_file import TEXT_ENCODER
from training.teachers.text_teacher import TEXT_TEACHER, load_text_teacher
from training.teachers.weights import SETTINGS_NAME, WEIGHTS_NAME, give_weights, read_weights
from training.text.lexicon_file import LEXICON
from training.text.relations import Relations
from training.text.wordnet import WORDNET, WordNet, check_wordnet

_CENTRED_ON = 16  # batches of pictures whose mean is subtracted from all others


class JointConfig(TrainedSettings):
    """One training of the backbone, the CLIP head and SAM's parts on photographs with labels.

    It starts from EfficientNet-Lite2's published weights. Names have the embeddings of the stage
    lexicon.

    Args:
        task: `joint`.
        prompts_from: the folder of a SAM teacher of the same sizes. Its prompt encoder and mask
            decoder are the start: a random decoder answers boxes with nothing for a long time.
        photographs: the pictures.
        optimisation: how the loop steps.
        starts_from: the folder of an earlier checkpoint of the same model, whose training goes on
            with a new optimizer. Its text encoder is not taken.
        labels_after: number of first steps in which no label is asked for by its score map.
        wordnet: WordNet's folder. Names of one thing never compete.
    """

    task: Literal["joint"]
    prompts_from: Path
    photographs: JointPhotographs
    starts_from: Path | None = None
    labels_after: int = Field(default=0, ge=0)
    wordnet: Path = WORDNET

    @property
    def pictures_in_batch(self) -> int:
        """The number of pictures in a batch."""
        return self.photographs.batch

    def check(self, *, runs: Path) -> None:
        """Looks for the earlier stages and the data; raises TrainingError if one is missing."""
        lite2_file()
        check_wordnet(self.wordnet)
        earlier = (self.prompts_from, self.starts_from, runs / TEXT_TEACHER, runs / TEXT_ENCODER)
        for folder in earlier:
            check_trained(folder)
        read_names(runs / LEXICON)
        find_sets(self.photographs)

    def prepare(self, stage: Stage) -> Job:
        """Builds the student, what teaches it, and its data."""
        task, text_encoder = self.new_task(stage), stage.runs / TEXT_ENCODER
        student, path = task.student, text_encoder / WEIGHTS_NAME
        if self.starts_from is not None:
            give_trained_parts(student, self.starts_from)
        give_weights(student.text_encoder, read_weights(path), path)
        assert isinstance(task.dataset, JointBatches)
        provenance = student_provenance(
            self,
            stage=stage.run.name,
            nouns=None,
            licences={"sam": LICENCE, "clip": LICENCE},
            terms={each.name: each.terms for each in task.dataset.photographs.sets},
            starts_from={
                name: json.loads((folder / SETTINGS_NAME).read_bytes())["provenance"]
                for name, folder in (
                    *((each, stage.runs / each) for each in (TEXT_TEACHER, LEXICON, TEXT_ENCODER)),
                    *([] if self.starts_from is None else [(stage.run.name, self.starts_from)]),
                )
            },
        )
        return Job(
            task,
            self.optimisation,
            lambda: write_student(student, stage.run, start=text_encoder, provenance=provenance),
        )

    def new_task(self, stage: Stage) -> JointTask:
        """Builds a student as it is before the training, without its text encoder.

        Raises:
            TrainingError: the model's CLIP head is of no classifier; or an earlier run, a package,
                a set of photographs or a word is missing.
        """
        if not isinstance(stage.model.clip_head, ClassifierHeadConfig):
            raise TrainingError(
                f"the CLIP head of {stage.model.name} is of no classifier: the joint training "
                "needs such a head"
            )
        train, validation = self._batches(stage)
        stage.tell("relating names", 0, 1)
        relations = Relations(WordNet(self.wordnet))
        classes = class_names(relations.senses)
        taught = [clean_text(name) for name in train.names]
        names = [*taught, *sorted(set(classes) - set(taught))]
        classifier = ImageNetClassifier()
        return JointTask(
            self._student(stage.model, runs=stage.runs, classifier=classifier, pictures=train),
            train,
            classifier=classifier,
            names=_embeddings(names, run=stage.runs / LEXICON),
            classes=torch.tensor([names.index(name) for name in classes]),
            kin=torch.from_numpy(relations.kin(names)),
            labels_after=self.labels_after,
            validation=validation,
        )

    def _batches(self, stage: Stage) -> tuple[JointBatches, JointBatches | None]:
        """Returns the batches of the training and of the validation."""
        photographs, optimisation = self.photographs, self.optimisation
        a_step = self.batches_in_step(stage.processes) * stage.processes
        train = JointBatches(
            Photographs(photographs, split="train"),
            photographs,
            seed=optimisation.seed,
            late_from=round(optimisation.constant * optimisation.steps) * a_step,
        )
        if optimisation.validation is None:
            return train, None
        held_out = Photographs(photographs, split="calibration")
        return train, JointBatches(held_out, photographs, seed=VALIDATION_SEED, augment=False)

    def _student(
        self,
        model: ModelConfig,
        *,
        runs: Path,
        classifier: ImageNetClassifier,
        pictures: JointBatches,
    ) -> SamClipModel:
        """Builds a student of the classifier's layers and of a trained SAM's decoder."""
        student = build_model(model, seed=self.optimisation.seed)
        load_prompt_parts(SmallSam(student), self.prompts_from / WEIGHTS_NAME)
        axes = load_text_teacher(runs / TEXT_TEACHER).space.axes
        give_classifier(student, classifier, axes=axes, pictures=pictures)
        return student


@torch.no_grad()
def give_classifier(
    student: SamClipModel, classifier: ImageNetClassifier, *, axes: Tensor, pictures: JointBatches
) -> None:
    """Gives a student the published weights of the classifier: its backbone and its first layers.

    Args:
        student: with a `ClassifierHead`; all other weights stay.
        classifier: what the backbone was.
        axes: [E,F], of the `ClassifierSpace`.
        pictures: the first of them tell what is pooled on average.
    """
    head = student.clip_head
    assert isinstance(head, ClassifierHead)
    load_lite2(student.image_encoder)
    classifier.start(head, axes=axes, centre=torch.zeros(axes.shape[1]))
    classifier.start(head, axes=axes, centre=_mean_features(student, head, pictures))


def give_trained_parts(student: SamClipModel, folder: Path) -> None:
    """Gives a student all weights of a checkpoint, except its text encoder's.

    Raises:
        TrainingError: the file is missing or damaged, or the checkpoint is of another model.
    """
    path = folder / WEIGHTS_NAME
    own = {f"text_encoder.{key}": x for key, x in student.text_encoder.state_dict().items()}
    trained = {
        key: x for key, x in read_weights(path).items() if not key.startswith("text_encoder.")
    }
    give_weights(student, trained | own, path)


def _mean_features(student: SamClipModel, head: ClassifierHead, pictures: JointBatches) -> Tensor:
    """Returns the mean of what the classifier pools of photographs, float32 [F]."""
    means = []
    for index in range(_CENTRED_ON):
        batch = pictures[index]
        tokens, _ = student.image_encoder(batch["images"])
        means.append(pool_unpadded(head.features(tokens), batch["token_mask"]).mean(dim=0))
    return torch.stack(means).mean(dim=0)


def _embeddings(names: list[str], *, run: Path) -> Tensor:
    """Returns the lexicon's embeddings of names: float32 [N,E]."""
    lexicon = read_names(run)
    if missing := [name for name in names if name not in lexicon]:
        raise TrainingError(
            f"{run} has no {missing[0]!r}, and {len(missing)} of {len(names)} names lack: run the "
            "stage lexicon again, with these photographs"
        )
    return torch.stack([lexicon[name].float() for name in names])
