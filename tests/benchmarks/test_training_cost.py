from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import open_clip
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.costs import training_cost
from benchmarks.operations import count_stages
from benchmarks.pages import RECORDS, ROOT
from benchmarks.table import Part, read_table
from samclip_sdk.modeling.build import build_model
from samclip_sdk.modeling.config import PRESETS
from tests.benchmarks.measured import measure, shown
from tests.parity.reference import small_config
from training.config_file import find_config

CLIP = "ViT-B-32"  # of the fewest operations; 512 wide
STAGES = """
model = "student-test"

[merge.teachers]
kind = "foundation"
clip = "{clip}"
pretrained = "none"
sam = "vit_b"
sam_checkpoint = "none"

[merge.pictures]
source = "shards"
sources = [{{ shards = "none" }}]
index = "none"
resolutions = [64]
pixels_per_batch = 16384

[stage1]
task = "distill"
starts_from = "teachers"
sam_weight = 0.0
optimisation = {{ epochs = 2, learning_rate = 1e-3, multipliers = {{ clip_head = 1.0 }} }}

[stage2]
task = "distill"
starts_from = "stage1"
scenes = {{ source = "sa1b", folder = "none", resolution = 64, batch = 1, prompts = 2 }}
[stage2.optimisation]
epochs = 1
learning_rate = 1e-3
multipliers = {{ clip_head = 1.0, image_encoder = 0.1 }}
"""


def flop(run: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        run()
    return int(counter.get_total_flops())


@pytest.mark.slow
def test_a_picture_costs_what_its_parts_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = small_config(image_size_px=64).model_copy(update={"embed_dim": 512})
    monkeypatch.setitem(PRESETS, "student-test", config)
    recipe = tmp_path / "mine.toml"
    recipe.write_text(STAGES.format(clip=CLIP))
    (_, first), (_, second) = count_stages(recipe, pictures=1000, step_processes=3)
    assert (first["pictures"], second["pictures"]) == (2000, 1000)
    # Four pictures a process and step, three processes: 1000 / 12 steps of three scenes.
    assert second["scenes"] == pytest.approx(250)
    assert (first["scene_flop"], first["scenes"]) == (0, 0)
    assert second["scene_flop"] > 0
    # What the cache saves is the teacher's way there.
    teacher = open_clip.create_model(CLIP)
    teaching = flop(lambda: teacher.encode_image(torch.zeros(1, 3, 224, 224)))
    for cost in (first, second):
        saved = cost["picture_flop"] - cost["cached_flop"]
        # On the CPU open_clip takes a fused attention, not all of which is counted.
        assert saved == pytest.approx(teaching, rel=0.02)
    # A frozen backbone is walked there only; a trained one back as well, but for the neck.
    student = build_model(config)
    tokens = torch.zeros(1, 64, 4, 4)
    encoder = flop(lambda: student.image_encoder(torch.zeros(1, 3, 64, 64)))
    neck = flop(lambda: student.image_encoder.neck(tokens))
    head = flop(lambda: student.clip_head(tokens, torch.ones(1, 4, 4)))
    assert first["cached_flop"] < encoder + 3 * head
    back = second["cached_flop"] - first["cached_flop"]
    assert back == pytest.approx(2 * (encoder - neck), rel=0.05)


def test_hours_and_their_table(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = {"pictures": 1e6, "picture_flop": 400e9, "cached_flop": 200e9}
    stage |= {"scene_flop": 5e12, "scenes": 1e4}
    monkeypatch.setattr(
        "benchmarks.operations.count_stages", lambda *_paths, **_options: [("stage2", stage)]
    )
    part = measure(training_cost, suite="training_cost", peak_tflops=100, utilisation=0.5)
    found = part.metrics("stage2")
    assert found["gpu_hours"].value == pytest.approx((4e17 + 5e16) / 5e13 / 3600)
    assert found["gpu_hours_cached"].value == pytest.approx((2e17 + 5e16) / 5e13 / 3600)
    asked = {"config": "vit_b", "peak_tflops": 100, "utilisation": 0.5}
    run = part.run.model_copy(update={"settings": asked})
    assert "| stage2 | 400 | 200 | 5.0 | 2 | 1 |\n" in shown("training_cost", Part(run, part.rows))


@pytest.mark.slow
def test_the_page_has_what_is_counted_now() -> None:
    """Whatever changes an operation of the merge changes the published table, too."""
    (part,) = read_table(ROOT / RECORDS / "training_cost.jsonl").parts
    asked = part.run.settings
    numbers = {"pictures": asked["pictures"], "step_processes": asked["processes"]}
    for name, cost in count_stages(find_config(asked["config"]), **numbers):
        assert {each: part.value(name, each) for each in cost} == cost
