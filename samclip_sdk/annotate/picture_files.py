"""Which files of a folder are looked at, in which order, and why some are not."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path, PurePosixPath

from samclip_sdk.errors import ImageError, StorageError, one_line
from samclip_sdk.picture.image import PICTURE_ENDINGS, open_image
from samclip_sdk.system.records import Record

GIVEN = "what was given"
"""What errors call a picture that came as bytes, as in `samclip_sdk.picture.image`."""


@dataclass(frozen=True)
class PictureFile:
    """A file that may be a picture.

    Attributes:
        path: where it lies.
        name: its path inside the folder, with forward slashes.
        size_bytes: of the file.
        modified_ns: when it was last written; with the size it tells a file that was replaced.
    """

    path: Path
    name: str
    size_bytes: int
    modified_ns: int

    def content(self) -> Path:
        """What the picture is read from."""
        return self.path


class Skipped(Record):
    """A picture or folder that gives no annotation.

    Attributes:
        name: its path inside the folder, with forward slashes.
        reason: what is wrong with it.
    """

    name: str
    reason: str


def find_pictures(
    folder: str | os.PathLike[str], *, leave_out: tuple[Path, ...] = ()
) -> tuple[list[PictureFile], list[Skipped]]:
    """Lists the pictures in a folder and the folders below it, by name; opens none of them.

    What a picture is tells the ending of its name: labels, notes and films lie beside pictures.
    Hidden files and folders, links that leave the folder and linked folders are passed over.

    Args:
        folder: to look through.
        leave_out: files of our own that may lie in it.

    Returns:
        The pictures in the order of their names, and those that cannot be read for certain.

    Raises:
        StorageError: there is no such folder.
    """
    root = Path(folder)
    if not os.path.isdir(folder):  # Unlike Path.is_dir, whatever the name is: empty, or too long.
        raise StorageError(f"{one_line(os.fspath(folder)) or repr('')} is not a folder")
    skipped: list[Skipped] = []
    found = _visible_files(root, skipped=skipped)
    return _picture_files(found, root=root, leave_out=leave_out, skipped=skipped), skipped


def match_pictures(
    pattern: str, *, leave_out: tuple[Path, ...] = ()
) -> tuple[list[PictureFile], list[Skipped]]:
    """Lists the pictures whose paths match a pattern, as `find_pictures` does those of a folder.

    Names are relative to the folder in front of the first `*`, `?` or `[`.

    Args:
        pattern: as `pathlib` has it: `photos/**/*.jpg`.
        leave_out: as there.

    Returns:
        As there; nothing if nothing matches.
    """
    root, rest = split_pattern(pattern)
    inside = os.path.realpath(root)
    found = (path for path in root.glob(rest) if _is_visible(path, root=root, inside=inside))
    skipped: list[Skipped] = []
    return _picture_files(found, root=root, leave_out=leave_out, skipped=skipped), skipped


def split_pattern(pattern: str) -> tuple[Path, str]:
    """The folder in front of the first part of a path that holds `*`, `?` or `[`, and the rest."""
    parts = Path(pattern).parts
    plain = list(takewhile(lambda part: not has_magic(part), parts))
    return Path(*plain), "/".join(parts[len(plain) :])


def has_magic(text: str) -> bool:
    """Whether a path is a pattern."""
    return any(sign in text for sign in "*?[")


def is_picture_name(name: str) -> bool:
    """Whether what is called so counts as a picture: by its ending, and not hidden."""
    last = PurePosixPath(name)
    return last.suffix.lower() in PICTURE_ENDINGS and not last.name.startswith(".")


def not_utf8(name: str) -> Skipped | None:
    """A picture whose name no JSON can hold, with the reason; None if it can."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        shown = name.encode("utf-8", "replace").decode()
        return Skipped(name=shown, reason="its name is not valid UTF-8: rename it")
    return None


def _picture_files(
    paths: Iterable[Path], *, root: Path, leave_out: tuple[Path, ...], skipped: list[Skipped]
) -> list[PictureFile]:
    """Looks at files without opening them, and notes those that cannot be read for certain."""
    own = {os.path.realpath(path) for path in leave_out}
    pictures: list[PictureFile] = []
    for path in paths:
        if os.path.realpath(path) in own:
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
                pictures.append(PictureFile(path, name, found.st_size, found.st_mtime_ns))
    return sorted(pictures, key=lambda picture: picture.name)


def check_still(source: Path | bytes) -> None:
    """Refuses a file, or the content of one, that is empty or holds more than one picture.

    A phone's MPO holds a preview or a second view behind its picture, and counts as one.

    Raises:
        ImageError: the reason.
    """
    name = GIVEN if isinstance(source, bytes) else one_line(source)
    with suppress(OSError):  # Who reads the picture tells what is wrong with it.
        if (len(source) if isinstance(source, bytes) else source.stat().st_size) == 0:
            raise ImageError(f"{name} is empty: 0 bytes")
    moves = False
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    with suppress(Exception), open_image(file) as image:  # As wide as what Pillow raises here.
        moves = image.format != "MPO" and getattr(image, "is_animated", False)
    if moves:
        raise ImageError(f"{name} is animated or has several pages: save the one that counts")


def _visible_files(root: Path, *, skipped: list[Skipped]) -> Iterator[Path]:
    """What is called like a picture, is not hidden and does not lie outside."""
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
    """Whether a file of a folder counts: called like a picture, not hidden, and no way out."""
    hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
    leaves = path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(inside)
    return is_picture_name(path.name) and not hidden and not leaves
