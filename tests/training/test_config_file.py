from __future__ import annotations

from pathlib import Path

import pytest

from tests.refusals import refused
from training.config_file import CONFIGS, find_config, load_model, load_stage, stage_names
from training.errors import TrainingError
from training.stages.distill import DistillConfig

TINY = CONFIGS / "tiny.toml"


def test_a_model_is_a_preset_and_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[model]\npreset = "vit_b"\nembed_dim = 512\ntext_encoder = { width = 516 }\n')
    model = load_model(path)
    assert (model.embed_dim, model.text_encoder.width, model.text_encoder.depth) == (512, 516, 12)
    assert stage_names(path) == []


def test_a_file_has_what_differs_from_its_base(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        f'base = "{TINY}"\nmodel = "vit_b"\n'
        "[stage2]\nsam_weight = 3.0\noptimisation = { steps = 7 }\n"
    )
    assert load_model(path).name == "samclip-vit-b"
    assert stage_names(path) == stage_names(TINY)
    own, shared = load_stage(path, "stage2"), load_stage(TINY, "stage2")
    steps = shared.optimisation.model_copy(update={"steps": 7})
    assert own == shared.model_copy(update={"sam_weight": 3.0, "optimisation": steps})
    assert load_stage(path, "stage1") == load_stage(TINY, "stage1")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"[model]\nembed_dim = 512\n", "vit_b, vit_l, vit_h"),
        (b'[model]\npreset = "tiny"\nembed_dim = 0\n', "embed_dim is 0"),
        (b'base = "huge"\n', "'huge'"),
        (b'base = "vit_l"\n', "vit_b"),  # has a base itself
        (b'base = ""\n', "''"),
        (b"model = ", "mine.toml"),
        (b"\xff\xfe", "mine.toml"),
    ],
)
def test_a_file_that_is_no_config_is_refused(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    refused(lambda: load_model(path), TrainingError, told)


def test_what_is_unknown_is_refused_with_the_known() -> None:
    assert find_config(str(TINY)) == find_config("tiny")
    known = "mobile, tiny, tiny_vit, vit_b, vit_h, vit_l"
    refused(lambda: find_config("huge"), TrainingError, known)
    refused(lambda: load_stage(TINY, "stage9"), TrainingError, "'stage9'", "clip_teacher")


def test_overrides_reach_into_tables() -> None:
    settings = load_stage(
        TINY,
        "stage2",
        overrides=(
            "optimisation.steps=7",
            "optimisation.multipliers.prompt_encoder=0.5",
            'optimisation.precision="fp32"',
            "images.resolutions=[64]",
            "sam_weight=10",
        ),
    )
    assert isinstance(settings, DistillConfig)
    optimisation = settings.optimisation
    assert (optimisation.steps, optimisation.precision) == (7, "fp32")
    assert {"prompt_encoder": 0.5, "clip_head": 1.0}.items() <= optimisation.multipliers.items()
    assert (settings.images.resolutions, settings.sam_weight) == ((64,), 10.0)


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('model = "tiny"\n[stage1]\ntask = "distill"\nimages = { source = "shards" }\n')
    missing = ("optimisation", "images.resolutions", "images.pixels_per_batch")
    told = [f"{each} is missing" for each in missing]
    refused(lambda: load_stage(path, "stage1"), TrainingError, *told)
