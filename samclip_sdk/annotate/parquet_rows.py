"""Images in Parquet files: a column holds their bytes, or their paths."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from samclip_sdk.annotate.image_files import ImageFile, Skipped
from samclip_sdk.annotate.remote_files import (
    HOLDS_JOINT,
    JOINT,
    RemoteImage,
    is_url,
    list_files,
    modified_ns,
    open_store,
)
from samclip_sdk.errors import ImageError, StorageError, one_line
from samclip_sdk.system.packages import import_runtime

ENDINGS = (".parquet", ".parq")
COLUMNS = ("image", "bytes", "path")
"""The columns to look for, in this order, if none is named; `image` is that of Hugging Face."""


@dataclass(frozen=True)
class ParquetImage:
    """A row of a Parquet file that holds an image's bytes.

    Attributes:
        file: the path or URL of the file.
        column: the column of the bytes.
        group: the number of the row group, from 0.
        row: the number of the row in its group, from 0.
        name: the file's name inside the source, and the row in it, from 0: `a.parquet#12`.
        size_bytes: the size of the file. In a file that was replaced, all rows count as replaced.
        modified_ns: the time of the last change of the file.
    """

    file: str
    column: str
    group: int
    row: int
    name: str
    size_bytes: int
    modified_ns: int

    def content(self) -> bytes:
        """The content of the image.

        Raises:
            ImageError: the row holds no image, or the file cannot be read.
        """
        try:
            found = _read_column(self.file, self.column, self.group, self.modified_ns)[self.row]
        except StorageError as error:
            raise ImageError(str(error)) from error
        value = found.as_py()
        if isinstance(value, Mapping):
            value = value["bytes"]
        if value is None:
            raise ImageError(f"the column {self.column} is empty in this row")
        return bytes(value)


def find_rows(
    files: Mapping[str, str],
    *,
    column: str | None,
    folder: str | None = None,
    follow_urls: bool = False,
) -> tuple[list[ParquetImage | ImageFile | RemoteImage], list[Skipped]]:
    """Lists the images of Parquet files, in the order of their rows; reads no image.

    A column of bytes, or of Hugging Face's structs with `bytes`, holds the images themselves. A
    column of texts holds paths or URLs. The file may come from a stranger: a path that leads out of
    the folder, in whatever way, is skipped, and so is a URL unless `follow_urls` is true.

    Args:
        files: name inside the source -> path or URL.
        column: the name of the column; if None, the first of `COLUMNS` that is there.
        folder: the folder, or its URL, in which paths begin and below which they stay; by default
            the folder of each file.
        follow_urls: whether images are fetched that rows name by URL.

    Raises:
        RuntimeMissingError: pyarrow or fsspec is missing.
        StorageError: a file is no Parquet file, or has no such column.
    """
    images: list[ParquetImage | ImageFile | RemoteImage] = []
    skipped: list[Skipped] = []
    seen: set[str] = set()
    for name, file in files.items():
        with _opened(file) as parquet:
            found = _column(parquet.schema_arrow, column, file=file)
            if not _is_text(parquet.schema_arrow.field(found).type):
                images += _rows(parquet, found, file=file, name=name)
                continue
            values = parquet.read(columns=[found]).column(0).to_pylist()
        base = folder or _folder_of(file)
        for row, value in enumerate(values):
            where = f"{name}#{row}"
            image = _image_at(value, base=base, row=where, seen=seen, follow_urls=follow_urls)
            (skipped if isinstance(image, Skipped) else images).append(image)  # type: ignore[arg-type]  # mypy joins both lists
    return images, skipped


def _rows(parquet: Any, column: str, *, file: str, name: str) -> Iterator[ParquetImage]:
    size, modified = _stat(file)
    number = 0
    for group in range(parquet.num_row_groups):
        for row in range(parquet.metadata.row_group(group).num_rows):
            yield ParquetImage(file, column, group, row, f"{name}#{number}", size, modified)
            number += 1


def _image_at(
    value: str | None, *, base: str, row: str, seen: set[str], follow_urls: bool
) -> ImageFile | RemoteImage | Skipped:
    """The image that a row names; a name of an earlier row is skipped: it has its answer."""
    if value is None:
        return Skipped(name=row, reason="this row has no path")
    if value in seen:
        return Skipped(name=row, reason=f"{one_line(value)} is named by an earlier row, too")
    seen.add(value)
    if is_url(value) and not follow_urls:
        reason = "it is a URL: give --follow-urls (follow_urls=True) to fetch what the rows name"
        return Skipped(name=value, reason=reason)
    try:
        url = value if is_url(value) else _url_below(base, value) if is_url(base) else None
        if url is not None:
            files, path = open_store(url)
            return RemoteImage(url, value, files.info(path)["size"] or 0, modified_ns(url))
        where = _path_below(base, value)
        found = where.stat()
        if not stat.S_ISREG(found.st_mode):
            return Skipped(name=value, reason="it is not a file")
        return ImageFile(where, value, found.st_size, found.st_mtime_ns)
    except Exception as error:  # Each store has errors of its own.
        reason = getattr(error, "strerror", None) or one_line(error)
        return Skipped(name=value, reason=reason)


def _folder_of(file: str) -> str:
    """The folder of a path or URL, in the same store."""
    if not is_url(file):
        return os.path.dirname(file)
    path, joint, outer = file.partition(JOINT)
    return f"{path.rpartition('/')[0]}{joint}{outer}"


def _path_below(folder: str, path: str) -> Path:
    """The real path of a path in a folder.

    Raises:
        ImageError: it leads out of the folder, by itself or by a link.
    """
    inside = os.path.realpath(folder)
    meant = Path(os.path.abspath(os.path.join(folder, path)))
    # A path that leads out without links is not even looked up: on Windows it may name a machine.
    if any(meant.is_relative_to(each) for each in (os.path.abspath(folder), inside)):
        found = Path(os.path.realpath(meant))
        if found.is_relative_to(inside):
            return found
    raise _outside(folder)


def _url_below(folder: str, path: str) -> str:
    """The URL of a path in a folder of a store.

    Raises:
        ImageError: it leads out of the folder, or into another store.
    """
    if JOINT in path or ".." in re.split(r"[/\\]", unquote(path)):
        raise _outside(folder)
    inside, joint, outer = folder.partition(JOINT)
    return f"{inside.rstrip('/')}/{path}{joint}{outer}"


def _outside(folder: str) -> ImageError:
    return ImageError(
        f"it lies outside {one_line(folder)}: give the folder of the images, with --folder "
        "(folder=)"
    )


def _column(schema: Any, asked: str | None, *, file: str) -> str:
    """The column that holds images.

    Raises:
        StorageError: there is none.
    """
    names = (asked,) if asked else COLUMNS
    for name in names:
        if name in schema.names and _holds_images(schema.field(name).type):
            return name
    there = ", ".join(f"{one_line(each.name)} ({each.type})" for each in schema)
    wanted = f"column {asked}" if asked else f"column {', '.join(COLUMNS[:-1])} or {COLUMNS[-1]}"
    raise StorageError(
        f"{one_line(file)} has no {wanted} that holds an image's bytes or its path; it has "
        f"{one_line(there)}: name one with --column (column=)"
    )


def _holds_images(kind: Any) -> bool:
    types = import_runtime("pyarrow.types", extra="remote")
    if types.is_struct(kind):
        index = kind.get_field_index("bytes")  # below 0, too, where two fields have this name
        return index >= 0 and _is_bytes(kind.field(index).type)
    return _is_bytes(kind) or _is_text(kind)


def _is_bytes(kind: Any) -> bool:
    types = import_runtime("pyarrow.types", extra="remote")
    checks = ("is_binary", "is_large_binary", "is_fixed_size_binary", "is_binary_view")
    return any(getattr(types, each)(kind) for each in checks if hasattr(types, each))


def _is_text(kind: Any) -> bool:
    types = import_runtime("pyarrow.types", extra="remote")
    return bool(types.is_string(kind) or types.is_large_string(kind))


@lru_cache(maxsize=2)
def _read_column(file: str, column: str, group: int, modified: int) -> Any:
    """A column of a row group, kept because rows are read in their order; `modified` is a key."""
    with _opened(file) as parquet:
        return parquet.read_row_group(group, columns=[column]).column(0)


@contextmanager
def _opened(file: str) -> Iterator[Any]:
    """Opens a Parquet file by its path or URL.

    Raises:
        StorageError: it cannot be read, or is no Parquet file.
    """
    parquet = import_runtime("pyarrow.parquet", extra="remote")
    try:
        if is_url(file):
            files, path = open_store(file)
            with files.open(path, "rb") as stream:
                yield parquet.ParquetFile(stream)
        else:
            with parquet.ParquetFile(file) as opened:
                yield opened
    except StorageError:
        raise
    except Exception as error:  # pyarrow and each store have errors of their own.
        raise StorageError(f"{one_line(file)} cannot be read as Parquet: {one_line(error)}") from (
            error
        )


def _stat(file: str) -> tuple[int, int]:
    if is_url(file):
        files, path = open_store(file)
        return int(files.info(path)["size"] or 0), modified_ns(file)
    found = os.stat(file)
    return found.st_size, found.st_mtime_ns


def parquet_files(source: str) -> dict[str, str]:
    """The Parquet files of a URL: name inside the source -> URL.

    Raises:
        StorageError: see `list_files`; or a name would be read as another URL.
    """
    found = {}
    for name, (index, _) in list_files(source).items():
        if name.lower().endswith(ENDINGS):
            if JOINT in name:
                raise StorageError(f"{one_line(name)}: {HOLDS_JOINT}")
            found[name] = index
    return found
