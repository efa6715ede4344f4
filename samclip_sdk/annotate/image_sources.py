"""Sources of images: a folder, a pattern, Parquet files, or a URL of any of them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from pydantic import TypeAdapter

from samclip_sdk.annotate.image_files import (
    ImageFile,
    Skipped,
    find_images,
    has_magic,
    match_images,
    split_pattern,
)
from samclip_sdk.annotate.parquet_rows import ENDINGS, ParquetImage, find_rows, parquet_files
from samclip_sdk.annotate.remote_files import JOINT, RemoteImage, find_remote, is_url
from samclip_sdk.errors import ImageError, OptionError, StorageError, one_line

SourceImage: TypeAlias = ImageFile | RemoteImage | ParquetImage
"""An image that is not read yet: its name, its size and time, and `content()`."""

# It stands in this module because pydantic 2.5 looks for the types where the adapter is made.
IMAGES: TypeAdapter[SourceImage] = TypeAdapter(SourceImage)
"""Writes images as JSON for other processes, and reads them."""


@dataclass(frozen=True)
class Listing:
    """The images of a source.

    Attributes:
        source: the source, as it was given.
        images: the images, in the order of the output.
        skipped: the files that certainly cannot be read.
    """

    source: str
    images: tuple[SourceImage, ...]
    skipped: tuple[Skipped, ...]

    def check(self) -> None:
        """Refuses a source without images.

        Raises:
            ImageError: no file there could be an image.
        """
        if not self.images and not self.skipped:
            raise ImageError(
                f"no image files in {one_line(self.source)}: looked for .jpg, .png and the like"
            )


def list_source(
    source: str | os.PathLike[str],
    *,
    column: str | None = None,
    folder: str | os.PathLike[str] | None = None,
    follow_urls: bool = False,
    leave_out: tuple[Path, ...] = (),
) -> Listing:
    """Lists the images of a source, and reads none of them.

    Paths are absolute, so that any process on this machine can read them.

    Args:
        source: a folder; a pattern, `photos/**/*.jpg`; a Parquet file or a pattern of them; or a
            URL of any of these.
        column: the column of Parquet files that holds images' bytes or paths; see `find_rows`.
        folder: the folder, or its URL, in which the paths of Parquet files begin and below which
            they stay; by default the folder of each file.
        follow_urls: whether images are fetched that rows of Parquet files name by URL.
        leave_out: files and folders in a folder that this package writes itself.

    Raises:
        StorageError: the source does not exist or cannot be listed, or a Parquet file has no such
            column.
        OptionError: a column, a folder or `follow_urls` for a source that is not Parquet.
        RuntimeMissingError: a package for such a source is missing.
    """
    text = os.fspath(source)
    location = text if is_url(text) else os.path.abspath(text)
    named = text.partition(JOINT)[0] if is_url(text) else text
    parquet = named.lower().endswith(ENDINGS) and not os.path.isdir(text)
    for name, value in {"column": column, "folder": folder, "follow_urls": follow_urls}.items():
        if value not in (None, False) and not parquet:
            raise OptionError(f"{name} {value}: {one_line(text)} is no Parquet file")
    if parquet:
        files = parquet_files(location) if is_url(text) else _local_parquet(location)
        images, skipped = find_rows(
            files, column=column, folder=_check_folder(folder), follow_urls=follow_urls
        )
        return Listing(text, tuple(images), tuple(skipped))
    found: tuple[list[RemoteImage], list[Skipped]] | tuple[list[ImageFile], list[Skipped]]
    if is_url(text):
        found = find_remote(location)
    elif has_magic(text) and not os.path.isdir(text):
        found = match_images(location, leave_out=leave_out)
    elif not os.path.isdir(text):
        raise StorageError(
            f"{one_line(text) or repr('')} is not a folder, nor a pattern, a Parquet file or a URL"
        )
    else:
        found = find_images(location, leave_out=leave_out)
    return Listing(text, tuple(found[0]), tuple(found[1]))


def _check_folder(folder: str | os.PathLike[str] | None) -> str | None:
    """The absolute path of a folder, or its URL; refuses a path that is no folder."""
    if folder is None or is_url(folder):
        return None if folder is None else os.fspath(folder)
    if not os.path.isdir(folder):
        raise StorageError(f"{one_line(os.fspath(folder))} is not a folder")
    return os.path.abspath(folder)


def _local_parquet(text: str) -> dict[str, str]:
    """The Parquet files of a path or a pattern: name inside the source -> path."""
    if has_magic(text) and not os.path.exists(text):
        root, rest = split_pattern(text)
        found = {path.relative_to(root).as_posix(): str(path) for path in root.glob(rest)}
    else:
        found = {Path(text).name: text} if os.path.isfile(text) else {}
    if not found:
        raise StorageError(f"{one_line(text)}: no such file")
    return dict(sorted(found.items()))
