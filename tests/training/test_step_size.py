from __future__ import annotations

import pytest

from training.config_file import find_config, load_stage
from training.errors import TrainingError
from training.step_size import batches_in_step, pictures_in_batch

PART = """{share=1.0,of={source="composed",resolutions=[64],pixels_per_batch=%d}}"""


@pytest.mark.parametrize("config", ["vit_b", "vit_l", "vit_h", "tiny_vit"])
@pytest.mark.parametrize("stage", ["stage1", "stage2", "stage3"])
def test_a_step_of_the_papers_recipe_is_2048_pictures_on_any_machine(
    config: str, stage: str
) -> None:
    settings = load_stage(find_config(config), stage)
    assert settings.optimisation.pictures_per_step == 2048
    for processes in (1, 2, 4, 8, 16, 32):
        batches = batches_in_step(settings, processes=processes)
        assert batches * processes * pictures_in_batch(settings) == 2048


@pytest.mark.parametrize(
    ("pictures", "processes", "told"),
    [
        (2048, 3, "pictures_per_step is 2048: 3 processes with batches of 64 .* multiple of 192"),
        (2048, 64, "is 2048: 64 processes with batches of 64 pictures take a multiple of 4096"),
        (2000, 1, "is 2000: 1 process with batches of 64 pictures takes a multiple of 64"),
    ],
)
def test_what_does_not_divide_is_refused_with_the_numbers(
    pictures: int, processes: int, told: str
) -> None:
    changes = (f"optimisation.pictures_per_step={pictures}",)
    settings = load_stage(find_config("vit_b"), "stage2", overrides=changes)
    with pytest.raises(TrainingError, match=told):
        batches_in_step(settings, processes=processes)


def test_without_the_setting_each_process_takes_a_batch() -> None:
    settings = load_stage(find_config("tiny"), "stage2")
    assert settings.optimisation.pictures_per_step is None
    assert batches_in_step(settings, processes=3) == 1


@pytest.mark.parametrize(
    ("config", "stage", "override", "pictures"),
    [
        ("tiny", "clip_teacher", "pictures={resolutions=[64,32],pixels_per_batch=4096}", 4),
        ("tiny", "sam_teacher", "scenes.batch=7", 7),
        ("tiny", "stage2", "pictures.pixels_per_batch=50000", 5),
        ("vit_b", "stage1", "pictures.pixels_per_batch=6422528", 128),
        ("mobile", "joint", "photographs.batch=5", 5),
        ("tiny", "stage2", f'pictures={{source="mixed",parts=[{PART % 8192},{PART % 8200}]}}', 2),
    ],
)
def test_a_batch_has_so_many_pictures(
    config: str, stage: str, override: str, pictures: int
) -> None:
    """At the least resolution; at others it has as many pixels."""
    settings = load_stage(find_config(config), stage, overrides=(override,))
    assert pictures_in_batch(settings) == pictures


def test_a_step_of_batches_that_differ_cannot_be_told() -> None:
    parts = f'pictures={{source="mixed",parts=[{PART % 8192},{PART % 40960}]}}'
    overrides = (parts, "optimisation.pictures_per_step=20")
    settings = load_stage(find_config("tiny"), "stage2", overrides=overrides)
    with pytest.raises(TrainingError, match="pictures_per_step: batches are of 2 and 10 pictures"):
        batches_in_step(settings, processes=1)
    texts = load_stage(
        find_config("mobile"), "text_encoder", overrides=("optimisation.pictures_per_step=8",)
    )
    with pytest.raises(TrainingError, match="a stage of the task text_encoder has no pictures"):
        batches_in_step(texts, processes=1)
