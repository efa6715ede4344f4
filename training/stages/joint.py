"""The joint training: one backbone learns all labels of photographs at once."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from samclip_sdk.modeling.build import SamClipModel, build_model
from samclip_sdk.modeling.checkpoint import read_provenance
from samclip_sdk.modeling.classifier_head import ClassifierHead, pool_unpadded
from samclip_sdk.modeling.config import ClassifierHeadConfig
from samclip_sdk.text.tokenizer import clean_text
from training.batches import VALIDATION_SEED
from training.data_config import JointPhotographs
from training.errors import TrainingError
from training.files import check_trained
from training.real.joint_batches import JointBatches
from training.real.photographs import Photographs, find_sets
from training.real.taught_nouns import class_names
from training.stage import Job, Stage, TrainedSettings, start_folder
from training.student_file import PACKAGES, with_own_head, write_student
from training.tasks.joint import JointTask
from training.teachers.efficientnet_lite import ImageNetClassifier, lite2_file, load_lite2
from training.teachers.lexicon_file import LEXICON, read_names
from training.teachers.licences import JOINT_LICENCES
from training.teachers.small import SmallSam, load_prompt_parts
from training.teachers.text_encoder_file import TEXT_ENCODER
from training.teachers.text_teacher import TEXT_TEACHER, load_text_teacher
from training.teachers.weights import WEIGHTS_NAME, give_weights, load_weights, read_weights
from training.text.relations import Relations
from training.text.wordnet import WORDNET, WordNet, check_wordnet

_CENTRED_ON = 16  # batches of images whose mean is subtracted from all others


class Names(NamedTuple):
    """The names that images and cells are told apart by; see `JointTask`."""

    names: list[str]
    classes: Tensor
    kin: Tensor


class LabelledSettings(TrainedSettings):
    """A stage that trains on photographs with all their labels.

    Args:
        wordnet: WordNet's folder. Names of one thing never compete.
    """

    photographs: JointPhotographs
    wordnet: Path = WORDNET

    @property
    def images_in_batch(self) -> int:
        """The number of images in a batch."""
        return self.photographs.batch

    def check(self, *, runs: Path) -> None:
        """Looks for the classifier and the data; raises TrainingError if one is missing."""
        lite2_file()
        check_wordnet(self.wordnet)
        find_sets(self.photographs)

    def batches(self, stage: Stage) -> tuple[JointBatches, JointBatches | None]:
        """Returns the batches of the training and of the validation."""
        photographs, optimisation = self.photographs, self.optimisation
        a_step = self.batches_in_step(stage.fabric.world_size) * stage.fabric.world_size
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

    def names(self, stage: Stage, taught: Iterable[str], *, others: Iterable[str] = ()) -> Names:
        """Returns the names that images teach, and behind them ImageNet's classes and others."""
        stage.tell("relating names", 0, 1)
        relations = Relations(WordNet(self.wordnet))
        classes = class_names(relations.senses)
        first = [clean_text(name) for name in taught]
        names = [*first, *sorted({*classes, *others} - set(first))]
        indices = torch.tensor([names.index(name) for name in classes])
        return Names(names, indices, torch.from_numpy(relations.kin(names)))


