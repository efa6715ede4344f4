"""A merge of real file formats, small: SAM and OpenCLIP checkpoints, tar shards, SA-1B's files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from segment_anything import sam_model_registry
from segment_anything.modeling import Sam
from typer.testing import CliRunner

from export.source import read_source
from samclip_sdk.bundle.manifest import UNCALIBRATED, Calibration
from samclip_sdk.modeling.build import build_model
from samclip_sdk.modeling.checkpoint import load_checkpoint, read_provenance, save_checkpoint
from samclip_sdk.modeling.config import PRESETS
from tests.parity.reference import build_sam, small_config
from tests.training.photograph_files import annotation, encode, rectangle, write_set
from tests.training.real.test_sa1b import objects, write_pair
from tests.training.shard_files import write_shard
from tests.training.toy_task import logged
from training.__main__ import app

CONFIG = small_config(image_size_px=64)
RECIPE = """
model = "{model}"

[merge.teachers]
kind = "foundation"
clip = "{model}"
pretrained = "{clip}"
clip_licence = "MIT-0"
sam = "{model}"
sam_checkpoint = "{sam}"

[merge.images]
source = "shards"
sources = [{{ shards = "{data}/*.tar" }}]
index = "{data}/index"
resolutions = [32, 64]
pixels_per_batch = 32768

[embeddings]
task = "embeddings"
folder = "{data}/embeddings"
batch = 8
workers = 0
precision = "fp32"

[stage1]
task = "distill"
starts_from = "teachers"
sam_weight = 0.0
images = {{ embeddings = "{data}/embeddings" }}
[stage1.optimisation]
epochs = 1
learning_rate = 1e-3
workers = 0
threads = 1
multipliers = {{ clip_head = 1.0 }}

[stage2]
task = "distill"
starts_from = "stage1"
grad_checkpointing = true
scenes = {{ source = "sa1b", folder = "{data}", resolution = 64, batch = 1, prompts = 4 }}
[stage2.optimisation]
epochs = 0.2
learning_rate = 1e-3
workers = 0
threads = 1
multipliers = {{ clip_head = 1.0, image_encoder = 0.1, mask_decoder = 0.1 }}
[stage2.optimisation.validation]
every_steps = 2
batches = 1
early_stop = {{ metric = "box_miou", minimum = 0.0, patience = 1 }}

[stage3]
task = "distill"
starts_from = "stage2"
sam_weight = 0.0
[stage3.optimisation]
steps = 1
learning_rate = 1e-3
workers = 0
threads = 1
multipliers = {{ clip_head = 1.0 }}

[calibrate]
task = "calibrate"
checkpoint = "stage2"
box_margin = 0.02
photographs = {{ source = "photographs", root = "{data}/photographs" }}
"""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The TOML file of a small merge, with all that it names beside it."""
    name = CONFIG.name
    monkeypatch.setitem(PRESETS, name, CONFIG)
    torch.save(build_sam(CONFIG, seed=0).state_dict(), tmp_path / "sam.pth")

    def load_sam(checkpoint: str) -> Sam:
        sam = build_sam(CONFIG, seed=1)
        sam.load_state_dict(torch.load(checkpoint))
        return sam

    monkeypatch.setitem(sam_model_registry, name, load_sam)
    text = CONFIG.text_encoder
    sizes = {
        "embed_dim": CONFIG.embed_dim,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
        "text_cfg": {"width": text.width, "heads": text.num_heads, "layers": text.depth},
    }
    (tmp_path / f"{name}.json").write_text(json.dumps(sizes))
    open_clip.add_model_config(tmp_path / f"{name}.json")
    torch.save(open_clip.create_model(name).state_dict(), tmp_path / "clip.pt")
    for shard in range(2):
        write_shard(tmp_path / f"{shard:05d}.tar", range(150 * shard, 150 * shard + 150))
    for number in range(400):
        write_pair(tmp_path, number, objects(3))
    pixels = np.random.default_rng(0).integers(0, 256, (4, 96, 128, 3), np.uint8)
    masks = rectangle(10, 10, 70, 80), rectangle(80, 20, 120, 90)
    found = [annotation(number, mask) for number, mask in enumerate(masks, 1)]
    write_set(
        tmp_path / "photographs" / "toys",
        [(encode(each), found, {"split": "calibration"}) for each in pixels],
        categories=["cat", "dog", "tree"],
        info={"complete": True},
    )
    path = tmp_path / "mine.toml"
    path.write_text(
        RECIPE.format(
            model=name, clip=tmp_path / "clip.pt", sam=tmp_path / "sam.pth", data=tmp_path
        )
    )
    return path


