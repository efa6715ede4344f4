"""Shares of a task in several processes: what each keeps, and that it trains as without them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import open_clip
import pytest
import torch
from torch import Tensor, distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor

from samclip_sdk.modeling.build import SamClipModel, build_model
from samclip_sdk.modeling.checkpoint import load_checkpoint
from samclip_sdk.modeling.config import VIT_L
from tests.training import small_merge
from tests.training.loop.test_train import ROOT, launch, parts, run_here, same
from training.batches import Joined
from training.loop.optimizer import choose_trained
from training.loop.sharding import share_out
from training.tasks.distill import DistillTask
from training.tasks.tasks import Task
from training.teachers.pretrained import OpenClip
from training.teachers.small import SmallSam
from training.teachers.weights import read_weights

STEPS = (
    'optimisation.sharding="full"',
    "optimisation.steps=3",
    "optimisation.workers=0",
    "optimisation.threads=1",
    "scenes.batch=1",
    "scenes.prompts=2",
)
STAGE2 = (
    'starts_from="teachers"',
    "pictures.resolutions=[96]",
    "pictures.pixels_per_batch=18432",
    *STEPS,
)
CLIP = (
    'image_tower="test_resnet"',
    "nouns=12",
    "text_only_steps=1",
    "pictures.resolutions=[32]",
    "pictures.pixels_per_batch=4096",
    "optimisation.steps=2",
    "optimisation.workers=0",
    "optimisation.threads=1",
)


@pytest.fixture
def no_group() -> Iterator[None]:
    yield
    distributed.destroy_process_group()


def shared_out(task: Task, *, rank: int, processes: int) -> Task:
    """What one of so many processes keeps; the others are not there."""
    distributed.init_process_group("fake", rank=rank, world_size=processes)
    mesh = init_device_mesh(
        "cpu", (processes, 1), mesh_dim_names=("data_parallel", "tensor_parallel")
    )
    choose_trained(dict(task.parts.items()), small_merge.SETTINGS)
    return share_out(task, mesh)


def count(task: Task, *, learned: bool = False) -> int:
    return sum(
        (each.to_local() if isinstance(each, DTensor) else each).numel()
        for each in task.parameters()
        if each.requires_grad or not learned
    )


def test_the_blocks_of_student_and_teachers_are_units() -> None:
    """And the tables of tokens; all of a block is in its unit."""
    task = small_merge.new_task()
    kinds = [type(unit).__name__ for unit in task.units()]
    ours = ["Block"] * (4 + 3) + ["Embedding"] + ["TextBlock"] * 2
    clip = ["ResidualAttentionBlock"] * 4 + ["Embedding"]
    assert sorted(kinds) == sorted([*ours, *clip, *["Block"] * 4])
    within = {id(each) for unit in task.units() for each in unit.parameters()}
    outside = {name for name, each in task.named_parameters() if id(each) not in within}
    assert not {name for name in outside if "blocks." in name}


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.usefixtures("no_group")
def test_each_of_two_processes_keeps_about_half(rank: int) -> None:
    task = small_merge.new_task()
    whole = count(task)
    kept = count(shared_out(task, rank=rank, processes=2))
    assert kept == pytest.approx(whole / 2, rel=0.01)


@pytest.mark.filterwarnings("ignore:No pretrained weights loaded")
@pytest.mark.usefixtures("no_group")
def test_of_vit_l_the_first_of_eight_processes_keeps_an_eighth() -> None:
    """The joint stage, teachers and all, without values; docs/training.md has these numbers."""
    with torch.device("meta"):
        clip = OpenClip(open_clip.create_model("ViT-L-14", device="meta"))
        del clip.model.logit_scale  # a scalar has no share
        task = DistillTask(
            SamClipModel(VIT_L),
            Joined({}),
            clip=clip.requires_grad_(False),
            sam=SmallSam(SamClipModel(VIT_L)).requires_grad_(False),
            sam_weight=10.0,
            region_weight=0.0,
            dense_weight=0.0,
            cell_weight=0.0,
            validation=None,
            classes=None,
        )
    choose_trained(dict(task.parts.items()), small_merge.SETTINGS)
    assert (round(count(task) / 1e6), round(count(task, learned=True) / 1e6)) == (1216, 352)
    shared = shared_out(task, rank=0, processes=8)
    assert (round(count(shared) / 1e6), round(count(shared, learned=True) / 1e6)) == (159, 48)


def test_two_processes_with_shares_train_as_one_that_accumulates(tmp_path: Path) -> None:
    two = launch(tmp_path / "two", devices=2, sharding="full")
    torch.testing.assert_close(two, run_here(tmp_path / "one", accumulate=2), rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_killed_run_goes_on_with_shares_or_without(tmp_path: Path) -> None:
    """Bit for bit as it was; in another number of processes, but for the rounding of sums."""
    whole = launch(tmp_path / "whole", devices=2, sharding="full")
    launch(tmp_path / "killed", devices=2, sharding="full", killed_at=5)
    launch(tmp_path / "plain", devices=2, killed_at=5)
    shutil.copytree(tmp_path / "killed", tmp_path / "alone")

    assert same(launch(tmp_path / "killed", devices=2, sharding="full"), whole)
    alone = run_here(tmp_path / "alone", accumulate=2)
    torch.testing.assert_close(alone, whole, rtol=1e-5, atol=1e-6)
    plain = launch(tmp_path / "plain", devices=2, sharding="full")
    torch.testing.assert_close(plain, whole, rtol=1e-5, atol=1e-6)


def merged(folder: Path, *, precision: str, accelerator: str, processes: int) -> None:
    """Trains the small merge without shares and with them."""
    launcher = ("torch.distributed.run", "--standalone", "--nproc-per-node", str(processes))
    words = (str(folder), precision, accelerator, str(processes))
    done = subprocess.run(
        [sys.executable, "-m", *launcher, "-m", "tests.training.small_merge", *words],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr


def logged(run: Path) -> list[dict[str, float]]:
    timed = ("step_ms", "images_per_s")
    lines = (run / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [
        {name: value for name, value in json.loads(line).items() if name not in timed}
        for line in lines
    ]


def check_merge(folder: Path, *, tolerance: float) -> None:
    """Holds the run with shares to the one without."""
    plain, shared = logged(folder / "none"), logged(folder / "full")
    assert [each.keys() for each in plain] == [each.keys() for each in shared]
    assert [each["step"] for each in shared] == [1, 2, 4, 4]  # two of them are validations
    for one, other in zip(plain, shared, strict=True):
        assert other == pytest.approx(one, rel=1e-3)
    one, other = (torch.load(folder / name / "student.pt") for name in ("none", "full"))
    start = build_model(small_merge.CONFIG, seed=2).state_dict()
    assert one.keys() == other.keys() == start.keys()
    assert furthest(one, start) > 20 * tolerance
    assert furthest(one, other) < tolerance
    frozen = [name for name in start if name.startswith(("text_encoder", "prompt_encoder"))]
    assert all(torch.equal(other[name], start[name]) for name in frozen)


def furthest(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    return max((one[name] - other[name]).abs().max().item() for name in one)


@pytest.mark.slow
def test_a_merge_with_shares_is_that_without(tmp_path: Path) -> None:
    """The losses, what validation finds, and the weights; over gloo, with the real teachers."""
    merged(tmp_path, precision="fp32", accelerator="cpu", processes=2)
    check_merge(tmp_path, tolerance=1e-5)
    for rank in (0, 1):
        counts = json.loads((tmp_path / "full" / f"rank{rank}.json").read_text())
        assert counts["kept"] == pytest.approx(counts["whole"] / 2, rel=0.01)
    states = [torch.load(tmp_path / name / "last.pt") for name in ("none", "full")]
    plain, shared = (state["optimizer"] for state in states)
    assert plain["param_groups"] == shared["param_groups"]
    assert plain["state"].keys() == shared["state"].keys()
    for place, moments in plain["state"].items():
        assert moments["exp_avg"].shape == shared["state"][place]["exp_avg"].shape
    assert parts(tmp_path / "none").keys() == parts(tmp_path / "full").keys()


@pytest.mark.gpu
def test_a_merge_with_shares_is_that_without_on_gpus(tmp_path: Path) -> None:
    """Over NCCL, on two GPUs, or where there is one, in one process that has all shares."""
    processes = min(2, torch.cuda.device_count())
    if not processes:
        pytest.skip("torch finds no GPU")
    merged(tmp_path, precision="fp32", accelerator="cuda", processes=processes)
    check_merge(tmp_path, tolerance=1e-4)


def run_stage(stage: str, runs: Path, *changes: str) -> Path:
    """By the command, in two processes; returns the folder of the result."""
    options = [word for change in changes for word in ("--set", change)]
    command = ["-m", "training", stage, "--runs", str(runs), "--devices", "2"]
    done = subprocess.run(
        [sys.executable, *command, "--accelerator", "cpu", *options],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert f"{stage} is written. Next: " in done.stdout
    return runs / "tiny" / stage


@pytest.mark.slow
def test_stages_with_shares_leave_what_any_other_leaves(tmp_path: Path) -> None:
    """The SAM teacher, and a merge with it; the tiny recipe has Muon and regions."""
    clip = read_weights(run_stage("clip_teacher", tmp_path, *CLIP) / "model.safetensors")
    sam = read_weights(run_stage("sam_teacher", tmp_path, *STEPS) / "model.safetensors")
    model = load_checkpoint(run_stage("stage2", tmp_path, *STAGE2))
    assert all(each.isfinite().all() for each in model.state_dict().values())
    for name, tensor in model.text_encoder.state_dict().items():
        assert torch.equal(tensor, clip[f"text_encoder.{name}"]), name
    whole = SmallSam(model).state_dict()
    assert {name: each.shape for name, each in sam.items()} == {
        name: each.shape for name, each in whole.items()
    }
