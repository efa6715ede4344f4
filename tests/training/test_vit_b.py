"""One step of the paper's second stage at its real sizes, with random weights."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIMIT_BYTES = 16e9
STEP = """
import sys
from pathlib import Path

import open_clip
import torch
from segment_anything import sam_model_registry
from torch.utils.data import Dataset

from samclip_sdk.modeling.build import build_model
from samclip_sdk.modeling.config import VIT_B
from training.config_file import find_config, load_stage
from training.tasks.distill import DistillTask
from training.teachers.pretrained import OpenClip, SegmentAnything
from training.loop.train import build_fabric, train

class OneImageOneScene(Dataset):
    def __getitem__(self, index):
        torch.manual_seed(index)
        corners = torch.tensor([[[100.0, 100.0], [900.0, 700.0]]])
        return {
            "images": {
                "images": torch.randint(0, 256, (1, 3, 448, 448), dtype=torch.uint8),
                "token_mask": torch.ones(1, 28, 28),
            },
            "scenes": {
                "images": torch.randint(0, 256, (1, 3, 1024, 1024), dtype=torch.uint8),
                "token_mask": torch.ones(1, 64, 64),
                "point_coords": corners.repeat(32, 1, 1),
                "point_labels": torch.tensor([[2, 3]], dtype=torch.int32).repeat(32, 1),
                "regions": torch.zeros(0, 4),
            },
        }

settings = load_stage(find_config("vit_b"), "stage2")
student = build_model(VIT_B)
student.image_encoder.set_grad_checkpointing(settings.grad_checkpointing)
task = DistillTask(
    student,
    OneImageOneScene(),
    clip=OpenClip(open_clip.create_model("ViT-L-14")).eval().requires_grad_(False),
    sam=SegmentAnything(sam_model_registry["vit_b"]()).eval().requires_grad_(False),
    weights=settings.weights,
    validation=OneImageOneScene(),
    classes=None,
)
changes = {"steps": 1, "epochs": 0.0, "validation": None, "workers": 0}
optimisation = settings.optimisation.model_copy(update=changes)
train(task, optimisation, Path(sys.argv[1]), fabric=build_fabric("bf16", accelerator="cpu"))
# Linux counts this since exec; the peak of getrusage survives it.
status = Path("/proc/self/status").read_text()
print(int(status.split("VmHWM:")[1].split()[0]) * 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak from /proc")
def test_a_joint_step_runs_within_16_gb(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STEP, str(tmp_path)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) < LIMIT_BYTES
    assert (tmp_path / "last.pt").exists()
