"""COCO video JSON in the format of YouTube-VIS: an annotation for each object, with all its masks.

The file lists an object's masks together, so it is complete only after the last frame. Until then
the masks are in a database on disk, which the system removes when the process ends in any way.
Memory does not grow with the number of frames.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from samclip_sdk.results.result_base import coco_annotation
from samclip_sdk.results.tracked import TrackedInstances
from samclip_sdk.system.atomic_file import atomic_file, check_target
from samclip_sdk.system.timing import utc_now

SECONDS_BETWEEN = 30.0
"""The least time between two writings of the unfinished file; a process may be killed."""

PATIENCE = 20.0
"""The time between two writings is also at least this many times the last writing's duration."""

_TABLES = """
CREATE TABLE frames (number INTEGER PRIMARY KEY, name TEXT);
CREATE TABLE masks (
    id INTEGER, frame INTEGER, category INTEGER, score REAL,
    segmentations TEXT, bboxes TEXT, areas TEXT,
    PRIMARY KEY (id, frame)
) WITHOUT ROWID;
"""
_COLUMNS = ("segmentations", "bboxes", "areas")


class CocoVideoWriter:
    """Writes a stream's results. A context manager: even after an error, the added frames are kept.

    The file is replaced as a whole at the end, and about every half minute. Without a frame, no
    file appears.

    Args:
        path: the JSON file's path.
        labels: the categories, in the order in which they were asked.
        name: the video's name.
        fps: frames a second, if known.

    Raises:
        StorageError: the file cannot be written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        labels: Sequence[str],
        name: str,
        fps: float | None = None,
    ) -> None:
        import sqlite3  # only here: few programs write videos' annotations, and it takes 1 MB

        check_target(path)
        self._path, self._labels, self._name, self._fps = Path(path), tuple(labels), name, fps
        # An empty name makes SQLite create an unnamed temporary database on disk.
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.executescript(f"PRAGMA journal_mode=OFF;{_TABLES}")
        self._count, self._size = 0, (0, 0)
        self._due = time.monotonic() + SECONDS_BETWEEN

    def __enter__(self) -> CocoVideoWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def add(self, found: TrackedInstances) -> None:
        """Adds the objects of the next frame.

        Raises:
            StorageError: the file cannot be written.
        """
        rows = []
        ids = found.ids.tolist()
        for number, item, mask in zip(ids, found, found.masks.packed, strict=True):
            coco = coco_annotation(mask, size=found.size)
            texts = (_dump(coco[each]) for each in ("segmentation", "bbox", "area"))
            category = self._labels.index(item.label) + 1
            rows.append((number, self._count, category, item.score, *texts))
        self._database.execute(
            "INSERT INTO frames VALUES (?, ?)", (self._count, _dump(found.frame_name))
        )
        self._database.executemany("INSERT INTO masks VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        self._count, self._size = self._count + 1, found.size
        if time.monotonic() >= self._due:
            self._write()

    def close(self) -> None:
        """Writes the file, and frees the database.

        Raises:
            StorageError: the file cannot be written.
        """
        try:
            if self._count:
                self._write()
        finally:
            self._database.close()

    def _write(self) -> None:
        start = time.monotonic()
        info = {
            "description": "Objects in a video by SAM-CLIP",
            "date_created": utc_now(),
        }
        categories = [{"id": index, "name": name} for index, name in enumerate(self._labels, 1)]
        with atomic_file(self._path) as file:
            file.write(f'{{"info": {_dump(info)},\n"categories": {_dump(categories)},\n'.encode())
            self._write_video(file)
            file.write(b'"annotations": [')
            masks = self._database.execute(
                "SELECT id, MIN(category), AVG(score) FROM masks WHERE frame < ? GROUP BY id",
                (self._count,),  # An interrupt may have left rows of a frame that is not complete.
            )
            for index, row in enumerate(masks):
                file.write(b",\n" if index else b"\n")
                self._write_annotation(file, *row)
            file.write(b"\n]}\n")
        now = time.monotonic()
        self._due = now + max(SECONDS_BETWEEN, PATIENCE * (now - start))

    def _write_video(self, file: BinaryIO) -> None:
        video = {
            "id": 1,
            "name": self._name,
            "height": self._size[0],
            "width": self._size[1],
            "length": self._count,
            "fps": self._fps,
        }
        file.write(b'"videos": [' + _dump(video)[:-1].encode() + b', "file_names": ')
        names = self._database.execute(
            "SELECT name FROM frames WHERE number < ? ORDER BY number", (self._count,)
        )
        _write_list(file, (name for (name,) in names))
        file.write(b"}],\n")

    def _write_annotation(
        self, file: BinaryIO, object_id: int, category: int, score: float
    ) -> None:
        known = {
            "id": object_id,
            "video_id": 1,
            "category_id": category,
            "iscrowd": 0,
            "height": self._size[0],
            "width": self._size[1],
            "length": self._count,
            "score": score,
        }
        file.write(_dump(known)[:-1].encode())
        for column in _COLUMNS:
            file.write(f', "{column}": '.encode())
            _write_list(file, self._of_frames(object_id, column))
        file.write(b"}")

    def _of_frames(self, object_id: int, column: str) -> Iterator[str]:
        """Yields an object's column for each frame; null where the object is not seen."""
        rows = self._database.execute(
            f"SELECT frame, {column} FROM masks WHERE id = ? AND frame < ? ORDER BY frame",
            (object_id, self._count),
        )
        following = 0
        for frame, text in rows:
            yield from ("null" for _ in range(following, frame))
            yield text
            following = frame + 1
        yield from ("null" for _ in range(following, self._count))


def _write_list(file: BinaryIO, entries: Iterator[str]) -> None:
    file.write(b"[")
    for index, entry in enumerate(entries):
        file.write(f", {entry}".encode() if index else entry.encode())
    file.write(b"]")


def _dump(content: Any) -> str:
    return json.dumps(content, allow_nan=False)
