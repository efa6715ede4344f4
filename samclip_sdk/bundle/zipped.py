"""A zipped bundle -> a folder, whole or not at all, and nothing outside of that folder."""

from __future__ import annotations

import hashlib
import stat
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from samclip_sdk.bundle.graph_spec import StoredFile
from samclip_sdk.bundle.manifest import MANIFEST_NAME, MAX_MANIFEST_BYTES, SIGNATURE_NAME
from samclip_sdk.bundle.signature import SIGNATURE_BYTES
from samclip_sdk.errors import BundleError, BundleTamperedError, one_line
from samclip_sdk.system.atomic_folder import scratch_folder, settle
from samclip_sdk.system.records import check_relative_path

_CHUNK_BYTES = 1 << 20
_ENCRYPTED = 1
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""With these alone, `read(n)` expands no more than n bytes, whatever the headers say."""
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,  # a version of the format that Python does not know
    ValueError,  # a name that is not UTF-8, or places before the beginning
)


class ZippedBundle:
    """A .zip of a bundle's files, or of the folder that holds them.

    Args:
        path: the file.

    Attributes:
        manifest: the manifest's bytes.
        signature: the content of manifest.sig; None if there is no such member.

    Raises:
        BundleError: it is no zip file, is damaged, has no manifest, or has a member that is a link,
            encrypted, there twice, neither stored nor deflated, or leads out of the folder.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with _opened(path) as archive:
            members = {info.filename: info for info in archive.infolist()}
            if len(members) != len(archive.infolist()):
                raise BundleError(f"{path} has two members of one name")
            for info in members.values():
                _check_member(info, path=path)
            # At the top, or in the one folder that was zipped.
            found = [n for n in members if n.split("/")[-1] == MANIFEST_NAME and n.count("/") < 2]
            if len(found) != 1:
                raise BundleError(f"{path} is not a bundle: it has no {MANIFEST_NAME} at its top")
            self._prefix = found[0].removesuffix(MANIFEST_NAME)
            self.manifest = _beginning(archive, found[0], size=MAX_MANIFEST_BYTES + 1)
            if len(self.manifest) > MAX_MANIFEST_BYTES:
                raise BundleError(f"{path} is not a bundle: its {MANIFEST_NAME} is too large")
            signature = self._prefix + SIGNATURE_NAME
            self.signature: bytes | None = None
            if signature in members:
                self.signature = _beginning(archive, signature, size=SIGNATURE_BYTES + 1)

    def unpack(self, target: Path, *, files: Sequence[StoredFile]) -> None:
        """Unpacks the manifest, its signature and the files that it lists, verified on the way.

        Args:
            target: the folder to make. If another process makes it meanwhile, that one stays.
            files: the files of the bundle, without the manifest.

        Raises:
            BundleError: a file is missing, or the .zip is damaged.
            BundleTamperedError: a file is not the one that the manifest states.
            StorageError: the folder cannot be written.
        """
        with _opened(self._path) as archive, scratch_folder(target) as scratch:
            folder = scratch / "bundle"
            folder.mkdir()
            for stored in files:
                self._unpack(archive, stored=stored, path=folder / stored.path)
            (folder / MANIFEST_NAME).write_bytes(self.manifest)
            if self.signature is not None:
                (folder / SIGNATURE_NAME).write_bytes(self.signature)
            settle(folder, target)

    def _unpack(self, archive: zipfile.ZipFile, *, stored: StoredFile, path: Path) -> None:
        try:
            info = archive.getinfo(self._prefix + stored.path)
        except KeyError as error:
            raise BundleError(f"{stored.path} is missing from {self._path}") from error
        digest = hashlib.sha256()
        # The size first: a small member can expand to more than any disk holds.
        if info.file_size == stored.size_bytes:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                for chunk in _chunks(archive, info):
                    digest.update(chunk)
                    file.write(chunk)
        if digest.hexdigest() != stored.sha256:
            raise BundleTamperedError(
                f"{stored.path} in {self._path} was changed: its sha256 is not the manifest's"
            )


def _beginning(archive: zipfile.ZipFile, name: str, *, size: int) -> bytes:
    """The first bytes of a member, at most `size`."""
    with archive.open(name) as file:
        return file.read(size)


def _chunks(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    """The content of a member. An OSError here is damage, not an error of writing."""
    try:
        with archive.open(info) as source:
            while chunk := source.read(_CHUNK_BYTES):
                yield chunk
    except OSError as error:
        raise zipfile.BadZipFile(f"{one_line(info.filename)}: {error}") from error


def _check_member(info: zipfile.ZipInfo, *, path: Path) -> None:
    name = one_line(info.filename)
    try:
        check_relative_path(info.filename.removesuffix("/"))
    except ValueError as error:
        raise BundleError(f"{path} has a member that leads out of it: {name}") from error
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise BundleError(f"{path} has a member that is a link or a device: {name}")
    if info.flag_bits & _ENCRYPTED:
        raise BundleError(f"{path} is encrypted")
    if info.compress_type not in _COMPRESSIONS:
        raise BundleError(
            f"{path} has a member that is neither stored nor deflated: {name}; zip the folder again"
        )


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Opens a .zip for reading; damage anywhere in it becomes a BundleError."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except _DAMAGE as error:
        raise BundleError(f"{path} is not a .zip file, or damaged: {one_line(error)}") from error
    except MemoryError as error:
        raise BundleError(
            f"{path} is refused: opening it takes more memory than there is"
        ) from error
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror or error}") from error
