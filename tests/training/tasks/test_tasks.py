from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from samclip_sdk.modeling.build import SamClipModel, build_model
from samclip_sdk.modeling.config import PRESETS, ModelConfig
from training.batches import Batch, Joined
from training.composed.corpus import Corpus
from training.composed.datasets import PictureBatches, SceneBatches
from training.composed.vocabulary import Noun
from training.config_file import find_config, load_stage
from training.data_config import Pictures, Scenes
from training.errors import TrainingError
from training.loop.optimizer import choose_trained
from training.loop_config import Optimisation
from training.stages.small_teachers import ClipTeacherConfig
from training.tasks.distill import DistillTask
from training.tasks.tasks import ClipTeacherTask, SamTeacherTask
from training.teachers.captions import Captions
from training.teachers.small import (
    SmallClip,
    SmallSam,
    coarse_mask_prompt,
    load_prompt_parts,
    load_teacher,
    save_teacher,
)
from training.teachers.teacher_pair import new_clip

PICTURES = Pictures(resolutions=(64,), pixels_per_batch=4 * 64 * 64)
SCENES = Scenes(resolution=64, batch=2, prompts=3, random_regions=2)
STAGES = {
    "stage1": (0.0, 0.0, {"clip_head"}),
    "stage2": (10.0, 1.0, {"clip_head", "image_encoder", "mask_decoder"}),
    "stage3": (0.0, 1.0, {"clip_head"}),
}


@pytest.fixture(scope="module")
def clip(student_config: ModelConfig) -> SmallClip:
    torch.manual_seed(0)
    return SmallClip(student_config, image_tower="test_resnet", resolution=32)


@pytest.fixture(scope="module")
def batch(corpus: Corpus) -> dict[str, Batch]:
    """Without what a student must not see: what is in a picture, and the true masks."""
    joined = Joined(
        {
            "pictures": PictureBatches(corpus, PICTURES, num_nouns=8, seed=0),
            "scenes": SceneBatches(corpus, SCENES, seed=0),
        }
    )[0]
    del joined["pictures"]["nouns"], joined["scenes"]["targets"]
    return joined


def distill(
    config: ModelConfig,
    clip: SmallClip,
    *,
    sam_weight: float,
    region_weight: float,
    dense_weight: float = 0.0,
) -> DistillTask:
    sam = SmallSam(build_model(config, seed=1)).requires_grad_(False)
    student = build_model(config, seed=2)
    return DistillTask(
        student,
        Joined({}),
        clip=clip.requires_grad_(False).eval(),
        sam=sam,
        sam_weight=sam_weight,
        region_weight=region_weight,
        dense_weight=dense_weight,
        validation=Joined({}),
        classes=torch.eye(8, config.embed_dim),
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
    student_config: ModelConfig, clip: SmallClip, batch: dict[str, Batch], stage: str, step: int
) -> None:
    sam_weight, region_weight, trained = STAGES[stage]
    task = distill(student_config, clip, sam_weight=sam_weight, region_weight=region_weight)
    train_parts(task, trained)
    given = {"pictures": batch["pictures"]} if stage == "stage1" else batch
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


def test_a_student_equal_to_its_sam_has_nothing_to_learn(
    student_config: ModelConfig, clip: SmallClip, batch: dict[str, Batch]
) -> None:
    task = distill(student_config, clip, sam_weight=3.0, region_weight=0.0)
    SmallSam(task.student).load_state_dict(task.sam.state_dict())
    assert task(batch, loss="scenes", step=0).item() == pytest.approx(0, abs=1e-4)


