from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from samclip_sdk.errors import StorageError
from tests.training.toy_task import Numbers, Toy, logged, run, settings, weights
from training.loop.train import begin, build_fabric, train, update

ROOT = Path(__file__).parents[3]


def stop_at(step: int, error: BaseException) -> Callable[[int], None]:
    def before(now: int) -> None:
        if now == step:
            raise error

    return before


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_resumed_run_ends_with_the_same_weights(
    tmp_path: Path, optimizer: str, precision: str
) -> None:
    config = settings(optimizer=optimizer, precision=precision)
    whole = Toy()
    run(whole, config, tmp_path / "whole")

    stopped = Toy(before=stop_at(3, SystemExit()))
    with pytest.raises(SystemExit):
        run(stopped, config, tmp_path / "cut")
    assert torch.load(tmp_path / "cut" / "last.pt")["step"] == 3
    resumed = Toy()
    run(resumed, config, tmp_path / "cut")

    assert resumed.seen == whole.seen[3:]
    assert same(weights(resumed), weights(whole))


def launch(
    folder: Path,
    *,
    devices: int = 1,
    accumulate: int = 1,
    workers: int = 0,
    killed_at: int = -1,
) -> dict[str, Tensor]:
    """Trains the toy in processes of its own, until it is done or killed; returns its parts."""
    words = (folder, devices, accumulate, workers, killed_at)
    done = subprocess.run(
        [sys.executable, "-m", "tests.training.toy_task", *map(str, words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        start_new_session=True,
    )
    code, steps = (0, 8) if killed_at < 0 else (-signal.SIGKILL, killed_at)
    if killed_at >= 0 and workers:
        code, steps = 128 + signal.SIGINT, killed_at + 1
    assert done.returncode == code, done.stderr
    assert torch.load(folder / "last.pt")["step"] == steps
    return parts(folder)


def parts(folder: Path) -> dict[str, Tensor]:
    """What is kept of a run's parts."""
    kept: dict[str, Tensor] = torch.load(folder / "last.pt")["task"]
    return kept


def run_here(folder: Path, *, accumulate: int = 1) -> dict[str, Tensor]:
    """The same training in this process, from wherever it stopped."""
    run(Toy(), settings(precision="fp32"), folder, accumulate=accumulate)
    return parts(folder)


@pytest.mark.slow
def test_a_killed_run_ends_bit_equal(tmp_path: Path) -> None:
    launch(tmp_path / "killed", killed_at=5)
    assert same(run_here(tmp_path / "killed"), run_here(tmp_path / "whole"))


@pytest.mark.slow
def test_an_interrupt_of_the_workers_too_finishes_the_step(tmp_path: Path) -> None:
    """As by Ctrl-C in a terminal, at the first of a step's batches: workers owe the others."""
    launch(tmp_path / "cut", accumulate=8, workers=1, killed_at=1)
    resumed = run_here(tmp_path / "cut", accumulate=8)
    assert same(resumed, run_here(tmp_path / "whole", accumulate=8))


@pytest.mark.slow
def test_two_processes_train_as_one_that_accumulates(tmp_path: Path) -> None:
    """Over gloo; the parts that a single loss reaches are exchanged, too."""
    two = launch(tmp_path / "two", devices=2)
    one, other = run_here(tmp_path / "one", accumulate=2), run_here(tmp_path / "other")
    torch.testing.assert_close(two, one, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(one["parts.alone.weight"], other["parts.alone.weight"], atol=1e-4)


def test_a_cpu_without_bf16_computes_in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.loop.train.computes_in_bf16", lambda device: device != "cpu")
    seen = []
    for precision in ("bf16", "fp32"):
        fabric = build_fabric(precision, accelerator="cpu")
        with fabric.autocast():
            seen.append(nn.Linear(4, 4)(torch.ones(4)).dtype)
    assert seen == [torch.float32, torch.float32]


def test_half_precision_leaves_inputs_alone() -> None:
    """As bf16, coordinates above 512 px had steps of 4."""
    fabric = build_fabric("bf16", accelerator="cpu")
    coords = torch.tensor([601.0, 603.0, 901.3, 1021.0])
    with fabric.autocast():
        assert nn.Linear(4, 4)(coords).dtype == torch.bfloat16
    assert torch.equal(fabric.setup_module(nn.Identity())(coords), coords)


def test_each_part_is_clipped_by_its_own_norm() -> None:
    """A part with a large gradient leaves the steps of the others as they are."""
    task, config = Toy(), settings(clip_norm=0.5)
    fabric = build_fabric("fp32", accelerator="cpu")
    state = begin(task, config, fabric)
    lengths = {"body": 1000.0, "alone": 0.25}
    for name, length in lengths.items():
        for parameter in (learned := list(task.parts[name].parameters())):
            parameter.grad = torch.full_like(parameter, length)
        total = nn.utils.get_total_norm([p.grad for p in learned if p.grad is not None])
        for parameter in learned:
            assert parameter.grad is not None
            parameter.grad *= length / total
    norms: dict[str, float] = {}

    def note(*_: object) -> None:
        for name in lengths:
            found = [p.grad for p in task.parts[name].parameters() if p.grad is not None]
            norms[name] = float(nn.utils.get_total_norm(found))

    state["optimizer"].optimizer.register_step_pre_hook(note)
    update(state, config)
    assert norms == pytest.approx({"body": 0.5, "alone": 0.25}, rel=1e-4)


def test_a_gradient_that_is_not_finite_stops_too(tmp_path: Path) -> None:
    task = Toy()
    weight = task.parts["body"][0].weight
    weight.register_hook(lambda gradient: gradient * (torch.inf if len(task.seen) == 3 else 1))
    with pytest.raises(FloatingPointError, match=r"not finite at step 2: .*gradient/body.: nan"):
        run(task, settings(), tmp_path)
    assert torch.load(tmp_path / "last.pt")["step"] == 2
    assert torch.isfinite(weight).all()


def test_a_full_disk_keeps_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(_: object, file: BinaryIO) -> None:
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    run(Toy(), settings(steps=4), tmp_path)
    files, before = sorted(tmp_path.iterdir()), (tmp_path / "last.pt").read_bytes()
    monkeypatch.setattr(torch, "save", fill)
    with pytest.raises(StorageError, match=r"cannot write .*last\.pt, the one before .*No space"):
        run(Toy(), settings(steps=8), tmp_path)
    assert (tmp_path / "last.pt").read_bytes() == before
    assert sorted(tmp_path.iterdir()) == files


def test_the_state_is_not_written_by_way_of_the_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody would remove what a killed process leaves there."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    run(Toy(), settings(steps=2), tmp_path / "run")
    assert torch.load(tmp_path / "run" / "last.pt")["step"] == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_after_the_step_in_hand(tmp_path: Path, number: signal.Signals) -> None:
    def before(step: int) -> None:
        if step == 3:
            os.kill(os.getpid(), number)

    handler = signal.getsignal(number)
    with pytest.raises(SystemExit) as stopped:
        run(Toy(before=before), settings(), tmp_path)
    assert stopped.value.code == 128 + number
    assert signal.getsignal(number) is handler
    assert torch.load(tmp_path / "last.pt")["step"] == 4
    whole, resumed = Toy(), Toy()
    run(whole, settings(), tmp_path / "whole")
    run(resumed, settings(), tmp_path)
    assert same(weights(resumed), weights(whole))


def test_an_ignored_interrupt_stays_ignored(tmp_path: Path) -> None:
    """As for a shell's background job."""

    def before(step: int) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        task = Toy(before=before)
        run(task, settings(), tmp_path)
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
    with pytest.raises(FloatingPointError, match=r"not finite at step 2: .*main.: nan"):
        run(task, settings(), tmp_path)
    assert torch.equal(torch.load(tmp_path / "bad_batch_2.pt"), Numbers()[2])
    state = torch.load(tmp_path / "last.pt")
    assert state["step"] == 2
    assert same(weights(task), spoiled)


@pytest.mark.slow
def test_each_process_keeps_a_bad_batch_of_its_own(tmp_path: Path) -> None:
    """Two that write one file at a time would leave neither's."""
    words = (tmp_path, 2, 1, 0, -1, 1, 2)
    command = [sys.executable, "-m", "tests.training.toy_task", *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode != 0
    assert "not finite at step 2" in done.stderr
    for index in (4, 5):
        assert torch.equal(torch.load(tmp_path / f"bad_batch_{index}.pt"), Numbers()[index])


def test_bf16_forwards_use_the_weights_of_the_step(tmp_path: Path) -> None:
    """Autocast's cache, held over all steps, once kept the first step's cast weights for ever."""

    def check(step: int) -> None:
        layer = task.parts["body"][0]
        assert isinstance(layer, nn.Linear)
        x = torch.ones(1, 8)
        fresh = F.linear(x.bfloat16(), layer.weight.detach().clone().bfloat16())
        assert torch.equal(F.linear(x, layer.weight), fresh)
        checked.append(step)

    checked: list[int] = []
    task = Toy(before=check)
    run(task, settings(precision="bf16"), tmp_path)
    assert checked == list(range(8))


def test_losses_and_the_speed_are_logged_and_progress_is_told(tmp_path: Path) -> None:
    """Of the first and the last step too, however few there are."""
    config, told = settings(steps=101), list[tuple[str, int, int]]()
    with pytest.raises(SystemExit):
        run(Toy(before=stop_at(70, SystemExit())), config, tmp_path / "toy")
    task = Toy()
    train(
        task,
        config,
        tmp_path / "toy",
        fabric=build_fabric(config.precision),
        on_progress=lambda *each: told.append(each),
    )
    entries = logged(tmp_path / "toy")
    assert [entry["step"] for entry in entries] == [1, 50, 100, 101]
    every = {"main", "small", "gradient", "learning_rate", "step_ms"}
    assert all(every <= entry.keys() for entry in entries)
    # After a resume a mean is over the steps that this run has made.
    assert entries[2]["main"] == pytest.approx(sum(task.seen[:30]) / 30, abs=1e-5)
    assert entries[3]["main"] == pytest.approx(task.seen[30], abs=1e-5)
    assert [(done, total) for _, done, total in told] == [(done, 101) for done in range(70, 102)]
    assert told[0][0] == "toy"
    assert told[-1][0].startswith("toy: main ")


class Reads(TorchDispatchMode):
    """Counts the numbers that are read of tensors one by one."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def test_no_batch_of_a_step_waits_for_the_device(tmp_path: Path) -> None:
    """A number that is read of a tensor on a GPU empties its queue: once a step is enough."""
    counts = {}
    for accumulate in (1, 4):
        with Reads() as reads:
            folder = tmp_path / str(accumulate)
            task = Toy()
            run(task, settings(steps=2), folder, accumulate=accumulate)
        counts[accumulate] = reads.count - len(task.seen)  # the toy reads one a batch itself
    assert counts[4] == counts[1]
