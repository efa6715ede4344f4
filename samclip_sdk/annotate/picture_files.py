"""Which files of a folder are looked at, in which order, and why some are not."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from samclip_sdk.bundle.graph_spec import Record
from samclip_sdk.errors import ImageError, StorageError
from samclip_sdk.image import PICTURE_ENDINGS, open_image


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
    if not root.is_dir():
        raise StorageError(f"{root} is not a folder")
    own = {os.path.realpath(path) for path in leave_out}
    pictures: list[PictureFile] = []
    skipped: list[Skipped] = []
    for path in _visible_files(root, skipped=skipped):
        if os.path.realpath(path) in own:
            continue
        name = path.relative_to(root).as_posix()
        try:
            name.encode("utf-8")
            found = path.stat()
        except UnicodeEncodeError:
            shown = name.encode("utf-8", "replace").decode()
            reason = "its name is not valid UTF-8: rename it"
            skipped.append(Skipped(name=shown, reason=reason))
        except OSError as error:
            skipped.append(Skipped(name=name, reason=error.strerror or str(error)))
        else:
            if stat.S_ISREG(found.st_mode):
                pictures.append(PictureFile(path, name, found.st_size, found.st_mtime_ns))
    return sorted(pictures, key=lambda picture: picture.name), skipped


def check_still(path: Path) -> None:
    """Refuses a file that is empty or holds more than one picture.

    A phone's MPO holds a preview or a second view behind its picture, and counts as one.

    Raises:
        ImageError: the reason.
    """
    with suppress(OSError):  # Who reads the picture tells what is wrong with it.
        if path.stat().st_size == 0:
            raise ImageError(f"{path} is empty: 0 bytes")
    moves = False
    with suppress(Exception), open_image(path) as image:  # As wide as what Pillow raises here.
        moves = image.format != "MPO" and getattr(image, "is_animated", False)
    if moves:
        raise ImageError(f"{path} is animated or has several pages: save the one that counts")


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
            leaves = path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(inside)
            if path.suffix.lower() in PICTURE_ENDINGS and not file.startswith(".") and not leaves:
                yield path
