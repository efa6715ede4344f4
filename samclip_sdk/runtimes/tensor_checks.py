"""The checks that every session makes: of its artifact, its feed and its outputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.bundle.graph_spec import GraphSpec, TensorSpec
from samclip_sdk.errors import BundleError, one_line
from samclip_sdk.runtimes.session import Arrays

HALF = {"float16": "float32"}
"""Dtype of an artifact -> that of the contract: sessions cast tensors of lower precision."""


@dataclass(frozen=True)
class FileTensor:
    """An input or output as an artifact declares it.

    Attributes:
        name: the name by which it is bound.
        dtype: numpy's name of the dtype, or the runtime's name if numpy has none.
        axes: the lengths of the axes; a name or None for an axis of any length.
    """

    name: str
    dtype: str
    axes: tuple[int | str | None, ...]


def check_tensors(
    found: Iterable[FileTensor],
    *,
    specs: Sequence[TensorSpec],
    where: str,
    stands_for: Mapping[str, str] = HALF,
    open_axes: bool = False,
) -> tuple[TensorSpec, ...]:
    """Checks the inputs or the outputs of an artifact against the contract.

    Args:
        found: all inputs or all outputs, in any order.
        specs: the contract's tensors.
        where: the file or engine that has them, for messages.
        stands_for: dtype of the artifact -> the dtype of the contract that it may replace.
        open_axes: whether an axis with a fixed length in the contract may be open in the artifact.
            A text encoder that takes texts shorter than its context has a fraction of the work,
            and so have graphs that take images without the padding to a square.

    Returns:
        The tensors in the contract's order, with a name for each axis that is open in the artifact
        only.

    Raises:
        BundleError: a name, dtype or axis differs.
    """
    by_name = {tensor.name: tensor for tensor in found}
    if set(by_name) != {spec.name for spec in specs}:
        raise BundleError(
            f"{where} has the tensors {one_line(sorted(by_name))}, the manifest says "
            f"{sorted(spec.name for spec in specs)}"
        )
    own = []
    for spec in specs:
        tensor = by_name[spec.name]
        shape = _own_shape(spec, axes=tensor.axes, open_axes=open_axes)
        if stands_for.get(tensor.dtype, tensor.dtype) != spec.dtype or shape is None:
            raise BundleError(
                f"{where}: {spec.name} is {tensor.dtype}{one_line(list(tensor.axes))}, the "
                f"manifest says {spec.dtype}{list(spec.shape)}"
            )
        own.append(spec.model_copy(update={"shape": shape}))
    return tuple(own)


def check_bucket(
    inputs: Sequence[FileTensor], outputs: Sequence[FileTensor], *, spec: GraphSpec, where: str
) -> dict[str, int]:
    """Checks the inputs and the outputs of a bucket, all of whose axes are fixed.

    Returns:
        The bucket's length of each symbolic axis of the contract.

    Raises:
        BundleError: a name, dtype or axis differs.
    """
    own = {tensor.name: tensor.axes for tensor in inputs}
    lengths = {
        axis: length
        for tensor in spec.inputs
        for axis, length in zip(tensor.shape, own.get(tensor.name, ()), strict=False)
        if isinstance(axis, str) and isinstance(length, int)
    }
    for found, specs in ((inputs, spec.inputs), (outputs, spec.outputs)):
        fixed = [_with_lengths(tensor, lengths) for tensor in specs]
        check_tensors(found, specs=fixed, where=where, stands_for={})
    return lengths


def _with_lengths(tensor: TensorSpec, lengths: Mapping[str, int]) -> TensorSpec:
    """A tensor of the contract with the lengths of a bucket."""
    shape = [lengths.get(axis, axis) if isinstance(axis, str) else axis for axis in tensor.shape]
    return tensor.model_copy(update={"shape": tuple(shape)})


def _own_shape(
    spec: TensorSpec, *, axes: Sequence[int | str | None], open_axes: bool
) -> tuple[int | str, ...] | None:
    """The shape of a tensor in its artifact; None if it breaks the contract."""
    if len(axes) != len(spec.shape):
        return None
    shape = list(spec.shape)
    for index, (axis, length) in enumerate(zip(spec.shape, axes, strict=True)):
        is_open = not isinstance(length, int)
        if is_open and isinstance(axis, int) and open_axes:
            shape[index] = f"{spec.name}[{index}]"
        elif is_open != isinstance(axis, str) or (not is_open and length != axis):
            return None
    return tuple(shape)


def check_feed(feed: Arrays, *, inputs: Sequence[TensorSpec]) -> dict[str, int]:
    """Checks a feed against a graph's inputs.

    Returns:
        The length of each symbolic axis.

    Raises:
        ValueError: a name, dtype or shape differs.
    """
    names = [spec.name for spec in inputs]
    if set(feed) != set(names):
        raise ValueError(f"the feed has {sorted(feed)}, the graph takes {sorted(names)}")
    axes: dict[str, int] = {}
    for spec in inputs:
        problem = _mismatch(feed[spec.name], spec, axes=axes)
        if problem:
            raise ValueError(problem)
    return axes


def check_outputs(
    outputs: Arrays, *, specs: Sequence[TensorSpec], axes: Mapping[str, int]
) -> dict[str, NDArray[np.generic]]:
    """Casts a runtime's outputs to the contract's dtypes and checks their shapes.

    Args:
        outputs: the outputs by name.
        specs: the contract's outputs.
        axes: the length of each symbolic axis, from the feed.

    Raises:
        BundleError: an output has another shape, so the artifact differs from the manifest.
    """
    known = dict(axes)
    checked: dict[str, NDArray[np.generic]] = {}
    for spec in specs:
        array = np.ascontiguousarray(outputs[spec.name], dtype=np.dtype(spec.dtype))
        problem = _mismatch(array, spec, axes=known)
        if problem:
            raise BundleError(f"the artifact broke its contract: {problem}")
        checked[spec.name] = array
    return checked


def _mismatch(array: NDArray[np.generic], spec: TensorSpec, *, axes: dict[str, int]) -> str:
    """The error of an array, or an empty string; adds new symbolic axes to `axes`."""
    shape = array.shape
    expected = [
        axes.setdefault(axis, length) if isinstance(axis, str) else axis
        for axis, length in zip(spec.shape, shape, strict=False)
    ]
    if array.dtype != np.dtype(spec.dtype):
        return f"{spec.name} has dtype {array.dtype}, expected {spec.dtype}"
    if len(shape) != len(spec.shape) or list(shape) != expected:
        wanted = [axes.get(axis, axis) if isinstance(axis, str) else axis for axis in spec.shape]
        return f"{spec.name} has shape {list(shape)}, expected {wanted}"
    return ""
