"""The checks that every session makes of what it is fed and of what it returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.bundle.graph_spec import TensorSpec
from samclip_sdk.errors import BundleError
from samclip_sdk.runtimes.session import Arrays


def file_tensor(
    spec: TensorSpec, *, axes: Sequence[int | None], is_input: bool
) -> TensorSpec | None:
    """A tensor as a file has it.

    A file may leave an axis of an input open that the contract fixes: a text encoder that takes
    texts shorter than its context has a fraction of the work.

    Args:
        spec: the contract's.
        axes: the file's; None for one that any length fits.
        is_input: or an output, all of whose axes must be the contract's.

    Returns:
        The tensor with a name for each axis that the file leaves open; None if the file does not
        keep the contract.
    """
    if len(axes) != len(spec.shape):
        return None
    shape = list(spec.shape)
    for place, (axis, found) in enumerate(zip(spec.shape, axes, strict=True)):
        if found is None and isinstance(axis, int) and is_input:
            shape[place] = f"{spec.name}[{place}]"
        elif found != (axis if isinstance(axis, int) else None):
            return None
    return spec.model_copy(update={"shape": tuple(shape)})


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
