"""The progress file of an output: a line of JSON for each finished image; and COCO JSON from it.

The first line holds the settings. Only whole lines count, so a run may be killed at any time. The
process keeps the position of each image's line in memory, never the lines. A lock beside the file
is held as long as a run writes it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal

from filelock import FileLock, Timeout
from pydantic import ConfigDict, Field, FiniteFloat, JsonValue, ValidationError, model_validator

from samclip_sdk.annotate.image_sources import SourceImage
from samclip_sdk.errors import OptionError, StorageError, one_line
from samclip_sdk.image.masks import rle_to_runs
from samclip_sdk.system.atomic_file import atomic_file, check_target
from samclip_sdk.system.atomic_folder import atomic_folder
from samclip_sdk.system.records import Record

_SHOWN_LETTERS = 60
_AFRESH = "give another output, or start afresh with --restart (restart=True)"
_FIRST_BYTES = b'{"schema_version": '


class AnnotationSettings(Record):
    """All that an annotation depends on, besides the image.

    `label_digests` are `SamClip.label_digests` of the labels: a label that was taught again is
    another label. `read_as` has those that other words answer for, or that the model does not
    know. `thresholds` has one for each label. `max_instances` and `min_score` are None
    where a label has one annotation an image, `tiles` and `tile_overlap` where images are looked
    at as a whole.
    """

    # pydantic before 2.10 warns of names that begin as its own methods.
    model_config = ConfigDict(protected_namespaces=())

    schema_version: Literal[6] = 6
    model: str
    model_id: str
    revision: str
    runtime: str
    precision: str
    labels: tuple[str, ...]
    label_digests: tuple[str, ...]
    read_as: dict[str, dict[str, JsonValue]]
    thresholds: tuple[float, ...]
    allow_unknown: bool
    mask_threshold: float
    points_per_class: int
    refine: bool
    max_instances: int | None
    min_score: float | None
    exclusive: bool
    polygons: bool
    tiles: tuple[int, int] | int | None
    tile_overlap: float | None


class _Rle(Record):
    """A mask as COCO's compressed RLE."""

    size: tuple[int, int]
    counts: str

    @model_validator(mode="after")
    def _fills_its_size(self) -> _Rle:
        rle_to_runs(self.model_dump())
        return self


class _Annotation(Record):
    """A mask of a label, or of one of its objects; see `Annotator`."""

    category_id: int = Field(ge=1)
    bbox: tuple[float, float, float, float]
    area: float = Field(ge=0)
    segmentation: _Rle | tuple[tuple[FiniteFloat, ...], ...]
    score: float
    label_score: float | None = None
    predicted_iou: float | None = None
    stability_score: float | None = None
    presence: float | None = None


class _Line(Record):
    """An image that is done. COCO JSON takes these fields as they are, so they are checked."""

    file_name: str
    size_bytes: int
    modified_ns: int
    width: int = Field(ge=1)
    height: int = Field(ge=1)
    annotations: tuple[_Annotation, ...]

    @model_validator(mode="after")
    def _masks_are_of_its_size(self) -> _Line:
        for annotation in self.annotations:
            mask = annotation.segmentation
            if isinstance(mask, _Rle):
                fits = mask.size == (self.height, self.width)
            else:
                fits = all(self._holds(polygon) for polygon in mask)
            if not fits:
                raise ValueError("a mask of another size")
        return self

    def _holds(self, polygon: Sequence[float]) -> bool:
        """Whether a polygon x, y, x, y, ... of three corners or more lies in the image."""
        x, y = polygon[0::2], polygon[1::2]
        inside = len(x) == len(y) >= 3 and min(polygon) >= 0
        return inside and max(x) <= self.width and max(y) <= self.height


