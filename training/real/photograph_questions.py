"""Questions to photographs: names that masks show, and names that the set promises are absent.

Only images of complete sets are asked: elsewhere a thing that nobody named is not absent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np

from training.asked_images import AskedImage, NamedObjects
from training.composed.label_questions import ABSENT
from training.errors import TrainingError
from training.real.photograph_masks import decode_mask
from training.real.photographs import Photographs
from training.real.records import BrokenRecord, decode_image

MIN_SHARE = 0.005
"""The share of the image that a concept must cover to be asked for."""

Thing = tuple[np.ndarray, np.ndarray]
"""An image, uint8 RGB [H,W,3], and the masks of single objects in it, bool [N,H,W]."""

T = TypeVar("T")

_ABSENT_STREAM = 15  # keeps these draws apart from others of the same seed


class AskedPhotographs:
    """The images of complete sets in random order, each with what it is asked for.

    Args:
        seed: of the order, and of the absent names.

    Attributes:
        images: int64 [N], their numbers in `photographs`, in that order.

    Raises:
        TrainingError: no set with images in the split is complete.
    """

    def __init__(self, photographs: Photographs, *, seed: int) -> None:
        complete = np.array([each.complete for each in photographs.sets])
        images = np.flatnonzero(complete[photographs.owners])
        if not len(images):
            raise TrainingError(
                f"no set below {photographs.settings.root} with images in the split "
                f"{photographs.split} labels all that its categories name, so that nothing is "
                "known to be absent: give one, or say so of one with sets.NAME.complete"
            )
        self.photographs = photographs
        self.seed = seed
        self.images = np.random.default_rng([seed, _ABSENT_STREAM]).permutation(images)

    def __len__(self) -> int:
        return len(self.images)

    def ask(self, broken: Counter[str]) -> Iterator[AskedImage]:
        """Reads one image after the other; those that cannot be read are counted by kind."""
        return _readable(self.question, self.images, broken)

    def things(self, broken: Counter[str], *, max_images: int) -> Iterator[Thing]:
        """Reads the first images with the masks of their objects, as `ask` reads them."""

        def thing(image: int) -> Thing:
            objects = objects_of(self.photographs, image)
            return read_photograph(self.photographs, image), objects

        return _readable(thing, self.images[:max_images], broken)

    def named_objects(self, broken: Counter[str]) -> Iterator[NamedObjects]:
        """Reads the images with the masks of their objects and the objects' names."""
        return _readable(self.objects, self.images, broken)

    def objects(self, image: int) -> NamedObjects:
        """The objects of an image, each of half a percent of it or more, with their names.

        A name is left out if anything of it is no single object there: a crowd, a mask of all
        together, or a box.

        Raises:
            BrokenRecord: the image or a mask cannot be read.
        """
        one = self.photographs[image]
        concepts, single = one.concepts(one.numbers), one.found.table.promptable[one.numbers]
        whole = set(concepts.tolist()) - set(concepts[~single].tolist()) - {-1}
        names, masks = list[str](), [np.zeros(one.size, bool)]
        for concept, mask in named_masks(self.photographs, image):
            large = mask is not None and mask.sum() >= MIN_SHARE * mask.size
            if concept in whole and mask is not None and large:
                names.append(self.photographs.names[concept])
                masks.append(mask)
        return NamedObjects(read_photograph(self.photographs, image), names, np.stack(masks)[1:])

    def question(self, image: int) -> AskedImage:
        """Asks an image for all concepts that are large enough, and for five absent ones.

        What is too small, or has no mask, is asked as neither.

        Raises:
            BrokenRecord: the image or a mask cannot be read.
        """
        one = self.photographs[image]
        masks = {
            name: mask
            for name, mask in concept_masks(self.photographs, image).items()
            if mask.sum() >= MIN_SHARE * mask.size
        }
        names = self.photographs.names
        absent = np.array(self.photographs.absent(image), np.int64)
        rng = np.random.default_rng([self.seed, _ABSENT_STREAM, image])
        return AskedImage(
            read_photograph(self.photographs, image),
            present=tuple(masks),
            masks=np.stack([*masks.values(), np.zeros(one.size, bool)])[: len(masks)],
            absent=tuple(names[number] for number in rng.permutation(absent)[:ABSENT]),
            of=one.found.name,
        )


def _readable(read: Callable[[int], T], images: np.ndarray, broken: Counter[str]) -> Iterator[T]:
    for image in images.tolist():
        try:
            yield read(image)
        except BrokenRecord as error:
            broken[error.kind] += 1


def read_photograph(photographs: Photographs, image: int) -> np.ndarray:
    """An image as it is: uint8 RGB [H,W,3], upright.

    Raises:
        BrokenRecord: it cannot be read, or is of another size than its set says.
    """
    one = photographs[image]
    path = one.found.path(one.row)
    try:
        pixels = decode_image(path.read_bytes())
    except OSError as error:
        raise BrokenRecord("record", str(error)) from error
    found = pixels.shape[:2]
    if found != one.size:
        raise BrokenRecord("image", f"{path.name} has {found} pixels, and {one.size} in its set")
    return pixels


def objects_of(photographs: Photographs, image: int) -> np.ndarray:
    """The masks that a prompt can ask for, each of half a percent of the image or more.

    Returns bool [N,H,W]; raises BrokenRecord as `decode_mask` does.
    """
    one = photographs[image]
    height, width = one.size
    numbers = one.numbers[one.found.table.promptable[one.numbers]].tolist()
    masks = [
        decode_mask(one.found.table[number].segmentation, height_px=height, width_px=width)
        for number in numbers
    ]
    large = [mask for mask in masks if mask.sum() >= MIN_SHARE * mask.size]
    return np.stack([*large, np.zeros((height, width), bool)])[: len(large)]


def concept_masks(photographs: Photographs, image: int) -> dict[str, np.ndarray]:
    """Returns the masks of an image's concepts, by name: bool [H,W], all annotations together.

    A concept of which something is annotated without a mask is left out. Raises BrokenRecord as
    `decode_mask` does.
    """
    masks: dict[int, np.ndarray] = {}
    partly: set[int] = set()
    for concept, mask in named_masks(photographs, image):
        if mask is None:
            partly.add(concept)
        else:
            masks[concept] = masks[concept] | mask if concept in masks else mask
    return {photographs.names[each]: masks[each] for each in sorted(masks) if each not in partly}


def named_masks(photographs: Photographs, image: int) -> Iterator[tuple[int, np.ndarray | None]]:
    """Each annotation of an image that has a name: its concept, and its mask bool [H,W], if any.

    Raises BrokenRecord as `decode_mask` does.
    """
    one = photographs[image]
    height, width = one.size
    for number, concept in zip(one.numbers, one.concepts(one.numbers).tolist(), strict=True):
        segmentation = one.found.table[int(number)].segmentation
        if concept >= 0:
            decoded = None
            if segmentation:
                decoded = decode_mask(segmentation, height_px=height, width_px=width)
            yield concept, decoded
