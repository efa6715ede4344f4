"""A task small enough to train many times in a test, also by `python toy_task.py`."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from training.loop.train import build_fabric, leave_processes, train
from training.loop_config import Optimisation
from training.tasks.tasks import Task


class Numbers(Dataset[Tensor]):
    """Batch i depends on i only."""

    def __init__(self, *, first: int = 0) -> None:
        self.first = first

    def __getitem__(self, index: int) -> Tensor:
        return torch.randn(16, 8, generator=torch.Generator().manual_seed(self.first + index))


class Toy(Task):
    """A student that learns a fixed map, through a frozen part with buffers, with noise.

    `alone` is a part that only the first of the losses reaches.
    """

    losses = ("main", "small")
    metrics = ("nearness", "luck")

    def __init__(self, *, before: Callable[[int], None] = lambda step: None) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            frozen = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8))
            body = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 4))
            alone = nn.Linear(4, 4)
            truth = torch.randn(8, 4)
        parts = {"frozen": frozen, "body": body, "alone": alone}
        super().__init__(Numbers(), parts, validation=Numbers(first=1000))
        self.truth = truth
        self.before = before
        self.seen: list[float] = []

    def forward(self, batch: Tensor, *, loss: str, step: int) -> Tensor:
        body = self.parts["body"]
        if loss == "small":
            return 1e-3 * body[0].weight.square().mean()
        self.before(step)
        noisy = batch + 0.05 * torch.randn_like(batch)
        output = self.parts["alone"](body(self.parts["frozen"](noisy)))
        value = F.mse_loss(output.float(), batch @ self.truth)
        self.seen.append(value.item())
        return value

    def count_images(self, batch: Tensor) -> int:
        return len(batch)

    def count_broken(self, batch: Tensor) -> int:
        return 0

    def measure(self, batch: Tensor) -> dict[str, Tensor]:
        output = self.parts["alone"](self.parts["body"](self.parts["frozen"](batch)))
        distance = (output.float() - batch @ self.truth).square().mean(dim=1)
        return {"nearness": -distance, "luck": torch.zeros(0)}

    def draw(self, batch: Tensor) -> np.ndarray:
        return np.full((4, 6, 3), len(batch), np.uint8)


def settings(**changes: object) -> Optimisation:
    defaults = {
        "steps": 8,
        "learning_rate": 1e-2,
        "warmup_steps": 2,
        "threads": 1,
        "workers": 0,
        "multipliers": {"body": 1.0, "alone": 1.0},
    }
    return Optimisation.model_validate(defaults | changes)


def run(task: Task, config: Optimisation, folder: Path, *, accumulate: int = 1) -> None:
    """Trains in this process, from wherever it stopped."""
    train(task, config, folder, fabric=build_fabric(config.precision), accumulate=accumulate)


def logged(folder: Path) -> list[dict[str, float]]:
    """The entries of a run's log."""
    lines = (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def weights(task: Toy) -> dict[str, Tensor]:
    """A copy of those of all parts."""
    return {name: tensor.clone() for name, tensor in task.parts.state_dict().items()}


def main(
    folder: str,
    devices: str,
    accumulate: str,
    workers: str,
    killed_at: str,
    nodes: str = "1",
    spoiled_at: str = "-1",
) -> None:
    """Trains in fp32, in so many processes; saves each step, and is killed before one.

    At the step `spoiled_at` the loss of every process is not finite.

    With workers, its whole process group is interrupted instead, as by Ctrl-C in a terminal. With
    nodes, the torchrun that started it is killed, too, as by a power cut.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def before(step: int) -> None:
        if step == int(spoiled_at):
            task.truth.fill_(float("nan"))
        if step == int(killed_at) and int(workers):
            os.killpg(0, signal.SIGINT)
        elif step == int(killed_at):
            if int(nodes) > 1:
                os.kill(os.getppid(), signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)

    config = settings(
        precision="fp32",
        workers=int(workers),
        checkpoint_minutes=1e-9,
    )
    fabric = build_fabric(
        config.precision, devices=int(devices), nodes=int(nodes), accelerator="cpu"
    )
    fabric.launch()
    task = Toy(before=before)
    train(task, config, Path(folder), fabric=fabric, accumulate=int(accumulate))
    leave_processes()


if __name__ == "__main__":
    main(*sys.argv[1:])