class JointConfig(LabelledSettings):
    """One training of the backbone, the CLIP head and SAM's parts on photographs with labels.

    It starts from EfficientNet-Lite2's published weights. Names have the embeddings of the stage
    lexicon.

    Args:
        prompts_from: the folder of a SAM teacher of the same sizes. Its prompt encoder and mask
            decoder are the start: a random decoder answers boxes with nothing for a long time.
        starts_from: an earlier checkpoint of the same model, a stage's name or a folder, whose
            training goes on with a new optimizer. Its text encoder is not taken.
        labels_after: number of first steps in which no label is asked for by its score map.
    """

    task: Literal["joint"]
    prompts_from: Path
    starts_from: str | None = None
    labels_after: int = Field(default=0, ge=0)

    def check(self, *, runs: Path) -> None:
        """Looks for the earlier stages and the data; raises TrainingError if one is missing."""
        start = self._start(runs)
        for folder in (self.prompts_from, start, runs / TEXT_TEACHER, runs / TEXT_ENCODER):
            check_trained(folder)
        read_names(runs / LEXICON)
        super().check(runs=runs)

    def prepare(self, stage: Stage) -> Job:
        """Builds the student, what teaches it, and its data."""
        if not isinstance(stage.model.clip_head, ClassifierHeadConfig):
            raise TrainingError(
                f"the CLIP head of {stage.model.name} is of no classifier: the joint training "
                "needs such a head"
            )
        train, validation = self.batches(stage)
        names, classes, kin = self.names(stage, train.names)
        classifier = ImageNetClassifier()
        student = build_model(stage.model, seed=self.optimisation.seed)
        load_prompt_parts(SmallSam(student), self.prompts_from / WEIGHTS_NAME)
        axes = load_text_teacher(stage.runs / TEXT_TEACHER).space.axes
        give_classifier(student, classifier, axes=axes, images=train)
        if (start := self._start(stage.runs)) is not None:
            give_trained_parts(student, start)
        text_encoder = stage.runs / TEXT_ENCODER
        load_weights(student.text_encoder, text_encoder / WEIGHTS_NAME)
        task = JointTask(
            student,
            train,
            classifier=classifier,
            names=_embeddings(names, run=stage.runs / LEXICON),
            classes=classes,
            kin=kin,
            labels_after=self.labels_after,
            validation=validation,
        )
        earlier = {each: stage.runs / each for each in (TEXT_TEACHER, LEXICON, TEXT_ENCODER)}
        if start is not None:
            earlier[stage.run.name] = start
        provenance = self.provenance(stage, PACKAGES) | {
            "licences": list(JOINT_LICENCES),
            "photographs": train.photographs.terms(),
            "starts_from": {name: read_provenance(folder) for name, folder in earlier.items()},
        }
        return Job(
            task,
            self.optimisation,
            lambda: write_student(student, stage.run, start=text_encoder, provenance=provenance),
        )

    def _start(self, runs: Path) -> Path | None:
        return None if self.starts_from is None else start_folder(self.starts_from, runs=runs)


@torch.no_grad()
def give_classifier(
    student: SamClipModel, classifier: ImageNetClassifier, *, axes: Tensor, images: JointBatches
) -> None:
    """Gives a student the published weights of the classifier: its backbone and its first layers.

    All other weights stay. The axes [E,F] are of the `ClassifierSpace`; the first images tell
    what is pooled on average.
    """
    head = student.clip_head
    assert isinstance(head, ClassifierHead)
    load_lite2(student.image_encoder)
    classifier.start(head, axes=axes, centre=torch.zeros(axes.shape[1]))
    means = []
    for index in range(_CENTRED_ON):
        batch = images[index]
        tokens, *_ = student.image_encoder(batch["images"])
        means.append(pool_unpadded(head.features(tokens), batch["token_mask"]).mean(dim=0))
    classifier.start(head, axes=axes, centre=torch.stack(means).mean(dim=0))


def give_trained_parts(student: SamClipModel, folder: Path) -> None:
    """Gives a student a checkpoint's weights but the text encoder's, if it is of the same model.

    A student with a proposal head keeps its own where the checkpoint has none.
    """
    path = folder / WEIGHTS_NAME
    own = {f"text_encoder.{key}": x for key, x in student.text_encoder.state_dict().items()}
    trained = {
        key: x for key, x in read_weights(path).items() if not key.startswith("text_encoder.")
    }
    give_weights(student, with_own_head(student, trained | own), path)


def _embeddings(names: list[str], *, run: Path) -> Tensor:
    """Returns the lexicon's embeddings of names: float32 [N,E]."""
    lexicon = read_names(run)
    if missing := [name for name in names if name not in lexicon]:
        raise TrainingError(
            f"{run} has no {missing[0]!r}, and {len(missing)} of {len(names)} names lack: run the "
            "stage lexicon again, with these photographs"
        )
    return torch.stack([lexicon[name].float() for name in names])
