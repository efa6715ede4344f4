"""Where on a device the values of arrays are, so that a tensor is not sent where it came from.

Sessions hand their outputs out as numpy arrays. If the device's own tensor is kept as long as such
an array lives, its upload is skipped when that very array is fed to another session: image_tokens
go from the image_encoder to the clip_head, image_embeddings to the mask_decoder for every prompt,
and the prompt_encoder's dense_embeddings to the mask_decoder.

This cannot go stale: the arrays are read-only in a way that numpy cannot undo, so what is on the
device is what they hold for as long as they live.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]
Copy = TypeVar("Copy")

REMEMBERED_BYTES = 256 << 20
"""An image of ViT-B at 1024 px and a full batch of its prompts."""


@dataclass(frozen=True)
class _Remembered(Generic[Copy]):
    """The copy of what the read-only array behind `root` holds."""

    root: weakref.ref[Array]
    copy: Copy
    size_bytes: int


class DeviceCopies(Generic[Copy]):
    """Copies of arrays that are still alive. Whoever shares it between threads locks it.

    Args:
        limit_bytes: how much may be kept, before what was not used for longest is forgotten.
        release: told of each copy that is forgotten.
    """

    def __init__(
        self,
        *,
        limit_bytes: int = REMEMBERED_BYTES,
        release: Callable[[Copy], object] = lambda copy: None,
    ) -> None:
        self._limit_bytes = limit_bytes
        self._release = release
        self._remembered: OrderedDict[int, _Remembered[Copy]] = OrderedDict()
        # Filled by the garbage collector at any moment and in any thread, hence no work there.
        self._dead: deque[int] = deque()

    def remember(self, array: Array, copy: Copy, *, size_bytes: int) -> None:
        """Keeps a copy for as long as an array that holds the same lives, the limit permitting.

        Args:
            array: from `seal`.
            copy: of all of it.
            size_bytes: that the copy takes.
        """
        self.sweep()
        root = _root(array)
        key = id(root)
        watch = weakref.ref(root, lambda _: self._dead.append(key))
        self._remembered[key] = _Remembered(watch, copy, size_bytes)
        held_bytes = sum(each.size_bytes for each in self._remembered.values())
        while held_bytes > self._limit_bytes:
            _, oldest = self._remembered.popitem(last=False)
            held_bytes -= oldest.size_bytes
            self._release(oldest.copy)

    def find(self, array: Array) -> Copy | None:
        """The copy of what an array holds, if there is one.

        Args:
            array: any; views of a remembered array count if they show all of it, in order.
        """
        self.sweep()
        root = _root(array)
        found = self._remembered.get(id(root))
        if found is None or found.root() is not root:
            return None
        same_bytes = (
            array.dtype == root.dtype
            and array.nbytes == root.nbytes
            and array.ctypes.data == root.ctypes.data
            and array.flags.c_contiguous
        )
        if not same_bytes:
            return None
        self._remembered.move_to_end(id(root))
        return found.copy

    def sweep(self) -> None:
        """Forgets the copies of arrays that are gone."""
        while self._dead:
            key = self._dead.popleft()
            # Another array may have the same id by now.
            if key in self._remembered and self._remembered[key].root() is None:
                self._release(self._remembered.pop(key).copy)

    def clear(self) -> None:
        """Forgets everything."""
        self._dead.clear()
        while self._remembered:
            _, each = self._remembered.popitem()
            self._release(each.copy)


def seal(array: NDArray[Any]) -> Array:
    """Returns the same memory as an array that nobody can make writable.

    numpy lets the owner of an array clear its read-only flag; here the owner is a read-only buffer,
    and numpy refuses.

    Args:
        array: C-contiguous and not empty; no other reference to it may be kept.
    """
    flat = array.reshape(-1).view(np.uint8)
    sealed: Array = np.frombuffer(flat.data.toreadonly(), dtype=array.dtype)
    return sealed.reshape(array.shape)


def _root(array: Array) -> Array:
    """The array that an array, if it is a view, was made from."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array
