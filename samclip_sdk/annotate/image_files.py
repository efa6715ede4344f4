"""The image files of a folder or a pattern: which count, in which order, and why some do not."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from pathlib import Path, PurePosixPath

from samclip_sdk.errors import ImageError, StorageError, one_line
from samclip_sdk.image.loading import IMAGE_ENDINGS, open_image
from samclip_sdk.system.records import Record

GIVEN = "what was given"
"""The name in errors of an image that came as bytes, as in `samclip_sdk.image.loading`."""


@dataclass(frozen=True)
class ImageFile:
    """A file that may be an image.

    Attributes:
        path: the path of the file.
        name: the path inside the folder, with forward slashes.
        size_bytes: the size of the file.
        modified_ns: the time of the last change. A file was replaced if its time or size differs.
    """

    path: Path
    name: str
    size_bytes: int
    modified_ns: int

    def content(self) -> Path:
        """The path that the image is read from."""
        return self.path


class Skipped(Record):
    """An image or folder that gives no annotation.

    Attributes:
        name: its path inside the folder, with forward slashes.
        reason: why it was skipped.
    """

    name: str
    reason: str


def find_images(
    folder: str | os.PathLike[str], *, leave_out: tuple[Path, ...] = ()
) -> tuple[list[ImageFile], list[Skipped]]:
    """Lists the images in a folder and the folders below it, by name; opens none of them.

    A file counts as an image by the ending of its name, because labels, notes and films lie beside
    images. Hidden files and folders, links that leave the folder and linked folders are ignored.

    Args:
        folder: the folder to look through.
        leave_out: files and folders in it that this package writes itself.

    Returns:
        The images in the order of their names, and the files that certainly cannot be read.

    Raises:
        StorageError: there is no such folder.
    """
    root = Path(folder)
    if not os.path.isdir(folder):  # Unlike Path.is_dir, whatever the name is: empty, or too long.
        raise StorageError(f"{one_line(os.fspath(folder)) or repr('')} is not a folder")
    skipped: list[Skipped] = []
    found = _visible_files(root, skipped=skipped)
    return _image_files(found, root=root, leave_out=leave_out, skipped=skipped), skipped


def match_images(
    pattern: str, *, leave_out: tuple[Path, ...] = ()
) -> tuple[list[ImageFile], list[Skipped]]:
    """Lists the images whose paths match a pattern; opens none of them.

    The same files count as in `find_images`. Names are relative to the folder in front of the
    first `*`, `?` or `[`.

    Args:
        pattern: a pattern of `pathlib`, such as `photos/**/*.jpg`.
        leave_out: files and folders of files that match and that this package writes itself.

    Returns:
        The images in the order of their names, and the files that certainly cannot be read. Both
        lists are empty if nothing matches.
    """
    root, rest = split_pattern(pattern)
    inside = os.path.realpath(root)
    found = (path for path in root.glob(rest) if _is_visible(path, root=root, inside=inside))
    skipped: list[Skipped] = []
    return _image_files(found, root=root, leave_out=leave_out, skipped=skipped), skipped


def split_pattern(pattern: str) -> tuple[Path, str]:
    """The folder in front of the first part that holds `*`, `?` or `[`, and the rest."""
    parts = Path(pattern).parts
    plain = list(takewhile(lambda part: not has_magic(part), parts))
    return Path(*plain), "/".join(parts[len(plain) :])


def has_magic(text: str) -> bool:
    """Whether a path is a pattern."""
    return any(sign in text for sign in "*?[")


def is_image_name(name: str) -> bool:
    """Whether a file of this name counts as an image: its ending is one, and it is not hidden."""
    last = PurePosixPath(name)
    return last.suffix.lower() in IMAGE_ENDINGS and not last.name.startswith(".")


def not_utf8(name: str) -> Skipped | None:
    """The skipped image, if JSON cannot hold its name; else None."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        shown = name.encode("utf-8", "replace").decode()
        return Skipped(name=shown, reason="its name is not valid UTF-8: rename it")
    return None


def _image_files(
    paths: Iterable[Path], *, root: Path, leave_out: tuple[Path, ...], skipped: list[Skipped]
) -> list[ImageFile]:
    """The images among files, which are not opened; adds those to skip to `skipped`."""
    own = {Path(os.path.realpath(path)) for path in leave_out}
    real = cache(os.path.realpath)
    images: list[ImageFile] = []
    for path in paths:
        resolved = Path(real(path.parent), path.name)
        if not own.isdisjoint((Path(os.path.realpath(path)), *resolved.parents)):
            continue
        name = path.relative_to(root).as_posix()
        if (unfit := not_utf8(name)) is not None:
            skipped.append(unfit)
            continue
        try:
            found = path.stat()
        except OSError as error:
            skipped.append(Skipped(name=name, reason=error.strerror or str(error)))
        else:
            if stat.S_ISREG(found.st_mode):
                images.append(ImageFile(path, name, found.st_size, found.st_mtime_ns))
    return sorted(images, key=lambda image: image.name)


def check_still(source: Path | bytes) -> None:
    """Refuses a file, or the content of a file, that is empty or holds more than one image.

    An MPO of a phone, with a preview or a second view behind its image, counts as one image.

    Raises:
        ImageError: the reason.
    """
    name = GIVEN if isinstance(source, bytes) else one_line(source)
    with suppress(OSError):  # Reading the image will tell this error.
        if (len(source) if isinstance(source, bytes) else source.stat().st_size) == 0:
            raise ImageError(f"{name} is empty: 0 bytes")
    moves = False
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    with suppress(Exception), open_image(file) as image:  # Pillow raises errors of any kind here.
        moves = image.format != "MPO" and getattr(image, "is_animated", False)
    if moves:
        raise ImageError(f"{name} is animated or has several pages: save the one that counts")


def _visible_files(root: Path, *, skipped: list[Skipped]) -> Iterator[Path]:
    """The files of a folder that count as images; adds unreadable folders to `skipped`."""
    inside = os.path.realpath(root)

    def note(error: OSError) -> None:
        name = os.path.relpath(error.filename, root)
        reason = f"the folder cannot be read: {error.strerror}"
        skipped.append(Skipped(name=name, reason=reason))

    for where, folders, files in os.walk(root, onerror=note):
        folders[:] = [each for each in folders if not each.startswith(".")]
        for file in files:
            path = Path(where, file)
            if _is_visible(path, root=root, inside=inside):
                yield path


def _is_visible(path: Path, *, root: Path, inside: str) -> bool:
    """Whether a file counts: named like an image, not hidden, and not a link out of the folder."""
    hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
    leaves = path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(inside)
    return is_image_name(path.name) and not hidden and not leaves
