"""Zips of photographs with instance ids, turned into sets in COCO's layout.

A zip holds `img/NAME.jpg`, for pictures with masks `ids/NAME.png` (8 bits, each pixel the id of
the object that it belongs to, 0 of none), and `meta.json`: `info`, `licence`, `repo` and, by
picture, `images` with `w`, `h`, `split` ("train" or "val"), `objs`, `labels` and perhaps
`captions`. An object has `concept`, `box` XYXY, `id` (0 if it has no mask), `stuff`, and
perhaps `semantic`, `crowd` and `part_of`.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from samclip_sdk.errors import one_line
from samclip_sdk.picture.image import open_image
from samclip_sdk.picture.masks import mask_to_rle
from samclip_sdk.system.atomic_folder import atomic_folder
from samclip_sdk.system.progress import OnProgress, no_progress
from training.errors import TrainingError
from training.real.coco_layout import CAPTIONS_NAME, INSTANCES_NAME, PICTURES_FOLDER
from training.real.records import key_hash

NAMELESS = "region"
"""A concept that is no name: such masks serve SAM alone."""

_CALIBRATION_OF = 10  # one picture in so many of `train` is kept for calibration

_CLOSED = re.compile(
    r"research|unknown|google|absent|no licence|not stated|\bweb\b|\bweb sites\b|-N[CD]\b| N[CD]\b",
    re.IGNORECASE,
)
_OPEN = re.compile(
    r"\bCC0|\bCC[- ]BY|public domain|flickr|\bMIT\b|apache|\bcoco\b|creative commons", re.IGNORECASE
)


class _Damaged(Exception):
    """What is wrong with a zip."""


def are_open(terms: str) -> bool:
    """Whether terms, in a line of text, let anybody use the photographs, as far as words tell.

    CC0, CC-BY, CC-BY-SA, the public domain, Flickr's terms and those of MIT and Apache repositories
    are open, unless the line says that the photographs are for research only, from the web, not for
    commerce, or of unknown origin.
    """
    return bool(_OPEN.search(terms)) and not _CLOSED.search(terms)


def convert_zips(
    folder: Path,
    target: Path,
    *,
    complete: Collection[str] = (),
    on_progress: OnProgress = no_progress,
) -> list[str]:
    """Turns every zip of a folder into a set of the same name below `target`.

    A tenth of the pictures of "train", by a hash of the name, becomes "calibration". A set is
    written as a whole or not at all, and takes the place of an older one.

    Args:
        folder: with the zips.
        target: gets a folder a set.
        complete: names of the sets whose pictures have everything labelled.
        on_progress: told the set, and how many of them are done.

    Returns:
        The names of the sets.

    Raises:
        TrainingError: there is no zip, one that is damaged (those before it are written), or a name
            in `complete` that is none of a set.
    """
    zips = sorted(folder.glob("*.zip"))
    if not zips:
        raise TrainingError(f"there is no zip of photographs in {folder}")
    names = [path.stem for path in zips]
    if unknown := sorted(set(complete) - set(names)):
        raise TrainingError(
            f"there is no {unknown[0]}.zip in {folder}, which is said to be complete"
        )
    for done, path in enumerate(zips):
        on_progress(path.stem, done, len(zips))
        convert_zip(path, target / path.stem, complete=path.stem in complete)
    on_progress("done", len(zips), len(zips))
    return names


def convert_zip(path: Path, target: Path, *, complete: bool) -> None:
    """Turns one zip into a set, the folder `target`.

    Args:
        path: the zip.
        target: the set; an older one is replaced.
        complete: whether everything in the pictures is labelled.

    Raises:
        TrainingError: the zip is damaged; the message says what is wrong with it.
    """
    try:
        with zipfile.ZipFile(path) as files, atomic_folder(target) as out:
            _Conversion(files, out, complete=complete).run()
    except (_Damaged, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise TrainingError(f"{path} cannot be used: {one_line(error)}") from error


class _Conversion:
    """One zip on its way."""

    def __init__(self, files: zipfile.ZipFile, out: Path, *, complete: bool) -> None:
        self.files = files
        self.out = out
        self.complete = complete
        self.members = set(files.namelist())

    def run(self) -> None:
        meta = self._meta()
        pictures = meta["images"]
        if strays := sorted(self._ids() - {f"ids/{name}.png" for name in pictures}):
            raise _Damaged(f"{strays[0]} has no picture in meta.json")
        concepts = sorted({each["concept"] for one in pictures.values() for each in one["objs"]})
        self.categories = {concept: number for number, concept in enumerate(concepts, 1)}
        stuff = {
            each["concept"]
            for one in pictures.values()
            for each in one["objs"]
            if each.get("stuff", False)
        }
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        captions: list[dict[str, Any]] = []
        (self.out / PICTURES_FOLDER).mkdir()
        for number, (name, picture) in enumerate(pictures.items(), 1):
            images.append(self._image(number, name, picture))
            for entry in self._annotations(name, picture):
                entry |= {"id": len(annotations) + 1, "image_id": number}
                annotations.append(entry)
            captions += [
                {"id": len(captions) + place, "image_id": number, "caption": text}
                for place, text in enumerate(picture.get("captions", ()), 1)
            ]
        _write(
            self.out / INSTANCES_NAME,
            {
                "info": self._info(meta),
                "images": images,
                "annotations": annotations,
                "categories": [_category(*each, stuff=stuff) for each in self.categories.items()],
            },
        )
        if captions:
            plain = [{key: image[key] for key in ("id", "file_name")} for image in images]
            _write(self.out / CAPTIONS_NAME, {"images": plain, "annotations": captions})

    def _meta(self) -> Any:
        try:
            meta = json.loads(self._read("meta.json"))
            for picture in meta["images"].values():
                _ = picture["w"], picture["h"], picture["split"], picture["labels"]
                for thing in picture["objs"]:
                    _ = thing["concept"], thing["id"], len(thing["box"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _Damaged(f"meta.json: {type(error).__name__}: {error}") from error
        return meta

    def _ids(self) -> set[str]:
        return {name for name in self.members if name.startswith("ids/") and name.endswith(".png")}

    def _read(self, member: str) -> bytes:
        if member not in self.members:
            raise _Damaged(f"there is no {member}")
        return self.files.read(member)

    def _info(self, meta: dict[str, Any]) -> dict[str, Any]:
        terms = str(meta.get("licence", ""))
        return {
            "description": meta.get("info", ""),
            "terms": terms,
            "open": are_open(terms),
            "complete": self.complete,
            "source": meta.get("repo", ""),
        }

    def _image(self, number: int, name: str, picture: dict[str, Any]) -> dict[str, Any]:
        """Copies a picture, and says what COCO says of it."""
        if Path(name).name != name:
            raise _Damaged(f"{name!r} is no name of a picture")
        content = self._read(f"img/{name}.jpg")
        size = _decode(content, name=f"img/{name}.jpg").size
        if size != (picture["w"], picture["h"]):
            raise _Damaged(
                f"img/{name}.jpg has {size[0]} x {size[1]} pixels, and "
                f"{picture['w']} x {picture['h']} in meta.json"
            )
        (self.out / PICTURES_FOLDER / f"{name}.jpg").write_bytes(content)
        split = picture["split"]
        if split == "train" and key_hash(name) % _CALIBRATION_OF == 0:
            split = "calibration"
        return {
            "id": number,
            "file_name": f"{name}.jpg",
            "width": picture["w"],
            "height": picture["h"],
            "split": split,
            "labels": picture["labels"],
        }

    def _annotations(self, name: str, picture: dict[str, Any]) -> list[dict[str, Any]]:
        """The objects of a picture; without a segmentation where none of the pixels has the id."""
        ids = np.zeros((picture["h"], picture["w"]), np.uint8)
        if any(thing["id"] for thing in picture["objs"]):
            member = f"ids/{name}.png"
            image = _decode(self._read(member), name=member)
            if image.mode != "L" or image.size != (picture["w"], picture["h"]):
                raise _Damaged(
                    f"{member} is {image.width} x {image.height} pixels of mode {image.mode}, "
                    f"not {picture['w']} x {picture['h']} of mode L"
                )
            ids = np.asarray(image)
        entries = []
        for thing in picture["objs"]:
            left, top, right, bottom = thing["box"]
            entry = {
                "category_id": self.categories[thing["concept"]],
                "bbox": [left, top, round(right - left, 2), round(bottom - top, 2)],
                "area": round((right - left) * (bottom - top), 2),
                "iscrowd": int(thing.get("crowd", False)),
            }
            mask = ids == thing["id"]
            if thing["id"] and mask.any():
                entry |= {"area": int(mask.sum()), "segmentation": mask_to_rle(mask)}
            entry |= {key: thing[key] for key in ("semantic", "part_of") if thing.get(key)}
            entries.append(entry)
        return entries


def _category(concept: str, number: int, *, stuff: Collection[str]) -> dict[str, Any]:
    entry = {"id": number, "name": concept, "isthing": int(concept not in stuff)}
    return entry | ({"nameless": True} if concept == NAMELESS else {})


def _decode(content: bytes, *, name: str) -> Image.Image:
    try:
        image = open_image(io.BytesIO(content))
        image.load()
    except Exception as error:  # Pillow's decoders raise almost anything on damaged data.
        raise _Damaged(f"{name} cannot be decoded: {error}") from error
    return image


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, separators=(",", ":")), encoding="utf-8")
