"""The things in photographs in COCO's layout, as one set of COCO's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.public.files import DatasetError
from samclip_sdk.picture.packed_masks import PackedMask
from samclip_sdk.results.result_base import coco_annotation
from training.data_config import Photographs as Settings
from training.real.photograph import Photograph
from training.real.photograph_masks import decode_mask
from training.real.photographs import Photographs

Things = tuple[dict[str, Any], dict[int, str], tuple[tuple[int, Path, tuple[int, ...]], ...]]


def list_things(root: Path) -> Things:
    """Lists the named things in pictures of the split "val"; see `things_of`."""
    if not root.is_dir():
        raise DatasetError(f"{root} is not a folder: expected one with sets in COCO's layout")
    photographs = Photographs(Settings(source="photographs", root=root), split="val")
    found = things_of(photographs, range(len(photographs)))
    if not found[0]["annotations"]:
        raise DatasetError(f"no set below {root} has a name and a mask for every thing in val")
    return found


def things_of(photographs: Photographs, pictures: Iterable[int]) -> Things:
    """Lists the named things in pictures, of sets that have a name and a mask for every thing.

    Returns:
        COCO's annotations, names of categories by id, and pictures: id, path, ids of what to ask.
        Masks of a crowd, or of all of a kind, are crowds: finding them counts neither way.
    """
    usable = {
        each.name
        for each in photographs.sets
        if any(category.thing and not category.nameless for category in each.categories)
        and each.table.promptable.any()
        and each.table.has_mask.all()
    }
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    listed = []
    for picture in pictures:
        one = photographs[picture]
        if one.found.name not in usable:
            continue
        height, width = one.found.sizes[one.row].tolist()
        images.append({"id": picture, "height": height, "width": width})
        for entry in _entries(one, height_px=height, width_px=width):
            annotations.append({"id": len(annotations) + 1, "image_id": picture, **entry})
        kinds = zip(one.category_names.tolist(), one.found.categories, strict=True)
        things = sorted({name + 1 for name, kind in kinds if name >= 0 and kind.thing})
        listed.append((picture, one.found.path(one.row), tuple(things)))
    asked = sorted({each for _, _, things in listed for each in things})
    names = {each: photographs.names[each - 1] for each in asked}
    categories = [{"id": each, "name": name} for each, name in names.items()]
    truth = {"images": images, "annotations": annotations, "categories": categories}
    return truth, names, tuple(listed)


def _entries(one: Photograph, *, height_px: int, width_px: int) -> Iterator[dict[str, Any]]:
    """The annotations of a picture's named things."""
    for number, concept in zip(one.numbers, one.concepts(one.numbers).tolist(), strict=True):
        found = one.found.table[int(number)]
        if concept >= 0 and one.found.categories[found.category].thing:
            mask = decode_mask(found.segmentation, height_px=height_px, width_px=width_px)
            yield {
                "category_id": concept + 1,
                **coco_annotation(PackedMask.pack(mask), size=mask.shape),
                "iscrowd": int(not one.found.table.promptable[number]),
            }
