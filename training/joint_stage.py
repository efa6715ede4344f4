"""The joint training's model, data and names, put together."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from samclip_sdk.modeling.build import SamClipModel, build_model
from samclip_sdk.modeling.classifier_head import ClassifierHead, pool_unpadded
from samclip_sdk.modeling.config import ModelConfig
from samclip_sdk.system.progress import OnProgress, no_progress
from samclip_sdk.text.tokenizer import clean_text
from training.config import JointConfig
from training.errors import TrainingError
from training.real.joint_batches import JointBatches
from training.real.photographs import Photographs
from training.real.taught_nouns import class_names
from training.sources import VALIDATION_SEED
from training.step_size import batches_in_step
from training.tasks.joint import JointTask
from training.teachers.efficientnet_lite import load_lite2
from training.teachers.imagenet_classifier import ImageNetClassifier
from training.teachers.small import SmallSam, load_prompt_parts
from training.teachers.taught_names import read_names
from training.teachers.text_teacher import TEXT_TEACHER, WEIGHTS_NAME, load_text_teacher
from training.text.lexicon_file import LEXICON
from training.text.relations import Relations
from training.text.wordnet import WordNet

_CENTRED_ON = 16  # batches of pictures whose mean is taken off all others


def new_joint_task(
    settings: JointConfig,
    *,
    model: ModelConfig,
    runs: Path,
    processes: int,
    on_progress: OnProgress = no_progress,
) -> JointTask:
    """Builds a student as it is before the joint training, and what teaches it.

    Args:
        settings: of the stage.
        model: the student's.
        runs: folder of the runs: those of the text teacher and of the lexicon.
        processes: that share a step.
        on_progress: told what is being done.

    Raises:
        TrainingError: the model's CLIP head tells of no objects; or an earlier run, a package, a
            set of photographs or a word is missing.
    """
    if not model.tells_objects:
        raise TrainingError(
            f"the CLIP head of {model.name} tells of no objects: the joint training needs a model "
            "with clip_head.objects"
        )
    photographs, optimisation = settings.photographs, settings.optimisation
    a_step = batches_in_step(settings, processes=processes) * processes
    train = JointBatches(
        Photographs(photographs, split="train"),
        photographs,
        seed=optimisation.seed,
        late_from=round(optimisation.constant * optimisation.steps) * a_step,
    )
    validation = None
    if optimisation.validation is not None:
        held_out = Photographs(photographs, split="calibration")
        validation = JointBatches(held_out, photographs, seed=VALIDATION_SEED, augment=False)
    on_progress("relating names", 0, 1)
    relations = Relations(WordNet(settings.wordnet))
    classes = class_names(relations.senses)
    taught = [clean_text(name) for name in train.names]
    others = sorted(set(classes) - set(taught))
    names = [*taught, *others]
    kin = torch.from_numpy(relations.kin(names))
    classifier = ImageNetClassifier()
    student = _student(settings, model, runs=runs, classifier=classifier, pictures=train)
    return JointTask(
        student,
        train,
        classifier=classifier,
        names=_embeddings(names, run=runs / LEXICON),
        classes=torch.tensor([names.index(name) for name in classes]),
        kin=kin,
        labels_after=settings.labels_after,
        validation=validation,
    )


def _student(
    settings: JointConfig,
    model: ModelConfig,
    *,
    runs: Path,
    classifier: ImageNetClassifier,
    pictures: JointBatches,
) -> SamClipModel:
    """The classifier's backbone and last layers, and the decoder of a SAM that was taught."""
    student = build_model(model, seed=settings.optimisation.seed)
    load_lite2(student.image_encoder)
    load_prompt_parts(SmallSam(student), settings.prompts_from / WEIGHTS_NAME)
    head = student.clip_head
    assert isinstance(head, ClassifierHead)
    axes = load_text_teacher(runs / TEXT_TEACHER).space.axes
    classifier.start(head, axes=axes, centre=torch.zeros(axes.shape[1]))
    with torch.no_grad():
        centre = _mean_features(student, head, pictures)
        classifier.start(head, axes=axes, centre=centre)
    return student


def _mean_features(student: SamClipModel, head: ClassifierHead, pictures: JointBatches) -> Tensor:
    """What the classifier pools of photographs, on average, float32 [F]."""
    means = []
    for index in range(_CENTRED_ON):
        batch = pictures[index]
        tokens, _ = student.image_encoder(batch["images"])
        means.append(pool_unpadded(head.features(tokens), batch["token_mask"]).mean(dim=0))
    return torch.stack(means).mean(dim=0)


def _embeddings(names: list[str], *, run: Path) -> Tensor:
    """The lexicon's embeddings of names: float32 [N,E]."""
    lexicon = read_names(run)
    if missing := [name for name in names if name not in lexicon]:
        raise TrainingError(
            f"{run} has no {missing[0]!r}, and {len(missing)} of {len(names)} names lack: run the "
            "stage lexicon again, with these photographs"
        )
    return torch.stack([lexicon[name].float() for name in names])
