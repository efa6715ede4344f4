from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from samclip_sdk.modeling.build import build_model
from tests.tiny_config import STUDENT
from tests.training.toy_task import logged, run, settings
from training.batches import VALIDATION_SEED, Batch, Joined
from training.composed.corpus import Corpus
from training.composed.datasets import ImageBatches, SceneBatches
from training.composed.vocabulary import Noun
from training.data_config import Images, Scenes
from training.errors import TrainingError
from training.loop.optimizer import choose_trained
from training.loop_config import Optimisation
from training.tasks.distill import DistillTask, LossWeights
from training.tasks.tasks import ClipTeacherTask, SamTeacherTask
from training.teachers.captions import Captions
from training.teachers.small import (
    SmallClip,
    SmallSam,
    load_prompt_parts,
)
from training.teachers.weights import save_weights

IMAGES = Images(resolutions=(64,), pixels_per_batch=4 * 64 * 64)
SCENES = Scenes(resolution=64, batch=2, prompts=3, random_regions=2)
NOTHING = Joined({})
STAGES = {
    "stage1": (0.0, 0.0, {"clip_head"}),
    "stage2": (10.0, 1.0, {"clip_head", "image_encoder", "mask_decoder"}),
    "stage3": (0.0, 1.0, {"clip_head"}),
}
FIFTY_STEPS = settings(
    steps=50,
    learning_rate=2e-3,
    warmup_steps=5,
    precision="fp32",
    multipliers={"clip_head": 1.0, "image_encoder": 1.0, "mask_decoder": 1.0},
    validation={"every_steps": 10, "batches": 2},
)


@pytest.fixture(scope="module")
def clip() -> SmallClip:
    torch.manual_seed(0)
    return SmallClip(STUDENT, image_tower="test_resnet", resolution=32)


def data(corpus: Corpus, *, seed: int = 0) -> Joined:
    return Joined(
        {
            "images": ImageBatches(corpus, IMAGES, num_nouns=8, seed=seed),
            "scenes": SceneBatches(corpus, SCENES, seed=seed),
        }
    )


@pytest.fixture(scope="module")
def batch(corpus: Corpus) -> dict[str, Batch]:
    """Without what a student must not see: what is in an image, and the true masks."""
    joined = data(corpus)[0]
    del joined["images"]["nouns"], joined["scenes"]["targets"]
    return joined


def distill(
    clip: SmallClip,
    *,
    sam_weight: float,
    region_weight: float,
    dataset: Joined = NOTHING,
    validation: Joined = NOTHING,
) -> DistillTask:
    sam = SmallSam(build_model(STUDENT, seed=1)).requires_grad_(False)
    student = build_model(STUDENT, seed=2)
    return DistillTask(
        student,
        dataset,
        clip=clip.requires_grad_(False).eval(),
        sam=sam,
        weights=LossWeights(sam_weight, region_weight),
        validation=validation,
        classes=torch.eye(8, STUDENT.embed_dim),
    )


def train_parts(task: DistillTask | SamTeacherTask, names: set[str]) -> None:
    multipliers = dict.fromkeys(names, 1.0)
    choose_trained(
        dict(task.parts.items()), Optimisation(steps=1, learning_rate=1e-3, multipliers=multipliers)
    )


def without_gradient(part: nn.Module) -> list[str]:
    return [name for name, p in part.named_parameters() if p.grad is None or not p.grad.any()]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("step", [0, 1])
def test_distillation_reaches_exactly_what_is_trained(
    clip: SmallClip, batch: dict[str, Batch], stage: str, step: int
) -> None:
    sam_weight, region_weight, trained = STAGES[stage]
    task = distill(clip, sam_weight=sam_weight, region_weight=region_weight)
    train_parts(task, trained)
    given = {"images": batch["images"]} if stage == "stage1" else batch
    assert task.losses == (("clip",) if stage == "stage1" else ("clip", "scenes"))
    for name in task.losses:
        loss = task(given, loss=name, step=step)
        assert torch.isfinite(loss)
        loss.backward()
    for name, part in task.parts.items():
        if name in trained:
            # What only attention sees of a constant, a key's bias say, has no gradient.
            assert all("bias" in missing for missing in without_gradient(part)), name
        else:
            assert all(p.grad is None for p in part.parameters()), name
    for frozen in (task.clip, task.sam, task.student.text_encoder):
        assert not any(p.requires_grad for p in frozen.parameters())


