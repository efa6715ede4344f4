"""The checks that every session makes: of its artifact, of what it is fed and what it returns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.bundle.graph_spec import TensorSpec
from samclip_sdk.errors import BundleError, one_line
from samclip_sdk.runtimes.session import Arrays

HALF = {"float16": "float32"}
"""A tensor in less than the contract's precision, which sessions cast."""


@dataclass(frozen=True)
class FileTensor:
    """An input or output as an artifact declares it.

    Attributes:
        name: bound by it.
        dtype: numpy's name of it, or the runtime's own where numpy has none.
        axes: lengths; a name or None for one that any length fits.
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
    """Holds the inputs or the outputs of an artifact to the contract.

    Args:
        found: all of them, in any order.
        specs: the contract's.
        where: what holds them, for messages.
        stands_for: dtype of the artifact -> that of the contract, in whose place it may be.
        open_axes: whether an axis may be open that the contract fixes, as an input's: a text
            encoder that takes texts shorter than its context has a fraction of the work.

    Returns:
        The tensors in the contract's order, with a name for each axis that the artifact alone
        leaves open.

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


def _own_shape(
    spec: TensorSpec, *, axes: Sequence[int | str | None], open_axes: bool
) -> tuple[int | str, ...] | None:
    """The shape that a tensor has in its artifact; None if it is not the contract's."""
    if len(axes) != len(spec.shape):
        return None
    shape = list(spec.shape)
    for place, (axis, length) in enumerate(zip(spec.shape, axes, strict=True)):
        is_open = not isinstance(length, int)
        if is_open and isinstance(axis, int) and open_axes:
            shape[place] = f"{spec.name}[{place}]"
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
    """Casts what a runtime returned to the contract's dtypes and checks its shapes.

    Args:
        outputs: by name.
        specs: what they must be.
        axes: the length of each symbolic axis, from the feed.

    Raises:
        BundleError: an output has another shape: the artifact is not what the manifest says.
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
    """What is wrong with an array, or nothing; learns the symbolic axes met first."""
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
