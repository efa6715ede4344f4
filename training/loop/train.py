"""The loop: every stage's, and the teachers'. It knows a task and its settings, nothing else."""

from __future__ import annotations

import math
import signal
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn

from training.batches import batches
from training.config import Optimisation, Precision
from training.loop.log import Log, over_processes
from training.loop.optimizer import build_optimizer, set_learning_rate
from training.loop.validation import check_validation, has_fallen, validate
from training.tasks.tasks import Task

_LOG_EVERY = 50


def build_fabric(
    precision: Precision, *, devices: int = 1, nodes: int = 1, accelerator: str = "auto"
) -> Fabric:
    """Builds what runs a stage: `devices` processes on each of `nodes` machines."""
    return Fabric(
        accelerator=accelerator,
        devices=devices,
        num_nodes=nodes,
        # A loss reaches some of the parts only.
        strategy="auto" if devices * nodes == 1 else "ddp_find_unused_parameters_true",
        plugins=Autocast(accelerator) if precision == "bf16" else None,
    )


def leave_processes() -> None:
    """Parts from the other processes; one that exits without may be aborted by gloo's threads."""
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


class Autocast(MixedPrecision):
    """Autocast to bf16, and nothing else: as bf16, a prompt's coordinates had steps of 4 px."""

    def __init__(self, accelerator: str) -> None:
        found = torch.accelerator.current_accelerator(check_available=True)
        auto = "cpu" if found is None else found.type
        device = {"auto": auto, "gpu": auto}.get(accelerator, accelerator)
        super().__init__(precision="bf16-mixed", device=device)

    def convert_input(self, data: Any) -> Any:
        """Leaves a batch as it is."""
        return data


def train(task: Task, settings: Optimisation, run: Path, *, fabric: Fabric) -> None:
    """Trains `task` to the end, from wherever `run` stopped.

    A step takes `accumulate` batches in each of W processes, in the order of their indices, and
    what is random in a batch depends on its index alone. So W processes, and one that accumulates
    W times as many, make the same step; but for batch norms in training, such as the small CLIP
    teacher's, which in each process see that process's batches alone.

    Args:
        task: model, data and losses.
        settings: how to step.
        run: folder of the run: `last.pt` (parts, optimizer, step; every few minutes, at the end
            and when stopped), `best.pt` (parts, where training may stop early) and what `Log`
            writes.
        fabric: launched; it decides on devices, processes and precision.

    Raises:
        FloatingPointError: a loss is not finite; its batch is in `run`/bad_batch.pt.
        SystemExit: SIGTERM or SIGINT came; the step in hand was finished, and saved.
    """
    check_validation(task, settings)
    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    module, optimizer = fabric.setup(task, build_optimizer(dict(task.parts.items()), settings))
    state: dict[str, Any] = {"task": module, "optimizer": optimizer, "step": 0, "scores": []}
    run.mkdir(parents=True, exist_ok=True)
    if (run / "last.pt").exists():
        fabric.load(run / "last.pt", state, strict=False)  # teachers are not in it
    # Before the signals are held: a worker that inherited that could not be terminated.
    source = _indexed_batches(task, settings, fabric, start=state["step"])
    log = Log(run, fabric)
    saved = time.monotonic()
    with _held_signals() as signals, _progress(shown=fabric.is_global_zero) as progress:
        bar = progress.add_task(run.name, total=settings.steps, completed=state["step"], note="")
        try:
            while state["step"] < settings.steps and not has_fallen(state["scores"], settings):
                rate = set_learning_rate(optimizer, settings, step=state["step"])
                values, bad = _backward(fabric, module, source, settings, log, step=state["step"])
                due = time.monotonic() - saved > 60 * settings.checkpoint_minutes
                # All processes agree on these, or one would wait for another for ever.
                flags = [max(signals, default=0), bad is not None, due]
                stop, failed, save = map(int, over_processes(fabric, flags, "max"))
                if failed:
                    if bad is not None:
                        torch.save(bad, run / "bad_batch.pt")
                    raise FloatingPointError(f"not finite at step {state['step']}: {values}")
                log.add(values | _update(fabric, module, optimizer, settings), rate=rate)
                state["step"] += 1
                if state["step"] % _LOG_EVERY == 0:
                    progress.update(bar, note=log.write(state["step"]))
                progress.update(bar, completed=state["step"])
                if validate(task, settings, fabric, log, state):
                    _save(fabric, run / "best.pt", {"task": module})
                if stop:
                    raise SystemExit(128 + stop)
                if save:
                    _save(fabric, run / "last.pt", state)
                    saved = time.monotonic()
        except (FloatingPointError, SystemExit):
            _save(fabric, run / "last.pt", state)
            raise
        finally:
            log.close()
    _save(fabric, run / "last.pt", state)
    if state["scores"]:
        fabric.load(run / "best.pt", {"task": module}, strict=False)


