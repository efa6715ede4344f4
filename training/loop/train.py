"""The loop: every stage's, and the teachers'. It knows a task and its settings, nothing else."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from torch import Tensor, nn

from samclip_sdk.system.progress import OnProgress, no_progress
from training.batches import batches
from training.loop.averaging import average_of, averaged
from training.loop.log import Log, over_processes
from training.loop.optimizer import build_optimizer, choose_trained, set_learning_rate
from training.loop.run_state import KEPT_NAME, LAST_NAME, WholeFiles, load_state, save_state
from training.loop.sharding import ShardedStrategy, make_whole, whole
from training.loop.validation import check_validation, has_result, stays_below, validate
from training.loop_config import Optimisation, Precision, Sharding
from training.tasks.tasks import Task


def build_fabric(
    precision: Precision,
    *,
    devices: int = 1,
    nodes: int = 1,
    accelerator: str = "auto",
    sharding: Sharding = "none",
) -> Fabric:
    """Builds what runs a stage: `devices` processes on each of `nodes` machines.

    It computes in fp32 on a CPU that has no bf16, whatever `precision` says. With `sharding`, each
    process keeps a share of the weights; without it, all of them.
    """
    device = _device_type(accelerator)
    processes = devices * nodes
    # A loss reaches some of the parts only.
    strategy = "auto" if processes == 1 else "ddp_find_unused_parameters_true"
    autocasts = precision == "bf16" and computes_in_bf16(device)
    return Fabric(
        accelerator=accelerator,
        devices=devices,
        num_nodes=nodes,
        strategy=strategy if sharding == "none" else ShardedStrategy(processes),
        plugins=[WholeFiles(), *([Autocast(device)] if autocasts else [])],
    )


def computes_in_bf16(device: str) -> bool:
    """Whether bf16 is of use on a type of device: without it a CPU multiplies 80 times slower."""
    return device != "cpu" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _device_type(accelerator: str) -> str:
    if accelerator not in ("auto", "gpu"):
        return accelerator
    found = torch.accelerator.current_accelerator(check_available=True)
    return "cpu" if found is None else found.type


def leave_processes() -> None:
    """Parts from the other processes; one that exits without may be aborted by gloo's threads."""
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


class Autocast(MixedPrecision):
    """Autocast to bf16, and nothing else: as bf16, a prompt's coordinates had steps of 4 px.

    On a CPU, depthwise convolutions that learn stay fp32: torch's backward of them in bf16 takes
    five times as long.
    """

    def __init__(self, device: str) -> None:
        super().__init__(precision="bf16-mixed", device=device)

    def convert_module(self, module: nn.Module) -> nn.Module:
        """Leaves the weights as they are."""
        if self.device == "cpu":
            for each in module.modules():
                # No hook can leave autocast around a forward.
                if isinstance(each, nn.Conv2d) and each.groups == each.in_channels > 1:
                    each.forward = _fp32_where_it_learns(each.forward)  # type: ignore[method-assign, assignment]
        return module

    def convert_input(self, data: Any) -> Any:
        """Leaves a batch as it is."""
        return data


