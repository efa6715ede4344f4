"""A small merge of the real packages' classes, by torchrun: without shares, and with them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch.distributed.tensor import DTensor
from torch.utils.data import Dataset

from samclip_sdk.modeling.build import build_model
from tests.parity.reference import build_sam, small_config
from training.loop.train import build_fabric, leave_processes, train
from training.loop_config import Optimisation, Precision, Sharding
from training.tasks.distill import DistillTask
from training.teachers.pretrained import OpenClip, SegmentAnything

CONFIG = small_config(image_size_px=64)
SIZE = CONFIG.segmentation_resolution
SETTINGS = Optimisation.model_validate(
    {
        "epochs": 1,
        "learning_rate": 1e-3,
        "warmup_steps": 1,
        "workers": 0,
        "threads": 1,
        "multipliers": {"clip_head": 1.0, "image_encoder": 0.1, "mask_decoder": 0.1},
        # Three batches, so that one of two processes has none in the second round.
        "validation": {
            "every_steps": 2,
            "batches": 3,
            "early_stop": {"metric": "box_miou", "at_least": 0.0, "patience": 1},
        },
    }
).with_steps(4)


class PicturesAndScenes(Dataset[dict[str, Any]]):
    """Noise; batch i depends on i only."""

    def __init__(self, *, first: int = 0) -> None:
        self.first = first

    def __getitem__(self, index: int) -> dict[str, Any]:
        draw = torch.Generator().manual_seed(self.first + index)
        corners = torch.tensor([[[10.0, 10.0], [50.0, 40.0]]])

        def images(count: int) -> dict[str, torch.Tensor]:
            pixels = torch.randint(0, 256, (count, 3, SIZE, SIZE), generator=draw)
            return {
                "images": pixels.byte(),
                "token_mask": torch.ones(count, SIZE // 16, SIZE // 16),
            }

        prompts = {
            "point_coords": corners.repeat(2, 1, 1),
            "point_labels": torch.tensor([[2, 3]], dtype=torch.int32).repeat(2, 1),
            "regions": torch.zeros(0, 4),
        }
        return {"pictures": images(2), "scenes": images(1) | prompts}


class Merge(DistillTask):
    """Counts, between two steps, how many numbers of the weights this process keeps."""

    kept: int = 0

    def count_images(self, batch: dict[str, dict[str, torch.Tensor]]) -> int:
        self.kept = sum(
            (each.to_local() if isinstance(each, DTensor) else each).numel()
            for each in self.parameters()
        )
        return super().count_images(batch)


def new_task() -> Merge:
    """The same one each time."""
    torch.manual_seed(0)
    vision = {"image_size": 32, "layers": 2, "width": 64, "patch_size": 16}
    text = {"width": 64, "heads": 4, "layers": 2}
    clip = open_clip.CLIP(CONFIG.embed_dim, vision, text)
    clip.visual.preprocess_cfg = {
        "mean": (0.5, 0.5, 0.5),
        "std": (0.3, 0.3, 0.3),
        "interpolation": "bicubic",
    }
    student = build_model(CONFIG, seed=2)
    student.image_encoder.set_grad_checkpointing(True)
    return Merge(
        student,
        PicturesAndScenes(),
        clip=OpenClip(clip).eval().requires_grad_(False),
        sam=SegmentAnything(build_sam(CONFIG, seed=1)).eval().requires_grad_(False),
        sam_weight=10.0,
        region_weight=0.0,
        dense_weight=0.0,
        cell_weight=0.0,
        validation=PicturesAndScenes(first=1000),
        classes=None,
    )


def main(folder: str, precision: Precision, accelerator: str, devices: str) -> None:
    """Trains without shares and with them; writes what each process kept, and the result."""
    for sharding in ("none", "full"):
        run = Path(folder, sharding)
        merge(run, precision, accelerator, sharding=sharding, devices=int(devices))
    leave_processes()


def merge(
    run: Path, precision: Precision, accelerator: str, *, sharding: Sharding, devices: int
) -> None:
    """One of the two."""
    task = new_task()
    whole = sum(each.numel() for each in task.parameters())
    fabric = build_fabric(precision, devices=devices, accelerator=accelerator, sharding=sharding)
    fabric.launch()
    train(task, SETTINGS, run, fabric=fabric, accumulate=2)
    kept = json.dumps({"kept": task.kept, "whole": whole})
    (run / f"rank{fabric.global_rank}.json").write_text(kept)
    if fabric.is_global_zero:
        torch.save(task.student.state_dict(), run / "student.pt")


if __name__ == "__main__":
    main(*sys.argv[1:])  # type: ignore[arg-type]
