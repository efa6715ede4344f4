from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from training.config import Optimisation
from training.train import train


class Numbers(Dataset[Tensor]):
    """Batch i depends on i only."""

    def __getitem__(self, index: int) -> Tensor:
        return torch.randn(16, 8, generator=torch.Generator().manual_seed(index))


class Toy:
    """A student that learns a fixed map, through a frozen part with buffers, with noise."""

    def __init__(self, *, before: Callable[[int], None] = lambda step: None) -> None:
        self.dataset = Numbers()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.frozen = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8))
            self.body = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 4))
            self.truth = torch.randn(8, 4)
        self.before = before
        self.seen: list[float] = []

    def parts(self) -> dict[str, nn.Module]:
        return {"frozen": self.frozen, "body": self.body}

    def losses(self, batch: Tensor, *, step: int) -> Iterator[tuple[str, Tensor]]:
        self.before(step)
        noisy = batch + 0.05 * torch.randn_like(batch)
        loss = F.mse_loss(self.body(self.frozen(noisy)).float(), batch @ self.truth)
        self.seen.append(loss.item())
        yield "main", loss
        yield "small", 1e-3 * self.body[0].weight.square().mean()


def settings(**changes: object) -> Optimisation:
    defaults = {
        "steps": 8,
        "learning_rate": 1e-2,
        "warmup_steps": 2,
        "threads": 1,
        "workers": 0,
        "multipliers": {"body": 1.0},
    }
    return Optimisation.model_validate(defaults | changes)


def stop_at(step: int, error: BaseException) -> Callable[[int], None]:
    def before(now: int) -> None:
        if now == step:
            raise error

    return before


def weights(task: Toy) -> dict[str, Tensor]:
    return {
        f"{part}.{name}": tensor.clone()
        for part, module in task.parts().items()
        for name, tensor in module.state_dict().items()
    }


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_resumed_run_ends_with_the_same_weights(
    tmp_path: Path, optimizer: str, precision: str
) -> None:
    config = settings(optimizer=optimizer, precision=precision)
    whole = Toy()
    train(whole, config, tmp_path / "whole")

    stopped = Toy(before=stop_at(3, KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        train(stopped, config, tmp_path / "cut")
    assert torch.load(tmp_path / "cut" / "last.pt")["step"] == 3
    resumed = Toy()
    train(resumed, config, tmp_path / "cut")

    assert resumed.seen == whole.seen[3:]
    assert same(weights(resumed), weights(whole))


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    first, again = Toy(), Toy()
    train(first, settings(), tmp_path)
    train(again, settings(), tmp_path)
    assert again.seen == []
    assert same(weights(again), weights(first))


@pytest.fixture
def _heard_interrupts() -> Iterator[None]:
    """A suite that a shell runs in the background was born deaf to SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_heard_interrupts")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_after_the_step_in_hand(tmp_path: Path, number: signal.Signals) -> None:
    def before(step: int) -> None:
        if step == 3:
            os.kill(os.getpid(), number)

    handler = signal.getsignal(number)
    with pytest.raises(SystemExit) as stopped:
        train(Toy(before=before), settings(), tmp_path)
    assert stopped.value.code == 128 + number
    assert signal.getsignal(number) is handler
    assert torch.load(tmp_path / "last.pt")["step"] == 4
    whole, resumed = Toy(), Toy()
    train(whole, settings(), tmp_path / "whole")
    train(resumed, settings(), tmp_path)
    assert same(weights(resumed), weights(whole))


def test_an_ignored_interrupt_stays_ignored(tmp_path: Path) -> None:
    """As for a shell's background job."""

    def before(step: int) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        task = Toy(before=before)
        train(task, settings(), tmp_path)
    finally:
        signal.signal(signal.SIGINT, handler)
    assert len(task.seen) == 8


def test_a_loss_that_is_not_finite_stops_and_keeps_its_batch(tmp_path: Path) -> None:
    task = Toy()

    def spoil(step: int) -> None:
        if step == 2:
            task.truth.fill_(float("nan"))
            spoiled.update(weights(task))

    spoiled: dict[str, Tensor] = {}
    task.before = spoil
    with pytest.raises(FloatingPointError, match="main is nan at step 2"):
        train(task, settings(), tmp_path)
    assert torch.equal(torch.load(tmp_path / "bad_batch.pt"), Numbers()[2])
    state = torch.load(tmp_path / "last.pt")
    assert state["step"] == 2
    assert same(weights(task), spoiled)


def test_frozen_parts_stay_as_they_are(tmp_path: Path) -> None:
    task = Toy()
    before = weights(task)
    train(task, settings(optimizer="muon"), tmp_path)
    after = weights(task)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if name.startswith("body.")}


def test_bf16_forwards_use_the_weights_of_the_step(tmp_path: Path) -> None:
    """Autocast's cache, held over all steps, once kept the first step's cast weights for ever."""

    def check(step: int) -> None:
        layer = task.body[0]
        assert isinstance(layer, nn.Linear)
        x = torch.ones(1, 8)
        fresh = F.linear(x.bfloat16(), layer.weight.detach().clone().bfloat16())
        assert torch.equal(F.linear(x, layer.weight), fresh)
        checked.append(step)

    checked: list[int] = []
    task = Toy(before=check)
    train(task, settings(precision="bf16"), tmp_path)
    assert checked == list(range(8))


def test_both_losses_and_the_speed_are_logged(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(Toy(before=stop_at(70, KeyboardInterrupt())), settings(steps=101), tmp_path)
    task = Toy()
    train(task, settings(steps=101), tmp_path)
    lines = (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()
    entries = [json.loads(line) for line in lines]
    assert [entry["step"] for entry in entries] == [50, 100]
    assert all(
        {"main", "small", "gradient", "learning_rate", "step_ms"} <= entry.keys()
        for entry in entries
    )
    # After a resume a mean is over the steps that this run has made.
    assert entries[1]["main"] == pytest.approx(sum(task.seen[:30]) / 30, abs=1e-5)