def run(recipe: Path, stage: str, *options: str, exit_code: int = 0) -> str:
    words = [stage, "--config", str(recipe), "--runs", str(recipe.parent / "runs"), *options]
    done = CliRunner().invoke(app, [*words, "--accelerator", "cpu"])
    assert done.exit_code == exit_code, done.output
    return done.output


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:No pretrained weights loaded")  # random ones will do
def test_from_checkpoints_and_shards_to_a_student(recipe: Path) -> None:
    runs = recipe.parent / "runs" / "mine"
    (recipe.parent / "sa_9.json").unlink()
    assert "images/s" in run(recipe, "embeddings", "--smoke", "2")
    assert not list(recipe.parent.glob("embeddings*"))
    for stage in ("embeddings", "stage1"):
        assert "warning" not in run(recipe, stage)
    assert "1 files without their pair" in run(recipe, "stage2")
    first, second = (load_checkpoint(runs / stage) for stage in ("stage1", "stage2"))
    sam = torch.load(recipe.parent / "sam.pth")
    # Stage 1 leaves SAM as it is, bit by bit; stage 2 moves it, but for the prompt encoder.
    for name, tensor in first.image_encoder.state_dict().items():
        assert torch.equal(tensor, sam[f"image_encoder.{name}"]), name
    assert not torch.equal(second.image_encoder.pos_embed, first.image_encoder.pos_embed)
    for part in ("prompt_encoder", "text_encoder"):
        one, other = (getattr(model, part).state_dict() for model in (first, second))
        assert all(torch.equal(one[name], other[name]) for name in one), part

    # The same step, shared out otherwise, goes on; another one does not.
    images = "optimisation.images_per_step={}"
    run(recipe, "stage1", "--set", images.format(32))
    larger = run(recipe, "stage1", "--set", images.format(64), exit_code=1)
    assert "batches_per_step: 1 -> 2" in larger

    first, validation, last = logged(runs / "stage2")
    assert {"validation/clip_cosine", "validation/box_miou"} <= validation.keys()
    assert (first["step"], last["step"]) == (1, 3)
    provenance = read_provenance(runs / "stage2")
    assert provenance["licences"] == {"sam": "not stated", "clip": "MIT-0"}
    assert provenance["starts_from"]["starts_from"]["clip"] == CONFIG.name
    # Without scenes there is nothing to ask SAM.
    (recipe.parent / "sam.pth").unlink()
    run(recipe, "stage3")
    assert read_provenance(runs / "stage3")["licences"] == provenance["licences"]
    _check_calibration(recipe, runs / "stage2")
    # One pass over 297 images (1 % is held out), of 32 or 8 a batch: of 20 in the mean.
    assert torch.load(runs / "stage1" / "last.pt")["step"] == 15


def _check_calibration(recipe: Path, folder: Path) -> None:
    """It is the last stage, and what the export reads."""
    told = run(recipe, "calibrate").splitlines()[-1]
    assert told.endswith(f"Next: python -m export {folder} my-bundle")
    calibration = Calibration.model_validate_json((folder / "calibration.json").read_bytes())
    assert calibration.box_margin == 0.02
    assert calibration.scale != UNCALIBRATED.scale
    assert read_provenance(folder)["calibration"]["asked"] == 4
    exported = read_source(folder)
    assert not exported.random_weights
    assert exported.calibration == calibration
    licences = {each.part: each.spdx for each in exported.licences}
    assert licences["weights (SAM teacher)"] == "not stated"
    assert licences["weights (CLIP teacher)"] == "MIT-0"


@pytest.mark.filterwarnings("ignore:No pretrained weights loaded")  # random ones will do
def test_what_does_not_fit_is_refused_before_a_step(recipe: Path) -> None:
    def refused(stage: str, *options: str) -> str:
        return run(recipe, stage, *options, exit_code=1)

    other = CONFIG.model_copy(update={"name": "other"})
    save_checkpoint(build_model(other), recipe.parent / "runs" / "mine" / "stage1", provenance={})
    assert "stage1 is of another model than small" in refused("stage2")
    PRESETS[CONFIG.name] = CONFIG.model_copy(update={"embed_dim": 32})
    expected = "small embeds in 64 dimensions, the model small in 32"
    assert expected in refused("embeddings")
    assert not (recipe.parent / "runs" / "mine" / "stage2").exists()
