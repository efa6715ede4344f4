"""Frozen dataclasses with read-only arrays, which stay read-only in every copy."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import fields, replace
from typing import Any, TypeVar

import numpy as np

from samclip_sdk.image.packed_masks import PackedMasks

Self = TypeVar("Self", bound="Frozen")


class Frozen:
    """Base of frozen dataclasses that check and freeze their arrays in `__post_init__`.

    Copies and unpickled objects do the same. A pickle holds the field `origin`, the source of the
    image, only if it is a path: pixels would be larger than the result.
    """

    def __post_init__(self) -> None:
        """Checks the fields, and makes arrays read-only."""

    def __getstate__(self) -> dict[str, Any]:
        own = _fields(self)
        if "origin" in own and not isinstance(own["origin"], str):
            own["origin"] = None
        return own

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.__post_init__()

    def __copy__(self: Self) -> Self:
        return replace(self)  # type: ignore[type-var]  # subclasses are dataclasses

    def __deepcopy__(self: Self, memo: dict[int, Any]) -> Self:
        own = _fields(self)
        kept = {"origin": own.pop("origin")} if "origin" in own else {}
        return replace(self, **deepcopy(own, memo), **kept)  # type: ignore[type-var]  # the same


def freeze_array(
    owner: object, name: str, *, dtype: str, shape: tuple[int | None, ...]
) -> tuple[int, ...]:
    """Checks the dtype and shape of a frozen dataclass's field, and makes it a read-only array.

    Args:
        owner: the dataclass, in its `__post_init__`.
        name: the field's name.
        dtype: the array's dtype; another width of the same kind is converted.
        shape: the array's shape, with None for any size.

    Returns:
        The array's shape.

    Raises:
        ValueError: the field has another kind of dtype or another shape.
    """
    value = np.asarray(getattr(owner, name))
    fits = len(value.shape) == len(shape) and all(
        want in (None, have) for want, have in zip(shape, value.shape, strict=True)
    )
    if not fits or not np.can_cast(value.dtype, dtype, casting="same_kind"):
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise ValueError(
            f"{type(owner).__name__}.{name} must be {dtype} [{wanted}], "
            f"not {value.dtype} {list(value.shape)}"
        )
    frozen = value.astype(dtype, copy=False).view()
    frozen.flags.writeable = False
    object.__setattr__(owner, name, frozen)
    return value.shape


def freeze_masks(
    owner: object, name: str, *, shape: tuple[int | None, int | None, int | None]
) -> None:
    """Checks the number and size of masks in a frozen dataclass's field, and packs them.

    Args:
        owner: the dataclass, in its `__post_init__`.
        name: the name of the field, which holds packed masks or an array bool [N,H,W].
        shape: the masks' shape, with None for any size.

    Raises:
        ValueError: the field holds something else.
    """
    value = getattr(owner, name)
    if isinstance(value, PackedMasks):
        fits = all(want in (None, have) for want, have in zip(shape, value.shape, strict=True))
        if fits:
            return
    freeze_array(owner, name, dtype="bool", shape=shape)
    object.__setattr__(owner, name, PackedMasks.of(getattr(owner, name)))


def _fields(owner: Frozen) -> dict[str, Any]:
    return {each.name: getattr(owner, each.name) for each in fields(owner)}  # type: ignore[arg-type]  # the same
