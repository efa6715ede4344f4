"""The training loop of all stages. It knows a task and its settings, and nothing else."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from torch import nn

from samclip_sdk.system.progress import OnProgress, no_progress
from training.batches import batches
from training.loop.averaging import average_of, averaged
from training.loop.cpu_convolution import speed_up_convolutions
from training.loop.log import Log, Walked, over_processes
from training.loop.optimizer import build_optimizer, choose_trained, set_learning_rate
from training.loop.run_state import KEPT_NAME, LAST_NAME, WholeFiles, load_state, save_state
from training.loop.validation import check_validation, has_result, stays_below, validate
from training.loop_config import Optimisation, Precision
from training.tasks.tasks import Task


def build_fabric(
    precision: Precision,
    *,
    devices: int = 1,
    nodes: int = 1,
    accelerator: str = "auto",
) -> Fabric:
    """Builds the processes of a stage: `devices` processes on each of `nodes` machines.

    A CPU without bf16 computes in fp32, for any `precision`.
    """
    device = _device_type(accelerator)
    # A loss reaches only some of the parts.
    strategy = "auto" if devices * nodes == 1 else "ddp_find_unused_parameters_true"
    autocasts = precision == "bf16" and computes_in_bf16(device)
    return Fabric(
        accelerator=accelerator,
        devices=devices,
        num_nodes=nodes,
        strategy=strategy,
        plugins=[WholeFiles(), *([Autocast(device)] if autocasts else [])],
    )


def computes_in_bf16(device: str) -> bool:
    """Returns whether a type of device has bf16. A CPU without it multiplies 80 times slower."""
    return device != "cpu" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _device_type(accelerator: str) -> str:
    if accelerator not in ("auto", "gpu"):
        return accelerator
    found = torch.accelerator.current_accelerator(check_available=True)
    return "cpu" if found is None else found.type


def leave_processes() -> None:
    """Leaves the group of processes. A process that exits without may be aborted by gloo."""
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


class Autocast(MixedPrecision):
    """Autocast to bf16, without a cast of weights or batches: coordinates in bf16 have 4-px steps.

    On a CPU, some convolutions are computed in a faster way.
    """

    def __init__(self, device: str) -> None:
        super().__init__(precision="bf16-mixed", device=device)

    def convert_module(self, module: nn.Module) -> nn.Module:
        """Returns the module with its weights unchanged."""
        if self.device == "cpu" and torch.ops.mkldnn._is_mkldnn_bf16_supported():
            speed_up_convolutions(module)
        return module

    def convert_input(self, data: Any) -> Any:
        """Returns the batch unchanged."""
        return data


def train(
    task: Task,
    settings: Optimisation,
    run: Path,
    *,
    fabric: Fabric,
    accumulate: int = 1,
    on_progress: OnProgress = no_progress,
) -> None:
    """Trains `task` to the end, from wherever `run` stopped.

    A step takes `accumulate` batches in each of W processes, in the order of their indices. All
    random numbers of a batch depend on its index alone. So W processes make the same steps as one
    process that accumulates W times as many batches. The exception is BatchNorm in training, as in
    the small CLIP teacher: in each process it sees the batches of this process only.

    Args:
        task: model, data and losses.
        settings: how to step.
        run: the folder of the run. It gets `last.pt` (parts, optimizer and step: every few minutes,
            at the end and when stopped), `kept.pt` (parts, if training may stop early) and what
            `Log` writes.
        fabric: the launched processes.
        accumulate: number of batches that each process takes in one step.
        on_progress: is told in the first process what was logged last, and the number of steps.

    Raises:
        FloatingPointError: a loss is not finite. Its batch is in `run`/bad_batch_N.pt.
        SystemExit: SIGTERM or SIGINT came. The current step was finished and saved.
        TrainingError: `last.pt` cannot be used, or no validation reached the limit of `early_stop`.
    """
    state = begin(task, settings, fabric)
    module = state["task"]
    run.mkdir(parents=True, exist_ok=True)
    if (run / LAST_NAME).exists():
        load_state(fabric, run / LAST_NAME, state)
    # Before the signals are held: a worker that inherited that could not be terminated.
    source = indexed_batches(task, settings, fabric, accumulate, start=state["step"])
    log = Log(run, fabric)
    tell = on_progress if fabric.is_global_zero else no_progress
    saved = time.monotonic()
    with _held_signals() as signals:
        try:
            while state["step"] < settings.steps and not stays_below(state["scores"], settings):
                tell(log.message, state["step"], settings.steps)
                rate = set_learning_rate(state["optimizer"], settings, step=state["step"])
                walked = walk_backward(fabric, state, source, settings, accumulate)
                due = time.monotonic() - saved > 60 * settings.checkpoint_minutes
                # All processes agree on these, or one would wait for another for ever.
                flags = [max(signals, default=0), walked.bad is not None, due]
                stop, failed, save = map(int, over_processes(fabric, flags, "max"))
                if failed or not math.isfinite(walked.values["gradient"]):
                    if (index := walked.bad) is not None:  # no other process has this one
                        torch.save(task.dataset[index], run / f"bad_batch_{index}.pt")
                    raise FloatingPointError(f"not finite at step {state['step']}: {walked.values}")
                update(state, settings)
                log.add(walked, rate=rate, step=state["step"])
                with averaged(task, state.get("average")):
                    if validate(task, settings, fabric, log, state):
                        save_state(fabric, run / KEPT_NAME, {"task": module})
                if stop:
                    log.flush(state["step"])
                    raise SystemExit(128 + stop)
                if save:
                    save_state(fabric, run / LAST_NAME, state)
                    saved = time.monotonic()
            log.flush(state["step"])
            tell(log.message, state["step"], settings.steps)
        except (FloatingPointError, SystemExit):
            save_state(fabric, run / LAST_NAME, state)
            raise
        finally:
            log.close()
    _end(task, settings, run, fabric, state)


def begin(task: Task, settings: Optimisation, fabric: Fabric) -> dict[str, Any]:
    """Returns the state of a new run: task and optimizer on the process's device, and step 0."""
    check_validation(task, settings)
    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    parts = dict(task.parts.items())
    choose_trained(parts, settings)  # before DDP looks at what is trained; the optimizer, after
    module = fabric.setup_module(task)
    optimizer = fabric.setup_optimizers(build_optimizer(parts, settings))
    state: dict[str, Any] = {"task": module, "optimizer": optimizer, "step": 0, "scores": []}
    if (average := average_of(task, settings)) is not None:
        state["average"] = average
    return state


