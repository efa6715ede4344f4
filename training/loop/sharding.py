"""Sharded training: each process keeps a share of every weight, its gradient and its moments.

It is torch's `fully_shard` (FSDP2) under Fabric's strategy for it. Each unit of a task is gathered
when it is called, and given back; what is in no unit, while the task computes a loss. What is
written is whole, as of any other run, so that a run may go on with shares or without.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.strategies.model_parallel import ModelParallelStrategy
from lightning_fabric.strategies.parallel import ParallelStrategy
from lightning_fabric.strategies.strategy import _BackwardSyncControl
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from training.tasks.tasks import Task

_CALLED = ("measure", "draw")  # of a task, beside its forward


class ShardedStrategy(ModelParallelStrategy):
    """Shares a task out among all processes, and keeps whole checkpoints, as other runs do.

    Args:
        processes: how many there are, on all machines.
    """

    # As of other strategies; its parent writes a file by each process, and takes none.
    checkpoint_io = ParallelStrategy.checkpoint_io

    def __init__(self, processes: int) -> None:
        super().__init__(share_out, data_parallel_size=processes, tensor_parallel_size=1)
        self._backward_sync_control = _ReducedEachTime()

    def save_checkpoint(
        self,
        path: str | Path,
        state: dict[str, Any],
        storage_options: Any = None,
        filter: dict[str, Callable[[str, Any], bool]] | None = None,
    ) -> None:
        """Gathers what `filter` lets through, tensor by tensor; the first process writes it."""
        kept = self._convert_stateful_objects_in_state(state, filter=filter or {})
        gathered = _gather(kept, keep=self.is_global_zero)
        if self.is_global_zero:
            self.checkpoint_io.save_checkpoint(gathered, path)

    def load_checkpoint(
        self,
        path: str | Path,
        state: Any = None,
        strict: bool = True,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Each process reads the file, its tensors alone, and takes its share of every one.

        Returns:
            What no object in `state` stands for.
        """
        content = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
        for name, each in state.items():
            found = content.pop(name)
            if isinstance(each, nn.Module):
                each.load_state_dict(_shares(found, each.state_dict()), strict=strict)
            elif isinstance(each, Optimizer):
                _load_optimizer(each, found)
            else:
                state[name] = found
        rest: dict[str, Any] = content
        return rest


class _ReducedEachTime(_BackwardSyncControl):
    """Exchanges the gradients of each loss: those that wait would be whole in every process."""

    def no_backward_sync(self, module: nn.Module, enabled: bool) -> AbstractContextManager[None]:
        return nullcontext()


def share_out(task: Task, mesh: DeviceMesh) -> Task:
    """Replaces a task's weights by this process's shares of them, on its device."""
    # FSDP2 cuts no scalar and no weight in channels_last: those of frozen teachers stay whole.
    uncut = {
        each
        for each in task.parameters()
        if not each.requires_grad and not (each.ndim and each.is_contiguous())
    }
    for each in uncut:
        each.data = each.data.to(mesh.device_type)
    over = mesh["data_parallel"]
    for unit in task.units():
        fully_shard(unit, mesh=over, ignored_params=uncut)
    fully_shard(task, mesh=over, ignored_params=uncut)
    for name in _CALLED:
        register_fsdp_forward_method(task, name)
    return task


def whole(value: Tensor) -> Tensor:
    """A tensor as it is, or gathered of its shares, in which all processes take part."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def give_back(task: Task) -> None:
    """Lets go of what a call outside training has gathered."""
    if isinstance(task, FSDPModule):
        task.reshard()


def make_whole(task: Task, *, keep: bool) -> None:
    """Gives a trained task its whole weights back, on the CPU of the processes that `keep` them.

    All processes take part. The task can be read then, and written, but not be called.
    """
    for module in task.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if isinstance(parameter, DTensor):
                gathered = _gather({name: parameter.detach()}, keep=keep)
                if keep:
                    learned = parameter.requires_grad
                    module.register_parameter(name, nn.Parameter(gathered[name], learned))


def _gather(state: Mapping[Any, Any], *, keep: bool) -> dict[Any, Any]:
    """A state with whole tensors on the CPU; in processes that do not `keep` it, none of them."""
    gathered: dict[Any, Any] = {}
    for name, value in state.items():
        if isinstance(value, dict):
            gathered[name] = _gather(value, keep=keep)
        elif isinstance(value, Tensor):
            tensor = whole(value)
            gathered[name] = tensor.cpu() if keep else None
        else:
            gathered[name] = value
    return gathered


def _share(value: Any, like: Tensor | None) -> Any:
    """This process's share of a whole tensor, if it belongs to one that is shared out."""
    if not (isinstance(like, DTensor) and isinstance(value, Tensor) and value.shape == like.shape):
        return value
    mesh = like.device_mesh
    # Each process has the whole one: nothing need be sent.
    return distribute_tensor(value.to(mesh.device_type), mesh, like.placements, src_data_rank=None)


def _shares(state: Mapping[str, Any], like: Mapping[str, Tensor]) -> dict[str, Any]:
    return {name: _share(value, like.get(name)) for name, value in state.items()}


def _load_optimizer(optimizer: Optimizer, saved: Mapping[str, Any]) -> None:
    """Restores moments that were written whole; they go by the place of their parameter."""
    parameters = dict(
        enumerate(each for group in optimizer.param_groups for each in group["params"])
    )
    state = {
        place: {name: _share(value, parameters.get(place)) for name, value in moments.items()}
        for place, moments in saved["state"].items()
    }
    optimizer.load_state_dict({**saved, "state": state})
