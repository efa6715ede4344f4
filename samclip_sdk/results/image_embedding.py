"""An image before the backbone (`PreparedImage`) and after it (`ImageEmbedding`)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.bundle.graph_spec import GraphSpec
from samclip_sdk.errors import EmbeddingMismatchError, StorageError, one_line
from samclip_sdk.image.frame import Frame, covered_cells
from samclip_sdk.image.limits import MAX_PIXELS
from samclip_sdk.image.loading import ImageOrigin
from samclip_sdk.results.frozen import Frozen, freeze_array
from samclip_sdk.results.result_base import described
from samclip_sdk.system.atomic_file import atomic_file, check_suffix


@dataclass(frozen=True, eq=False, repr=False)
class PreparedImage(Frozen):
    """An image as a model's image encoder takes it; see `SamClip.prepare_image`.

    Attributes:
        square: uint8 [1,3,S,S], RGB.
        frame: where the image lies in the square.
        bundle_id: the id of the model that it was prepared for.
        origin: the source of the image.
    """

    square: NDArray[np.uint8]
    frame: Frame
    bundle_id: str
    origin: ImageOrigin | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        side = self.frame.resolution
        freeze_array(self, "square", dtype="uint8", shape=(1, 3, side, side))

    def __repr__(self) -> str:
        return f"PreparedImage({_size(self.frame)})"


@dataclass(frozen=True, eq=False, repr=False)
class ImageEmbedding(Frozen):
    """One image after the backbone: every skill continues from here, any number of times.

    Attributes:
        image_tokens: float32 [1,C,h,w], the input of the CLIP head: the upper left of the g x g
            cells of the model's input, without padding if the model's graphs need none.
        image_embeddings: float32 [1,D,h,w], after the neck; D is 256 in SAM.
        frame: where the image lies in the model's input.
        bundle_id: the id of the bundle that made it; no other bundle can read it.
        proposals: float32 [1,30,h,w], boxes of things of any kind, which `image.proposals` reads;
            None if the model proposes none.
        speed: milliseconds by step; not saved.
        origin: the source of the image, for results that are drawn over it; not saved.
    """

    image_tokens: NDArray[np.float32]
    image_embeddings: NDArray[np.float32]
    frame: Frame
    bundle_id: str
    proposals: NDArray[np.float32] | None = None
    speed: Mapping[str, float] = field(default_factory=dict)
    origin: ImageOrigin | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        shape = freeze_array(self, "image_tokens", dtype="float32", shape=(1, None, None, None))
        freeze_array(self, "image_embeddings", dtype="float32", shape=(1, None, *shape[2:]))
        if self.proposals is not None:
            freeze_array(self, "proposals", dtype="float32", shape=(1, None, *shape[2:]))
        grid = max(shape[2:])
        if not grid or self.frame.resolution % grid:
            raise ValueError(f"{self.frame.resolution} px have no grid of {grid} x {grid} patches")
        covered = covered_cells(self.frame, side=grid)
        if shape[2] < covered[0] or shape[3] < covered[1]:
            raise ValueError(f"the image covers {covered} cells, there are {shape[2:]}")

    @property
    def cells(self) -> tuple[int, int]:
        """H and w, the rows and columns of cells."""
        _, _, rows, columns = self.image_tokens.shape
        return rows, columns

    def __repr__(self) -> str:
        rows, columns = self.cells
        said = f"{_size(self.frame)}, grid {rows} x {columns}"
        return described("ImageEmbedding", said, one_line(self.bundle_id), speed=self.speed)

    def check_model(self, model_id: str, *, encoder: GraphSpec) -> None:
        """Refuses an embedding from another model, or one with shapes that the model never makes.

        Args:
            model_id: the id of the model that will read it.
            encoder: that model's image_encoder, at the resolution of segmentation.

        Raises:
            EmbeddingMismatchError: another model made it, or the shapes are wrong.
        """
        if self.bundle_id != model_id:
            raise EmbeddingMismatchError(
                f"the image embedding was made by model {one_line(self.bundle_id)}, this is model "
                f"{model_id}: encode the image again"
            )
        resolution = encoder.inputs[0].shape[-1]
        shapes = {each.name: each.shape for each in encoder.outputs}
        own = {name: array.shape for name, array in self._arrays().items()}
        whole = {name: (*shape[:2], *[max(self.cells)] * 2) for name, shape in own.items()}
        if (self.frame.resolution, whole) != (resolution, shapes):
            raise EmbeddingMismatchError(
                f"the image embedding is of {self.frame.resolution} px with {own}, this model has "
                f"{resolution} px with {shapes}: encode the image again"
            )

    def _arrays(self) -> dict[str, NDArray[np.float32]]:
        """What the backbone made, by the graph's names."""
        found = {"image_tokens": self.image_tokens, "image_embeddings": self.image_embeddings}
        return found if self.proposals is None else found | {"proposals": self.proposals}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes an .npz file, completely or not at all.

        Raises:
            StorageError: another suffix, no path, or the file cannot be written.
        """
        check_suffix(path, ".npz")
        with atomic_file(path) as file:
            np.savez(
                file,
                **self._arrays(),  # type: ignore[arg-type]  # numpy's stub takes it for a flag
                frame=np.array(astuple(self.frame), dtype=np.int64),
                bundle_id=np.array(self.bundle_id),
            )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ImageEmbedding:
        """Reads a file that `save` wrote.

        Raises:
            StorageError: the file is missing, damaged, or no saved ImageEmbedding.
        """
        name = one_line(path)
        try:
            with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                _check_stored(arrays.zip)
                return cls(
                    image_tokens=_finite(arrays["image_tokens"]),
                    image_embeddings=_finite(arrays["image_embeddings"]),
                    frame=_frame(arrays["frame"]),
                    bundle_id=str(arrays["bundle_id"]),
                    proposals=_finite(arrays["proposals"]) if "proposals" in arrays else None,
                )
        except FileNotFoundError as error:
            raise StorageError(f"{name}: no such file") from error
        except Exception as error:  # numpy and zipfile raise almost anything on damaged data.
            raise StorageError(f"{name} is not a saved image embedding") from error


def _check_stored(file: ZipFile) -> None:
    """Refuses compressed arrays: `save` makes none, and zeros expand a thousandfold."""
    if any(each.compress_type != ZIP_STORED for each in file.infolist()):
        raise ValueError("an array is compressed")


def _finite(array: NDArray[np.float32]) -> NDArray[np.float32]:
    if not np.isfinite(array).all():
        raise ValueError("a value is not finite")
    return array


def _frame(numbers: NDArray[np.int64]) -> Frame:
    """Makes a frame from its five numbers, and refuses one that no image can have."""
    if numbers.dtype.kind != "i" or numbers.shape != (5,):
        raise ValueError("a frame is five whole numbers")
    frame = Frame(*numbers.tolist())
    if frame.height_px * frame.width_px > MAX_PIXELS:
        raise ValueError(f"no image is as large as this: {frame}")
    if frame != Frame.fit(frame.height_px, frame.width_px, resolution=frame.resolution):
        raise ValueError(f"no image lies like this: {frame}")
    return frame


def _size(frame: Frame) -> str:
    return f"{frame.width_px} x {frame.height_px} at {frame.resolution} px"
