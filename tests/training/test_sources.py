"""Composed data, photographs and both of them serve the same tasks, and validation is apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter

from samclip_sdk.modeling.build import build_model
from samclip_sdk.modeling.config import ModelConfig
from tests.training.photograph_files import annotation, picture, rectangle, write_set
from training.batches import Batch, Joined
from training.composed.corpus import Corpus
from training.config import DistillConfig, SamTeacherConfig
from training.errors import TrainingError
from training.loop_config import Validation
from training.merge_data import MergeData
from training.sources import Composed, batches_of, photograph_terms
from training.tasks.distill import DistillTask
from training.tasks.tasks import SamTeacherTask
from training.teachers.small import SmallClip, SmallSam

SIZE = 64
OPTIMISATION = {"steps": 1, "learning_rate": 1e-3}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two grey pictures to train on, and a green one of "calibration"."""
    found = [annotation(1, rectangle(10, 10, 70, 80)), annotation(2, rectangle(80, 20, 120, 90))]
    green = (picture(0, 200, 0), found, {"split": "calibration"})
    grey = (picture(90, 90, 90), found, {})
    write_set(tmp_path / "toys", [grey, grey, green], info={"terms": "CC0-1.0"})
    return tmp_path


@pytest.fixture
def composed(corpus: Corpus) -> Composed:
    composed = Composed(8)
    composed.__dict__["corpus"] = corpus  # decoded once for all tests
    return composed


def merge(root: Path, *, mixed: bool = False) -> DistillConfig:
    """A joint stage on photographs, or on photographs and composed data."""
    photographs: dict[str, Any] = {"source": "photographs", "root": str(root)}
    pictures = {**photographs, "resolutions": [SIZE], "pixels_per_batch": 2 * SIZE**2}
    sizes = {"resolution": SIZE, "batch": 2, "prompts": 3, "random_regions": 2}
    scenes = {**photographs, **sizes, "paste": 0.5}
    if mixed:
        drawn = {"source": "composed", "resolutions": [SIZE], "pixels_per_batch": SIZE**2}
        pictures = {"source": "mixed", "parts": [{"of": pictures}, {"share": 3, "of": drawn}]}
        drawn = {"source": "composed", **sizes}
        scenes = {"source": "mixed", "parts": [{"of": scenes}, {"of": drawn}]}
    given = {"task": "distill", "optimisation": OPTIMISATION, "starts_from": "teachers"}
    return TypeAdapter(DistillConfig).validate_python(
        {**given, "pictures": pictures, "scenes": scenes, "region_weight": 1.0}
    )


def batch_of(settings: DistillConfig, composed: Composed, split: Any, index: int = 0) -> Any:
    pictures: Any = settings.pictures
    scenes: Any = settings.scenes
    joined = Joined(
        {
            "pictures": batches_of(pictures, composed=composed, split=split, seed=0),
            "scenes": batches_of(scenes, composed=composed, split=split, seed=0),
        }
    )
    return joined[index], joined


def test_both_tasks_train_on_photographs(
    root: Path, composed: Composed, student_config: ModelConfig
) -> None:
    batch, _ = batch_of(merge(root), composed, "train")
    sam = SmallSam(build_model(student_config, seed=1))
    teacher = SamTeacherTask(sam, Joined({}), validation=None)
    loss = teacher(batch["scenes"], loss="multimask", step=1)
    loss.backward()
    assert torch.isfinite(loss)
    assert (teacher.count_images(batch["scenes"]), teacher.count_broken(batch["scenes"])) == (2, 0)
    values = teacher.measure(batch["scenes"])
    assert len(values["box_miou"]) + len(values["point_miou"]) == 6
    with torch.no_grad():
        assert teacher.draw(batch["scenes"]).dtype.name == "uint8"

    torch.manual_seed(0)
    task = DistillTask(
        build_model(student_config, seed=2),
        Joined({}),
        clip=SmallClip(student_config, image_tower="test_resnet", resolution=32).eval(),
        sam=sam.requires_grad_(False),
        sam_weight=10.0,
        region_weight=1.0,
        dense_weight=1.0,
        cell_weight=0.0,
        validation=None,
        classes=None,
    )
    for name in task.losses:
        loss = task(batch, loss=name, step=1)
        assert torch.isfinite(loss)
    assert (task.count_images(batch), task.count_broken(batch)) == (4, 0)


