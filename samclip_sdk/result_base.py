"""What all results share: read-only arrays of checked shapes, and ways out to files."""

from __future__ import annotations

import json
import os
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from samclip_sdk.atomic_file import atomic_file
from samclip_sdk.errors import ImageError, RuntimeMissingError, StorageError
from samclip_sdk.frozen import Frozen
from samclip_sdk.image import ImageSource, load_image
from samclip_sdk.masks import mask_to_box, mask_to_rle


class Result(Frozen):
    """Base of the results' frozen dataclasses."""

    def plot(self, image: ImageSource) -> NDArray[np.uint8]:
        """Draws the result over the image that it came from: uint8 [H,W,3], RGB, a new array."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """The result as plain lists, numbers and text, ready for JSON."""
        raise NotImplementedError

    def to_json(self) -> str:
        """The result as one line of JSON; masks are COCO's compressed RLE."""
        return json.dumps(self.to_dict(), ensure_ascii=False)

    def save(self, path: str | os.PathLike[str], *, image: ImageSource | None = None) -> None:
        """Writes the result, whole or not at all.

        Args:
            path: ends in .png (an overlay), .json, or .npz (every array under its field's name).
            image: the image that the result came from; needed for .png.

        Raises:
            ImageError: .png without an image, or with an image of another size.
            StorageError: another suffix, or the file cannot be written.
        """
        suffix = Path(path).suffix.lower()
        if suffix == ".png":
            if image is None:
                raise ImageError(f"{os.fspath(path)} shows the result over its image: give image=")
            picture = Image.fromarray(self.plot(image))
            with atomic_file(path) as file:
                picture.save(file, format="PNG")
        elif suffix == ".json":
            text = self.to_json()
            with atomic_file(path) as file:
                file.write(text.encode("utf-8"))
        elif suffix == ".npz":
            with atomic_file(path) as file:
                np.savez_compressed(file, **self._arrays())
        else:
            raise StorageError(
                f"cannot write {os.fspath(path)}: it must end in .png, .json or .npz"
            )

    def _arrays(self) -> dict[str, Any]:
        """Every field that an .npz holds, by name."""
        names = [each.name for each in fields(self) if each.name not in ("speed", "picture")]  # type: ignore[arg-type]  # subclasses are dataclasses
        return {name: getattr(self, name) for name in names}


def matching_image(image: ImageSource, *, size: tuple[int, ...]) -> NDArray[np.uint8]:
    """Loads the image that a result came from, or raises ImageError if it cannot be that."""
    pixels = load_image(image)
    if pixels.shape[:2] != size:
        (height, width), (own_height, own_width) = size, pixels.shape[:2]
        raise ImageError(
            f"the result is of an image of {width} x {height} pixels, "
            f"this one has {own_width} x {own_height}"
        )
    return pixels


def coco_annotation(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """The bbox (XYWH), area and segmentation of a mask, as COCO names them."""
    x0, y0, x1, y1 = mask_to_box(mask).tolist()
    return {
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": int(mask.sum()),
        "segmentation": mask_to_rle(mask),
    }


def import_supervision() -> Any:
    """The optional package, or RuntimeMissingError with the command that installs it."""
    try:
        import supervision
    except ModuleNotFoundError as error:
        raise RuntimeMissingError(
            "supervision is not installed: pip install supervision"
        ) from error
    return supervision