def _fp32_where_it_learns(forward: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Leaves autocast for a module that is on the gradients' way."""

    @wraps(forward)
    def forward_in_fp32(x: Tensor) -> Tensor:
        if not x.requires_grad:
            return forward(x)
        with torch.autocast("cpu", enabled=False):
            return forward(x.float())

    return forward_in_fp32


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

    A step takes `accumulate` batches in each of W processes, in the order of their indices, and
    what is random in a batch depends on its index alone. So W processes, and one that accumulates
    W times as many, make the same step; but for batch norms in training, such as the small CLIP
    teacher's, which in each process see that process's batches alone.

    Args:
        task: model, data and losses.
        settings: how to step.
        run: folder of the run: `last.pt` (parts, optimizer, step; every few minutes, at the end
            and when stopped), `kept.pt` (parts, where training may stop early) and what `Log`
            writes.
        fabric: launched; it decides on devices, processes and precision.
        accumulate: batches of a step, in each process.
        on_progress: told in the first process what was logged last, and how many steps are done.

    Raises:
        FloatingPointError: a loss is not finite; its batch is in `run`/bad_batch_N.pt.
        SystemExit: SIGTERM or SIGINT came; the step in hand was finished, and saved.
        TrainingError: `last.pt` cannot be gone on from, or no validation reached the floor of
            `early_stop`.
    """
    state = _begin(task, settings, run, fabric)
    module = state["task"]
    # Before the signals are held: a worker that inherited that could not be terminated.
    source = _indexed_batches(task, settings, fabric, accumulate, start=state["step"])
    log = Log(run, fabric)
    tell = on_progress if fabric.is_global_zero else no_progress
    saved = time.monotonic()
    with _held_signals() as signals:
        try:
            while state["step"] < settings.steps and not stays_below(state["scores"], settings):
                tell(log.message, state["step"], settings.steps)
                rate = set_learning_rate(state["optimizer"], settings, step=state["step"])
                values, bad = _backward(fabric, state, source, settings, log, accumulate)
                due = time.monotonic() - saved > 60 * settings.checkpoint_minutes
                # All processes agree on these, or one would wait for another for ever.
                flags = [max(signals, default=0), bad is not None, due]
                stop, failed, save = map(int, over_processes(fabric, flags, "max"))
                if failed or not math.isfinite(values["gradient"]):
                    _keep_batch(task, bad, run)
                    raise FloatingPointError(f"not finite at step {state['step']}: {values}")
                _update(fabric, state, settings)
                log.add(values, rate=rate, step=state["step"])
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


def _begin(task: Task, settings: Optimisation, run: Path, fabric: Fabric) -> dict[str, Any]:
    """The state of a run: task and optimizer on the process's device, and how far they are."""
    check_validation(task, settings)
    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    parts = dict(task.parts.items())
    choose_trained(parts, settings)  # before a strategy looks at it; the optimizer, after
    module = fabric.setup_module(task)
    optimizer = fabric.setup_optimizers(build_optimizer(parts, settings))
    state: dict[str, Any] = {"task": module, "optimizer": optimizer, "step": 0, "scores": []}
    if (average := average_of(task, settings)) is not None:
        state["average"] = average
    run.mkdir(parents=True, exist_ok=True)
    if (run / LAST_NAME).exists():
        load_state(fabric, run / LAST_NAME, state)
    return state


def _end(
    task: Task, settings: Optimisation, run: Path, fabric: Fabric, state: dict[str, Any]
) -> None:
    """Leaves the last state in `run`, and the kept weights, or the last ones, in the task."""
    save_state(fabric, run / LAST_NAME, state)
    if (average := state.get("average")) is not None:
        task.parts.load_state_dict(average.module.state_dict())
    if has_result(state["scores"], settings):
        load_state(fabric, run / KEPT_NAME, {"task": state["task"]})
    make_whole(task, keep=fabric.is_global_zero)


def _indexed_batches(
    task: Task, settings: Optimisation, fabric: Fabric, accumulate: int, *, start: int
) -> Iterator[tuple[int, Any]]:
    """This process's batches from step `start` on, each with its index."""
    a_step = accumulate * fabric.world_size
    indices = range(start * a_step + fabric.global_rank, settings.steps * a_step, fabric.world_size)
    return zip(indices, batches(task.dataset, indices, workers=settings.workers), strict=True)


def _backward(
    fabric: Fabric,
    state: dict[str, Any],
    source: Iterator[tuple[int, Any]],
    settings: Optimisation,
    log: Log,
    accumulate: int,
) -> tuple[dict[str, float], int | None]:
    """Walks every loss of a step's batches backward; the last walk exchanges the gradients.

    Where weights are sharded, each walk does.

    Returns:
        The losses and the gradient's norm, whole and of each part; and the index of a batch that
        made a loss not finite, or None.
    """
    module, step = state["task"], state["step"]
    indices, losses = [], []
    for part in range(accumulate):
        index, batch = next(source)
        log.count(images=module.count_images(batch), broken=module.count_broken(batch))
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
        f"gradient/{name}": whole(nn.utils.get_total_norm(gradients))
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
    return values, next(bad, None)


def _keep_batch(task: Task, index: int | None, run: Path) -> None:
    """Keeps a bad batch, if this process had one; no other has one of that index."""
    if index is not None:
        torch.save(task.dataset[index], run / f"bad_batch_{index}.pt")


def _update(fabric: Fabric, state: dict[str, Any], settings: Optimisation) -> None:
    """Makes the optimizer's step with a gradient that is known to be finite."""
    module, optimizer = state["task"], state["optimizer"]
    fabric.clip_gradients(module, optimizer, max_norm=settings.clip_norm, error_if_nonfinite=False)
    optimizer.step()
    optimizer.zero_grad()
    if (average := state.get("average")) is not None:
        average.update_parameters(module.parts)
    state["step"] += 1


@contextmanager
def _held_signals() -> Iterator[list[int]]:
    """Notes SIGTERM and SIGINT in the list it yields, so that no step is cut in two.

    Where SIGINT is ignored, as by a shell's background jobs, it stays so.
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
