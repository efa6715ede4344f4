"""Images behind a URL that fsspec reaches, such as s3://, gs:// or https://."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from samclip_sdk.annotate.image_files import Skipped, has_magic, is_image_name, not_utf8
from samclip_sdk.errors import ImageError, RuntimeMissingError, StorageError, one_line
from samclip_sdk.system.packages import import_runtime

_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)

JOINT = "::"
"""The sign between joined URLs: `zip://a.png::https://host/all.zip`. In the name of a file it would
lead elsewhere."""

HOLDS_JOINT = f"its name holds {JOINT}, which joins URLs: rename it"


@dataclass(frozen=True)
class RemoteImage:
    """An image in a store that fsspec reaches.

    Attributes:
        url: the URL of the image.
        name: the path inside the source, with forward slashes.
        size_bytes: the size of the file.
        modified_ns: the time of the last change; 0 if the store does not tell it.
    """

    url: str
    name: str
    size_bytes: int
    modified_ns: int

    def content(self) -> bytes:
        """The content of the image.

        Raises:
            ImageError: it cannot be fetched.
        """
        try:
            files, path = open_store(self.url)
            found: bytes = files.cat_file(path)
        except Exception as error:  # Each store has errors of its own.
            raise ImageError(f"{self.url} cannot be fetched: {one_line(error)}") from error
        return found


def is_url(source: str | os.PathLike[str]) -> bool:
    """Whether a source is a URL, and not a path."""
    return _URL.match(os.fspath(source)) is not None


def open_store(url: str) -> tuple[Any, str]:
    """The fsspec file system that a URL belongs to, and the path inside it.

    Raises:
        RuntimeMissingError: fsspec or the package for this kind of store is missing.
        StorageError: fsspec knows no such kind of store.
    """
    fsspec = import_runtime("fsspec", extra="remote")
    try:
        files, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise RuntimeMissingError(
            f"{one_line(url)} needs a package that is not installed: {error}"
        ) from error
    except ValueError as error:
        raise StorageError(f"{one_line(url)} cannot be opened: {one_line(error)}") from error
    return files, path


def list_files(url: str) -> dict[str, tuple[str, int]]:
    """The files of a URL, which names a folder, a pattern or one file.

    Returns:
        Name inside the source -> URL and size in bytes, in the order of the names.

    Raises:
        RuntimeMissingError: see `open_store`.
        StorageError: it cannot be listed, or holds no file.
    """
    files, path = open_store(url)
    with _listing(url):
        if has_magic(path):
            found, root = files.glob(path, detail=True), _root(path)
        else:
            found, root = files.find(path, detail=True), path
    if not found:
        raise StorageError(f"{one_line(url)}: nothing is there")
    outer = url.partition(JOINT)[2]
    names = {}
    for each, info in found.items():
        if info["type"] == "file":
            file_url = files.unstrip_protocol(each) + (f"{JOINT}{outer}" if outer else "")
            name = each if each == root else each.removeprefix(root).lstrip("/")
            names[PurePosixPath(name).name if each == root else name] = (
                file_url,
                info["size"] or 0,
            )
    return dict(sorted(names.items()))


def find_remote(url: str) -> tuple[list[RemoteImage], list[Skipped]]:
    """Lists the images of a folder in a store, or those that match a pattern; reads none.

    A file counts if it is named like an image and is not hidden. A name that would be read as
    another URL, or that COCO JSON cannot hold, is skipped.

    Raises:
        RuntimeMissingError: see `open_store`.
        StorageError: it cannot be listed, or holds no file.
    """
    images, skipped = [], []
    for name, (file_url, size) in list_files(url).items():
        hidden = any(part.startswith(".") for part in PurePosixPath(name).parts)
        if not is_image_name(name) or hidden:
            continue
        if JOINT in name:
            skipped.append(Skipped(name=name, reason=HOLDS_JOINT))
        elif (unfit := not_utf8(name)) is not None:
            skipped.append(unfit)
        else:
            images.append(RemoteImage(file_url, name, size, modified_ns(file_url)))
    return images, skipped


def modified_ns(url: str) -> int:
    """The time of the last change of a file in a store; 0 if the store does not tell it."""
    files, path = open_store(url)
    with suppress(Exception):  # A store without times raises an error of its own.
        return int(files.modified(path).timestamp() * 1e9)
    return 0


def _root(pattern: str) -> str:
    """The folder in front of the first part of a path that is a pattern."""
    parts = pattern.split("/")
    first = next(file_url for file_url, part in enumerate(parts) if has_magic(part))
    return "/".join(parts[:first])


@contextmanager
def _listing(url: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # Each store has errors of its own.
        raise StorageError(f"{one_line(url)} cannot be listed: {one_line(error)}") from error