class Fixed(nn.Module):
    """A CLIP head that says which patches it was given: their largest value."""

    def __init__(self, patches: Tensor) -> None:
        super().__init__()
        self.patches = patches

    def encode(self, tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        return self.patches, mask.flatten(1)

    def embed(self, features: Tensor) -> Tensor:
        self.pooled = features
        return features


def test_a_region_is_pooled_over_its_own_patches(
    student_config: ModelConfig, clip: SmallClip, batch: dict[str, Batch]
) -> None:
    task = distill(student_config, clip, sam_weight=0.0, region_weight=1.0)
    patches = torch.arange(32.0).view(2, 16, 1).expand(2, 16, 16)
    head = Fixed(patches)
    task.student.clip_head = head
    boxes = torch.tensor([[0, 0, 16, 16], [0, 0, 64, 64], [16, 0, 48, 32], [48, 48, 64, 64.0]])
    scenes = {
        "images": batch["scenes"]["images"],
        "token_mask": torch.ones(2, 4, 4),
        "regions": boxes,
    }
    scenes["token_mask"][1, 3] = 0  # the last row of the second picture is padding
    task({"scenes": scenes}, loss="scenes", step=0)
    expected = [0, 15, 16 + 6]
    assert head.pooled[:3, 0].tolist() == expected
    assert torch.isfinite(head.pooled).all()


def test_a_region_in_the_padding_teaches_nothing(
    student_config: ModelConfig, clip: SmallClip, batch: dict[str, Batch]
) -> None:
    task = distill(student_config, clip, sam_weight=0.0, region_weight=1.0, dense_weight=1.0)
    scenes = {
        "images": batch["scenes"]["images"],
        "token_mask": torch.ones(2, 4, 4),
        "point_coords": torch.zeros(2, 1, 2),
    }
    scenes["token_mask"][:, 3] = 0
    shown = torch.tensor([[0, 0, 32, 32], [0, 0, 48, 16.0]])
    padding = torch.tensor([[0, 48, 32, 64.0]])

    def loss(*regions: Tensor) -> float:
        both = torch.cat([torch.cat([shown[[image]], *regions]) for image in (0, 1)])
        return task({"scenes": scenes | {"regions": both}}, loss="scenes", step=0).item()

    assert loss(padding) == pytest.approx(loss(), rel=1e-5)
    assert loss(shown[[1]]) != pytest.approx(loss(), rel=1e-3)


class KnownSam(nn.Module):
    """A SAM teacher whose mask is the same cells of 4 x 4, whatever it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.cells: tuple[int, ...] = ()
        self.asked: list[Tensor] = []

    def encode(self, images: Tensor) -> Tensor:
        return torch.zeros(len(images), 16, 4, 4)

    def decode(
        self, embeddings: Tensor, coords: Tensor, labels: Tensor, mask_input: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        self.asked = [coords, labels]
        masks = -torch.ones(len(coords), 4, 4, 4)
        masks[:, 0].view(-1, 16)[:, list(self.cells)] = 1  # of the single mask's token
        return masks.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3), masks[..., 0, 0]


def test_dense_distillation_looks_where_the_teachers_mask_is(
    student_config: ModelConfig,
    clip: SmallClip,
    batch: dict[str, Batch],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Patches that SAM's mask fills must be the crop's embedding; others may be anything."""
    task = distill(student_config, clip, sam_weight=0.0, region_weight=1.0, dense_weight=1.0)
    task.sam = sam = KnownSam()
    target = torch.eye(16)[:2]
    monkeypatch.setattr(type(clip), "embed_images", lambda self, images: target)
    patches = -torch.ones(2, 16, 16) / 4
    patches[0, 5], patches[1, 5] = target  # pooled over all patches, this one wins
    task.student.clip_head = Fixed(patches)
    box = [0, 0, 64, 64.0]
    scenes = {
        "images": batch["scenes"]["images"],
        "token_mask": torch.ones(2, 4, 4),
        "point_coords": torch.zeros(2, 1, 2),
        "regions": torch.tensor([box] * 2),
    }

    def loss(*cells: int) -> float:
        sam.cells = cells
        return task({"scenes": scenes}, loss="scenes", step=0).item()

    assert loss(5) == pytest.approx(0.0, abs=1e-6)
    assert loss(6) == pytest.approx(1.25)
    assert loss(5, 6) == pytest.approx(0.625)
    corners, labels = sam.asked
    assert corners.flatten(1).tolist() == [box] * 2
    assert labels.tolist() == [[2, 3]] * 2


def test_a_new_small_clip_depends_on_its_seed_alone() -> None:
    settings = load_stage(
        find_config("tiny"), "clip_teacher", overrides=('image_tower="test_resnet"',)
    )
    assert isinstance(settings, ClipTeacherConfig)
    one, same = (new_clip(PRESETS["tiny"], settings) for _ in range(2))
    assert all(map(torch.equal, one.state_dict().values(), same.state_dict().values()))
    reseeded = settings.optimisation.model_copy(update={"seed": 1})
    other = new_clip(PRESETS["tiny"], settings.model_copy(update={"optimisation": reseeded}))
    assert not torch.equal(one.visual.conv1[0].weight, other.visual.conv1[0].weight)


def test_coarse_masks_are_score_maps() -> None:
    torch.manual_seed(0)
    logits = torch.full((6, 16, 16), -20.0)
    logits[:, 4:12, 4:12] = 20.0
    prompts = coarse_mask_prompt(logits)
    assert prompts.shape == (6, 1, 16, 16)
    assert prompts.abs().max() <= 10
    inside, outside = prompts[:, 0, 6:10, 6:10], prompts[:, 0, :2, :2]
    assert (inside.mean(dim=(1, 2)) > outside.mean(dim=(1, 2))).all()


@pytest.mark.parametrize(("step", "with_mask"), [(0, [False]), (1, [True]), (2, [False, True])])
def test_the_sam_teacher_learns_from_true_masks(
    student_config: ModelConfig,
    corpus: Corpus,
    monkeypatch: pytest.MonkeyPatch,
    step: int,
    with_mask: list[bool],
) -> None:
    sam = SmallSam(build_model(student_config))
    asked: list[tuple[int, bool]] = []

    def decode(embeddings: Tensor, coords: Tensor, labels: Tensor, mask: Tensor | None) -> object:
        asked.append((int((labels >= 0).sum()), mask is not None))
        return SmallSam.decode(sam, embeddings, coords, labels, mask)

    monkeypatch.setattr(sam, "decode", decode)
    task = SamTeacherTask(sam, Joined({}), validation=Joined({}))
    train_parts(task, set(task.parts))
    loss = task(SceneBatches(corpus, SCENES, seed=0)[0], loss="multimask", step=step)
    assert torch.isfinite(loss)
    assert [has_mask for _, has_mask in asked] == with_mask
    points = [count for count, _ in asked]
    assert points == sorted(set(points)), "asked again with more points"
    loss.backward()
    for name in ("image_encoder", "mask_decoder"):
        assert any(p.grad is not None and p.grad.any() for p in task.parts[name].parameters())


def test_the_clip_teacher_learns_texts_first(
    student_config: ModelConfig, corpus: Corpus, nouns: Sequence[Noun]
) -> None:
    torch.manual_seed(0)
    clip = SmallClip(student_config, image_tower="test_resnet", resolution=32)
    dataset = PictureBatches(corpus, PICTURES, num_nouns=8, seed=0)
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


def test_a_teacher_survives_its_file(
    student_config: ModelConfig, clip: SmallClip, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("teacher") / "model.safetensors"
    save_teacher(clip, path)
    torch.manual_seed(9)
    loaded = SmallClip(student_config, image_tower="test_resnet", resolution=32)
    load_teacher(loaded, path)
    assert not loaded.training
    assert not any(p.requires_grad for p in loaded.parameters())
    images = torch.randint(0, 256, (2, 3, 48, 48), dtype=torch.uint8)
    embeddings = loaded.embed_images(images)
    assert torch.equal(embeddings, clip.eval().embed_images(images))
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(2))


def test_the_parts_for_prompts_alone_are_taken_over(
    student_config: ModelConfig, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    teacher, sam = (SmallSam(build_model(student_config, seed=seed)) for seed in (1, 2))
    before = {key: value.clone() for key, value in sam.state_dict().items()}
    save_teacher(teacher, path)
    load_prompt_parts(sam, path)
    for key, value in sam.state_dict().items():
        own = before if key.startswith("image_encoder") else teacher.state_dict()
        assert torch.equal(value, own[key]), key
    blocks = student_config.mask_decoder.model_copy(update={"local_blocks": 1})
    larger = SmallSam(build_model(student_config.model_copy(update={"mask_decoder": blocks})))
    load_prompt_parts(larger, path)
    assert torch.equal(larger.mask_decoder.iou_token.weight, teacher.mask_decoder.iou_token.weight)
    assert not larger.mask_decoder.local_blocks[0].lin2.weight.any()
    wider = student_config.mask_decoder.model_copy(update={"mlp_dim": 24})
    other = SmallSam(build_model(student_config.model_copy(update={"mask_decoder": wider})))
    with pytest.raises(TrainingError, match=r"not the teacher that was trained: .*size mismatch"):
        load_prompt_parts(other, path)


def test_a_students_parts_are_the_checkpoints(student_config: ModelConfig, clip: SmallClip) -> None:
    task = distill(student_config, clip, sam_weight=1.0, region_weight=0.0)
    assert isinstance(task.student, SamClipModel)
    assert all(getattr(task.student, name) is part for name, part in task.parts.items())