def test_fifty_steps_of_the_merge_learn(tmp_path: Path, clip: SmallClip, corpus: Corpus) -> None:
    """Both losses fall, and what the student imitates comes nearer."""
    torch.manual_seed(0)
    task = distill(
        clip,
        sam_weight=1.0,
        region_weight=0.0,
        dataset=data(corpus),
        validation=data(corpus, seed=VALIDATION_SEED),
    )
    run(task, FIFTY_STEPS, tmp_path)
    entries = logged(tmp_path)
    losses = [entry for entry in entries if "clip" in entry]
    for name in ("clip", "scenes"):
        assert losses[-1][name] < 0.8 * losses[0][name], name
    cosines = [x["validation/clip_cosine"] for x in entries if "validation/clip_cosine" in x]
    assert cosines[-1] > cosines[0]


@pytest.mark.parametrize(("step", "with_mask"), [(0, [False]), (1, [True]), (2, [False, True])])
def test_the_sam_teacher_learns_from_true_masks(
    corpus: Corpus,
    monkeypatch: pytest.MonkeyPatch,
    step: int,
    with_mask: list[bool],
) -> None:
    sam = SmallSam(build_model(STUDENT))
    asked: list[tuple[int, bool]] = []

    def decode(embeddings: Tensor, coords: Tensor, labels: Tensor, mask: Tensor | None) -> object:
        asked.append((int((labels >= 0).sum()), mask is not None))
        return SmallSam.decode(sam, embeddings, coords, labels, mask)

    monkeypatch.setattr(sam, "decode", decode)
    task = SamTeacherTask(sam, NOTHING, validation=NOTHING)
    train_parts(task, set(task.parts))
    loss = task(SceneBatches(corpus, SCENES, seed=0)[0], loss="multimask", step=step)
    assert torch.isfinite(loss)
    assert [has_mask for _, has_mask in asked] == with_mask
    points = [count for count, _ in asked]
    assert points == sorted(set(points)), "asked again with more points"
    loss.backward()
    for name in ("image_encoder", "mask_decoder"):
        assert any(p.grad is not None and p.grad.any() for p in task.parts[name].parameters())


def test_the_clip_teacher_learns_texts_first(corpus: Corpus, nouns: Sequence[Noun]) -> None:
    torch.manual_seed(0)
    clip = SmallClip(STUDENT, image_tower="test_resnet", resolution=32)
    dataset = ImageBatches(corpus, IMAGES, num_nouns=8, seed=0)
    captions = Captions(tuple(nouns), embed_dim=16)
    task = ClipTeacherTask(
        clip, dataset, captions, text_weight=2.0, text_only_steps=1, validation=dataset
    )
    loss = task(dataset[0], loss="contrast", step=0)
    loss.backward()
    assert all(p.grad is None for p in clip.visual.parameters())
    assert any(p.grad is not None for p in clip.text_encoder.parameters())
    loss = task(dataset[0], loss="contrast", step=1)
    assert torch.isfinite(loss)
    loss.backward()
    assert clip.logit_scale.grad is not None
    assert all(p.grad is not None for p in clip.visual.parameters())


def test_the_parts_for_prompts_alone_are_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    teacher, sam = (SmallSam(build_model(STUDENT, seed=seed)) for seed in (1, 2))
    before = {key: value.clone() for key, value in sam.state_dict().items()}
    save_weights(teacher.state_dict(), path)
    load_prompt_parts(sam, path)
    for key, value in sam.state_dict().items():
        own = before if key.startswith("image_encoder") else teacher.state_dict()
        assert torch.equal(value, own[key]), key
    blocks = STUDENT.mask_decoder.model_copy(update={"local_blocks": 1})
    larger = SmallSam(build_model(STUDENT.model_copy(update={"mask_decoder": blocks})))
    load_prompt_parts(larger, path)
    assert torch.equal(larger.mask_decoder.iou_token.weight, teacher.mask_decoder.iou_token.weight)
    assert not larger.mask_decoder.local_blocks[0].lin2.weight.any()
    wider = STUDENT.mask_decoder.model_copy(update={"mlp_dim": 24})
    other = SmallSam(build_model(STUDENT.model_copy(update={"mask_decoder": wider})))
    with pytest.raises(TrainingError, match=r"not the teacher that was trained: .*size mismatch"):
        load_prompt_parts(other, path)