def _end(
    task: Task, settings: Optimisation, run: Path, fabric: Fabric, state: dict[str, Any]
) -> None:
    """Writes the last state into `run`, and loads the kept weights, if any, into the task."""
    save_state(fabric, run / LAST_NAME, state)
    if (average := state.get("average")) is not None:
        task.parts.load_state_dict(average.module.state_dict())
    if has_result(state["scores"], settings):
        load_state(fabric, run / KEPT_NAME, {"task": state["task"]})


def indexed_batches(
    task: Task, settings: Optimisation, fabric: Fabric, accumulate: int, *, start: int
) -> Iterator[tuple[int, Any]]:
    """Yields this process's batches from step `start` on, each with its index."""
    a_step = accumulate * fabric.world_size
    indices = range(start * a_step + fabric.global_rank, settings.steps * a_step, fabric.world_size)
    pinned = fabric.device.type == "cuda"
    source = batches(task.dataset, indices, workers=settings.workers, pinned=pinned)
    return zip(indices, source, strict=True)


def walk_backward(
    fabric: Fabric,
    state: dict[str, Any],
    source: Iterator[tuple[int, Any]],
    settings: Optimisation,
    accumulate: int,
) -> Walked:
    """Walks all losses of a step's batches backward; the last one exchanges the gradients."""
    module, step = state["task"], state["step"]
    indices, losses, images, broken = [], [], 0, 0
    for part in range(accumulate):
        index, batch = next(source)
        images += module.count_images(batch)
        broken += module.count_broken(batch)
        batch = fabric.to_device(batch)
        torch.manual_seed(settings.seed * 1_000_003 + index)
        for name in module.losses:
            last = part == accumulate - 1 and name == module.losses[-1]
            with fabric.no_backward_sync(module, enabled=not last):
                loss = module(batch, loss=name, step=step) / accumulate
                fabric.backward(loss)
            indices.append(index)
            losses.append(loss.detach().float())
    norms = {
        f"gradient/{name}": nn.utils.get_total_norm(gradients)
        for name, part in module.parts.items()
        if (gradients := [p.grad for p in part.parameters() if p.grad is not None])
    }
    # Read all at once: after each read the device has no work until more is queued.
    numbers = torch.stack([*losses, *norms.values()]).tolist()
    values: dict[str, float] = dict.fromkeys(module.losses, 0.0)
    for name, number in zip(accumulate * module.losses, numbers, strict=False):
        values[name] += number
    values |= dict(zip(norms, numbers[len(losses) :], strict=True)) | module.details()
    values["gradient"] = math.hypot(*numbers[len(losses) :])
    bad = (i for i, number in zip(indices, numbers, strict=False) if not math.isfinite(number))
    return Walked(values, next(bad, None), images, broken)


def update(state: dict[str, Any], settings: Optimisation) -> None:
    """Makes the optimizer's step. The gradient must be finite.

    Each part's gradient is clipped by its own norm: a part with a large one, as a backbone is,
    would slow all others down.
    """
    module, optimizer = state["task"], state["optimizer"]
    for part in module.parts.values():
        nn.utils.clip_grad_norm_(part.parameters(), settings.clip_norm)
    optimizer.step()
    optimizer.zero_grad()
    if (average := state.get("average")) is not None:
        average.update_parameters(module.parts)
    state["step"] += 1


@contextmanager
def _held_signals() -> Iterator[list[int]]:
    """Yields a list of the SIGTERM and SIGINT that came, so that the current step can end.

    An ignored SIGINT, as in a shell's background jobs, stays ignored.
    """
    received: list[int] = []
    held = [signal.SIGTERM]
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        held.append(signal.SIGINT)
    before = {each: signal.signal(each, lambda number, _: received.append(number)) for each in held}
    try:
        yield received
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