def test_validation_sees_other_pictures_and_all_of_them(root: Path, composed: Composed) -> None:
    settings = merge(root)
    for name in ("pictures", "scenes"):
        train, held_out = (
            batch_of(settings, composed, split)[0][name] for split in ("train", "validation")
        )
        assert (held_out["images"][:, :, :48].amax(dim=(2, 3)) == torch.tensor([0, 200, 0])).all()
        assert (train["images"][:, :, 0, 0].float().std(dim=1) < 12).all()  # grey, tinted a little
        assert held_out["token_mask"].tolist() == [[[1.0] * 4] * 3 + [[0.0] * 4]] * 2


def test_sources_are_mixed_by_their_shares(root: Path, composed: Composed) -> None:
    """Composed pictures tell what they show, and are one a batch; photographs do not, and two."""
    settings = merge(root, mixed=True)
    _, joined = batch_of(settings, composed, "train")
    kinds = ["nouns" in joined.datasets["pictures"][index] for index in range(60)]
    assert 36 <= sum(kinds) <= 54
    both = [joined.datasets["scenes"][index] for index in range(8)]
    assert {"broken" in batch for batch in both} == {True, False}
    shapes = [
        {key: tuple(each.shape) for key, each in batch.items() if key != "broken"} for batch in both
    ]
    assert all(shape == shapes[0] for shape in shapes)
    again: Batch = batch_of(settings, composed, "train", 5)[0]["scenes"]
    assert torch.equal(again["images"], both[5]["images"])


def test_terms_of_the_sets_are_told(root: Path, composed: Composed) -> None:
    _, joined = batch_of(merge(root, mixed=True), composed, "train")
    assert photograph_terms(joined) == {"toys": "CC0-1.0"}
    assert photograph_terms(Joined({})) == {}


def test_a_merge_trains_and_validates_on_photographs(root: Path, composed: Composed) -> None:
    """The teachers are not asked for anything; nothing says what the pictures show."""
    settings = merge(root)
    checked = settings.optimisation.model_copy(
        update={"validation": Validation(every_steps=1, batches=1)}
    )
    pair: Any = None
    data = MergeData(
        settings.model_copy(update={"optimisation": checked}),
        composed=composed,
        pair=pair,
        processes=1,
    )
    assert (data.steps, data.classes, data.faults) == (1, None, [])
    assert data.validation is not None
    for dataset in (data.train, data.validation):
        assert set(dataset[0]) == {"pictures", "scenes"}
        assert dataset[0]["scenes"]["targets"].shape == (6, 16, 16)
    endless = settings.optimisation.model_copy(update={"steps": 0, "epochs": 1.0})
    with pytest.raises(TrainingError, match=r"only shards have epochs: give optimisation.steps"):
        MergeData(
            settings.model_copy(update={"optimisation": endless}),
            composed=composed,
            pair=pair,
            processes=1,
        )


def test_a_set_without_pictures_to_validate_on_is_told(root: Path, composed: Composed) -> None:
    settings = merge(root)
    toys = root / "toys" / "instances.json"
    toys.write_text(toys.read_text().replace('"calibration"', '"val"'))
    with pytest.raises(TrainingError, match=r"no photograph below .* is in the split calibration"):
        batch_of(settings, composed, "validation")


def test_sam_teachers_scenes_are_composed_unless_told_otherwise(root: Path) -> None:
    sizes = {"resolution": SIZE, "batch": 2, "prompts": 3}
    given = {"task": "sam_teacher", "optimisation": OPTIMISATION}
    photographs = {**sizes, "source": "photographs", "root": str(root)}
    mixed = {"source": "mixed", "parts": [{"of": photographs}]}
    for scenes in (sizes, photographs, mixed):
        settings = SamTeacherConfig.model_validate({**given, "scenes": scenes})
        assert settings.scenes.source == scenes.get("source", "composed")
        assert SamTeacherConfig.model_validate_json(settings.model_dump_json()) == settings