class AnnotationLog:
    """The progress file of an output. A context manager; one run at a time.

    Args:
        path: the path of the file, see `log_path`; the file is made if there is none.
        settings: the settings of this run.
        restart: whether to forget the content of the file.

    Raises:
        StorageError: the file is not a progress file, was begun with other settings, is damaged, is
            being written by another run, or cannot be written.
        OptionError: SOURCE_DATE_EPOCH is set and is no time.
    """

    def __init__(self, path: Path, *, settings: AnnotationSettings, restart: bool = False) -> None:
        self.path = path
        self._settings = settings
        self._given_date = _given_date()
        self._lines: dict[str, tuple[int, int, int]] = {}
        check_target(path)
        self._lock = FileLock(path.with_name(f".{path.name}.lock"), thread_local=False)
        self._take_lock()
        try:
            self._file: BinaryIO = path.open("a+b")
        except OSError as error:
            self._drop_lock()
            raise StorageError(f"cannot write {one_line(path)}: {error.strerror}") from error
        try:
            if not restart:
                self._read()
            if not self._lines:
                self._file.truncate(0)
                self._write(settings.model_dump(mode="json"))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> AnnotationLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Lets another run write the file."""
        with suppress(OSError):  # A full disk, which was told when a line was written.
            self._file.close()
        self._drop_lock()

    def discard(self) -> None:
        """Removes the file; no other run begins it before this object is closed.

        Raises:
            StorageError: the file cannot be removed.
        """
        self._file.close()  # Windows removes no open file.
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"cannot remove {one_line(self.path)}: {error.strerror}") from error

    def __contains__(self, image: SourceImage) -> bool:
        """Whether the image is done and its file has not been replaced since."""
        line = self._lines.get(image.name)
        return line is not None and line[1:] == (image.size_bytes, image.modified_ns)

    def append(self, image: SourceImage, found: Mapping[str, Any]) -> None:
        """Notes an image as done.

        Args:
            image: the image, with size and time from before it was read.
            found: the answer of `Annotator`.

        Raises:
            StorageError: the line cannot be written.
        """
        line = {
            "file_name": image.name,
            "size_bytes": image.size_bytes,
            "modified_ns": image.modified_ns,
            **found,
        }
        start = self._write(line)
        self._lines[image.name] = (start, image.size_bytes, image.modified_ns)

    def entries(self, images: Sequence[SourceImage]) -> Iterator[dict[str, Any]]:
        """The fields of each image that is done, in the order of `images`."""
        yield from self._entries([image for image in images if image in self])

    def write_coco(self, output: Path, images: Sequence[SourceImage]) -> int:
        """Writes COCO JSON of the images that are done, whole or not at all.

        Images and their annotations are numbered in the order of `images`, not in the order in
        which they were done.

        Returns:
            The number of annotations.

        Raises:
            StorageError: the file cannot be written.
        """
        done = [image for image in images if image in self]
        with atomic_file(output) as file:
            return self._write_coco(file, done, self._info(), image_id=1, annotation_id=1)

    def write_shards(self, output: Path, images: Sequence[SourceImage], *, size: int) -> None:
        """Writes COCO JSONs of `size` images each into the folder `shards_path`.

        Ids go on from one file to the next, so that they are those of the joined file. The folder
        appears whole, and replaces an earlier one.

        Raises:
            StorageError: the folder cannot be written.
        """
        done = [image for image in images if image in self]
        info, annotation_id = self._info(), 1
        with atomic_folder(shards_path(output)) as folder:
            for number, start in enumerate(range(0, len(done), size)):
                with (folder / f"{number:05d}.json").open("wb") as file:
                    annotation_id += self._write_coco(
                        file,
                        done[start : start + size],
                        info,
                        image_id=start + 1,
                        annotation_id=annotation_id,
                    )

    def _info(self) -> dict[str, Any]:
        date = self._given_date or datetime.now(timezone.utc)
        return {
            "description": "Text-to-mask by SAM-CLIP",
            "date_created": date.isoformat(timespec="seconds"),
            **self._settings.model_dump(mode="json", exclude={"schema_version"}),
        }

    def _write_coco(
        self,
        file: BinaryIO,
        done: Sequence[SourceImage],
        info: Mapping[str, Any],
        *,
        image_id: int,
        annotation_id: int,
    ) -> int:
        """Writes a COCO JSON whose ids begin at the given ones; returns how many annotations."""
        categories = [
            {"id": index, "name": label} for index, label in enumerate(self._settings.labels, 1)
        ]
        images = self._images(done, first=image_id)
        annotations = self._annotations(done, image_id=image_id, first=annotation_id)
        file.write(b'{"info": %s,\n"categories": %s,\n' % (_dump(info), _dump(categories)))
        for key, entries, end in (("images", images, b","), ("annotations", annotations, b"}")):
            file.write(b'"%s": [' % key.encode())
            number = 0
            for number, entry in enumerate(entries, 1):
                file.write((b",\n" if number > 1 else b"\n") + _dump(entry))
            file.write(b"\n]%s\n" % end)
        return number

    def _images(self, done: Sequence[SourceImage], *, first: int) -> Iterator[dict[str, Any]]:
        for image_id, line in enumerate(self._entries(done), first):
            size = {key: line[key] for key in ("width", "height")}
            yield {"id": image_id, "file_name": line["file_name"], **size}

    def _annotations(
        self, done: Sequence[SourceImage], *, image_id: int, first: int
    ) -> Iterator[dict[str, Any]]:
        ids = count(first)
        for image, line in enumerate(self._entries(done), image_id):
            for annotation in line["annotations"]:
                yield {"id": next(ids), "image_id": image, "iscrowd": 0, **annotation}

    def _entries(self, done: Sequence[SourceImage]) -> Iterator[dict[str, Any]]:
        for image in done:
            self._file.seek(self._lines[image.name][0])
            line: dict[str, Any] = json.loads(self._file.readline())
            yield line

    def _write(self, content: Mapping[str, Any]) -> int:
        """Appends a line, and returns where it begins."""
        try:
            start = self._file.seek(0, os.SEEK_END)
            self._file.write(_dump(content) + b"\n")
            self._file.flush()
        except OSError as error:
            raise StorageError(f"cannot write {one_line(self.path)}: {error.strerror}") from error
        return start

    def _read(self) -> None:
        """Finds the lines, drops a half-written one at the end, and compares the settings.

        The settings of a file without a finished image do not matter: it is begun anew.
        """
        self._file.seek(0)
        header = self._file.readline()
        if not header.startswith(_FIRST_BYTES) and not _FIRST_BYTES.startswith(header):
            raise StorageError(f"{one_line(self.path)} is not a progress file: {_AFRESH}")
        start, number = len(header), 2
        while line := self._file.readline():
            if not line.endswith(b"\n"):
                self._file.truncate(start)
                break
            if number == 2:
                self._compare(header)
            entry = self._parse(line, number=number)
            self._lines[entry.file_name] = (start, entry.size_bytes, entry.modified_ns)
            start, number = start + len(line), number + 1

    def _parse(self, line: bytes, *, number: int) -> _Line:
        """Reads a whole line; after an edit or on a bad disk it may be JSON of any kind."""
        try:
            entry = _Line.model_validate_json(line, strict=True)
            if any(each.category_id > len(self._settings.labels) for each in entry.annotations):
                raise ValueError("a category that is none of the labels")
        except ValueError as error:
            path = one_line(self.path)
            raise StorageError(f"line {number} of {path} is damaged: {_AFRESH}") from error
        return entry

    def _compare(self, header: bytes) -> None:
        try:
            begun = AnnotationSettings.model_validate_json(header)
        except ValidationError as error:
            raise StorageError(
                f"{one_line(self.path)} is not a progress file of this version: {_AFRESH}"
            ) from error
        same_labels = begun.labels == self._settings.labels
        of_labels = ("label_digests",) if same_labels else ("label_digests", "thresholds")
        differences = [
            f"{name}: {_shown(value)}, now {_shown(getattr(self._settings, name))}"
            for name, value in begun
            if value != getattr(self._settings, name) and name not in of_labels
        ]
        if same_labels:
            pairs = zip(begun.label_digests, self._settings.label_digests, strict=True)
            other = [label for label, (a, b) in zip(begun.labels, pairs, strict=True) if a != b]
            if other:
                taught = _shown(tuple(other))
                differences.append(f"{taught}: taught again since, or from another vocabulary")
        if differences:
            raise StorageError(
                f"{one_line(self.path)} was begun with other settings: {'; '.join(differences)}; "
                f"give the same again to go on, {_AFRESH}"
            )

    def _take_lock(self) -> None:
        try:
            self._lock.acquire(blocking=False)
        except Timeout as error:
            raise StorageError(
                f"another run is writing {one_line(self.path)}: wait for it"
            ) from error
        except OSError:  # Some network drives have no locks.
            return

    def _drop_lock(self) -> None:
        """Removes the lock's file, then releases the lock: a lock file that is found is held."""
        if self._lock.is_locked:
            with suppress(OSError):  # Windows removes it itself.
                os.unlink(self._lock.lock_file)
            self._lock.release()


def log_path(output: Path) -> Path:
    """The path of the progress file of an output, beside it."""
    return output.with_name(f"{output.stem}.progress.jsonl")


def shards_path(output: Path) -> Path:
    """The path of the folder of shards of an output, beside it."""
    return output.with_name(f"{output.stem}.shards")


def _given_date() -> datetime | None:
    """The time in SOURCE_DATE_EPOCH, with which two runs write the same bytes; None if unset.

    Raises:
        OptionError: the variable is set and is no time.
    """
    given = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not given:
        return None
    try:
        return datetime.fromtimestamp(int(given), timezone.utc)
    except (ValueError, OverflowError, OSError) as error:
        raise OptionError(
            f"SOURCE_DATE_EPOCH is {one_line(given, limit=_SHOWN_LETTERS)}: it must be a time in "
            "seconds since 1970, or not be set"
        ) from error


def _dump(content: object) -> bytes:
    return json.dumps(content, allow_nan=False).encode("ascii")


def _shown(value: object) -> str:
    text = ", ".join(dict.fromkeys(map(str, value))) if isinstance(value, tuple) else value
    return one_line(text, limit=_SHOWN_LETTERS)