def _indexed_batches(
    task: Task, settings: Optimisation, fabric: Fabric, *, start: int
) -> Iterator[tuple[int, Any]]:
    """This process's batches from step `start` on, each with its index."""
    a_step = settings.accumulate * fabric.world_size
    indices = range(start * a_step + fabric.global_rank, settings.steps * a_step, fabric.world_size)
    return zip(indices, batches(task.dataset, indices, workers=settings.workers), strict=True)


def _backward(
    fabric: Fabric,
    module: Any,
    source: Iterator[tuple[int, Any]],
    settings: Optimisation,
    log: Log,
    *,
    step: int,
) -> tuple[dict[str, float], Any]:
    """Walks every loss of a step's batches backward; the last walk exchanges the gradients.

    Returns:
        The losses, and a batch that made one not finite, or None.
    """
    values: dict[str, float] = defaultdict(float)
    bad = None
    for part in range(settings.accumulate):
        index, batch = next(source)
        batch = fabric.to_device(batch)
        log.count(images=module.count_images(batch), broken=module.count_broken(batch))
        torch.manual_seed(settings.seed * 1_000_003 + index)
        for name in module.losses:
            last = part == settings.accumulate - 1 and name == module.losses[-1]
            with fabric.no_backward_sync(module, enabled=not last):
                loss = module(batch, loss=name, step=step) / settings.accumulate
                fabric.backward(loss)
            values[name] += loss.item()
            if not math.isfinite(loss.item()):
                bad = batch
    return values, bad


def _update(
    fabric: Fabric, module: Any, optimizer: Any, settings: Optimisation
) -> dict[str, float]:
    """Makes the optimizer's step; returns the gradient's norm, whole and of each part."""
    norms = {}
    for name, part in module.parts.items():
        gradients = [p.grad for p in part.parameters() if p.grad is not None]
        if gradients:
            norms[f"gradient/{name}"] = nn.utils.get_total_norm(gradients).item()
    norms["gradient"] = math.hypot(*norms.values())
    if not math.isfinite(norms["gradient"]):
        raise FloatingPointError(f"the gradient is not finite: {norms}")
    fabric.clip_gradients(module, optimizer, max_norm=settings.clip_norm)
    optimizer.step()
    optimizer.zero_grad()
    return norms


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


def _save(fabric: Fabric, path: Path, state: dict[str, Any]) -> None:
    """Replaces a checkpoint at once; losses' and teachers' weights are not in it.

    Raises:
        OSError: it cannot be written, for the disk is full say; the one before is still there.
    """
    temporary = path.with_suffix(".tmp")
    try:
        fabric.save(temporary, state, filter={"task": lambda name, _: name.startswith("parts.")})
    except (OSError, RuntimeError) as error:  # torch's writer has its own words for a full disk
        temporary.unlink(missing_ok=True)
        raise OSError(f"cannot write {path}, the one before is kept: {error}") from error
    if fabric.is_global_zero:
        temporary.replace(path)
    fabric.barrier()


def _progress(*, shown: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        disable=not shown,
    )
