"""Opens a bundle that is on this disk: a folder, a .zip, or the name of an embedded bundle.

`samclip_sdk.bundle.hub` opens bundles of a hub. No file of a bundle is used before its bytes have
the sha256 that the manifest states, and no path, symbolic link or zip member leads out of it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from pydantic import TypeAdapter, ValidationError

from samclip_sdk.bundle.files import GraphFile, inside, size_bytes, verify_file
from samclip_sdk.bundle.graph_spec import Artifact, StoredFile
from samclip_sdk.bundle.manifest import (
    MANIFEST_NAME,
    MAX_MANIFEST_BYTES,
    SCHEMA_VERSION,
    SIGNATURE_NAME,
    Manifest,
)
from samclip_sdk.bundle.onnx_files import check_named_files
from samclip_sdk.bundle.signature import SIGNATURE_BYTES, PublicKey
from samclip_sdk.bundle.zipped import ZippedBundle
from samclip_sdk.errors import (
    BundleError,
    BundleSchemaError,
    BundleTamperedError,
    StorageError,
    one_line,
)
from samclip_sdk.system.atomic_file import atomic_file
from samclip_sdk.system.atomic_folder import taking_turns
from samclip_sdk.system.records import check_values, first_fault
from samclip_sdk.system.user_folders import user_cache

EMBEDDED = Path(__file__).with_name("embedded")
DEFAULT_MODEL = "samclip-mobile"
DEFAULT_CHECKPOINT = "training/checkpoints/mobile/refinement"
"""Where a checkout has what the default model was exported from."""


class Origin(Protocol):
    """The place that brings the files of a bundle which are not in its folder yet."""

    @property
    def name(self) -> str:
        """The name that opens these very bytes again, `org/name@commit` for instance."""

    def fetch(self, files: Sequence[StoredFile]) -> None:
        """Puts those files into the folder that are not there; their bytes are then verified.

        Raises:
            SamClipError: it cannot be done; no half-written file is in the folder.
        """

    def signature(self) -> bytes | None:
        """The content of manifest.sig, which no manifest lists; None if there is no such file.

        Raises:
            SamClipError: the origin does not say.
        """


class Bundle:
    """An unpacked bundle.

    Args:
        root: its folder.
        content: the bytes of its manifest.
        origin: brings the missing files; None if all files must be there.

    Attributes:
        root: the folder, links resolved.
        manifest: the description of all that is in it.
        id: 16 hex digits of the manifest's sha256; they change with every byte of the bundle.

    Raises:
        BundleSchemaError: the manifest is not one that this version understands.
    """

    def __init__(self, root: Path, *, content: bytes, origin: Origin | None = None) -> None:
        self.root = Path(os.path.realpath(root))
        self.manifest = parse_manifest(content, source=root / MANIFEST_NAME)
        self.id = bundle_id(content)
        self._origin = origin
        self._files = {stored.path: stored for stored in self.manifest.stored_files()}
        self._verified: set[str] = set()

    @property
    def name(self) -> str:
        """The name that opens this bundle again, on the command line for instance."""
        return str(self.root) if self._origin is None else self._origin.name

    def gather(self, paths: Iterable[str]) -> None:
        """Brings missing files into the folder, all at once; a bundle on this disk has none.

        Args:
            paths: as in the manifest.

        Raises:
            BundleError: the manifest has no such file, a link leads outside, or the file's origin
                does not give it.
            StorageError: it cannot be written.
        """
        stored = [self._stored(path) for path in paths]
        for each in stored:
            inside(self.root, each.path)
        if self._origin is not None:
            self._origin.fetch(stored)

    def file(self, path: str) -> Path:
        """Finds a file of the bundle and verifies it, once.

        Args:
            path: as in the manifest, `tokenizer.json` for instance.

        Raises:
            BundleError: the manifest has no such file, it is missing, a link leads outside, or it
                is an .onnx file that reads others than its weights.
            BundleTamperedError: its bytes are not those that the manifest states.
            StorageError: it comes from a hub, and cannot be written.
        """
        stored = self._stored(path)
        found = inside(self.root, path)
        if path not in self._verified:
            self.gather([path])
            try:
                verify_file(found, stored=stored)
            except BundleTamperedError:
                if self._origin is None:
                    raise
                _remove(found)  # It was whole when it came, and was damaged here.
                self.gather([path])
                verify_file(found, stored=stored)
            if isinstance(stored, Artifact) and stored.runtime == "onnx":
                check_named_files(found, artifact=stored)
            self._verified.add(path)
        return found

    def verify(self) -> None:
        """Verifies every file that is here; a bundle without an origin must have all of them.

        Raises:
            SamClipError: see `file`.
        """
        for path in self._files:
            if self._origin is None or os.path.lexists(self.root / path):
                self.file(path)

    def signature(self) -> bytes | None:
        """The content of manifest.sig, to pass on with the bundle; None if it is not signed.

        Raises:
            BundleError: it cannot be read, or the bundle's origin does not say.
        """
        found = _signature(self.root)
        return found if found or self._origin is None else self._origin.signature()

    def _stored(self, path: str) -> StoredFile:
        stored = self._files.get(path)
        if stored is None:
            raise BundleError(f"the bundle {self.root} has no {one_line(path)}")
        return stored

    def graph_files(
        self, graph: str, *, runtime: str, precision: str | None = None
    ) -> tuple[GraphFile, ...]:
        """Finds a graph's artifacts for a runtime, and verifies them with their weights.

        Args:
            graph: a key of the manifest's graphs, `image_encoder@256` for instance.
            runtime: the runtime that reads them.
            precision: the wanted precision; the first in the manifest if None.

        Returns:
            One file, or several files for other lengths of axes.

        Raises:
            BundleError: there is no such graph or artifact, or a file of it is missing.
            BundleTamperedError: a file of it was changed.
        """
        spec = self.manifest.graphs.get(graph)
        if spec is None:
            raise BundleError(
                f"the bundle {self.manifest.name} has no graph {one_line(graph)}, only "
                f"{', '.join(self.manifest.graphs)}"
            )
        found = _pick(spec.artifacts, runtime=runtime, precision=precision)
        if not found:
            kinds = sorted({f"{each.runtime} {each.precision}" for each in spec.artifacts})
            wanted = f"{runtime} {precision}" if precision else runtime
            raise BundleError(
                f"the bundle {self.manifest.name} has {graph} for {', '.join(kinds)}, not for "
                f"{wanted}"
            )
        return tuple(self._graph_file(artifact) for artifact in found)

    def _graph_file(self, artifact: Artifact) -> GraphFile:
        for weights in artifact.weights:
            self.file(weights.path)
        path = self.file(artifact.path)
        return GraphFile(
            path,
            sha256=artifact.sha256,
            weights_sha256=tuple(weights.sha256 for weights in artifact.weights),
            precision=artifact.precision,
            axes=artifact.axes,
            proven=artifact.parity.measured_on is not None and artifact.parity.on_target,
        )


def open_bundle(
    source: str | os.PathLike[str], *, public_key: str | os.PathLike[str] | None = None
) -> Bundle:
    """Opens a bundle.

    A .zip is unpacked into the user's cache, under the bundle's id, and verified as a whole.

    Args:
        source: a folder, a .zip file, or the name of an embedded bundle ("samclip-mobile"),
            which wins over a folder of that name, `./samclip-mobile`.
        public_key: path of a PEM file with the Ed25519 key that must have signed the manifest;
            nothing else of a bundle is read before that is certain. If None, it need not be signed.

    Raises:
        OptionError: `public_key` is no such file.
        RuntimeMissingError: it is given, and the package cryptography is not installed.
        BundleSignatureError: the manifest is not signed, or not by that key.
        BundleError: there is no such bundle, or it is damaged, or leads out of its folder.
        BundleTamperedError: a file of a .zip was changed.
        BundleSchemaError: the manifest is not one that this version understands.
        StorageError: the cache cannot be written.
    """
    key = None if public_key is None else PublicKey(public_key)
    if is_embedded(source):
        return open_folder(EMBEDDED / source, key=key)
    path = Path(source)
    # Not pathlib's, which raise where a name is too long or a folder above is closed to us.
    if os.path.isdir(path):
        return open_folder(path, key=key)
    if os.path.isfile(path):
        return _open_zip(path, key=key)
    known = ", ".join(embedded_bundles()) or "none"
    raise BundleError(
        f"no bundle at {one_line(os.fspath(source))}: give a folder, a .zip, an embedded "
        f"bundle's name ({known}), or a repository of a hub, such as org/name"
    )


def embedded_bundles() -> tuple[str, ...]:
    """The names of the bundles inside the package."""
    return tuple(sorted(path.parent.name for path in EMBEDDED.glob(f"*/{MANIFEST_NAME}")))


def is_embedded(name: str | os.PathLike[str]) -> bool:
    """Whether a name, given as text, is that of a bundle inside the package.

    It then wins over a folder here. `./samclip-mobile` and a `Path` mean the folder.
    """
    return isinstance(name, str) and name in embedded_bundles()


def cache_folder() -> Path:
    """The folder that zipped bundles are unpacked into."""
    return user_cache("bundles")


def bundle_id(content: bytes) -> str:
    """The id of the bundle with this manifest."""
    return hashlib.sha256(content).hexdigest()[:16]


def parse_manifest(content: bytes, *, source: Path) -> Manifest:
    """Reads a manifest.

    Args:
        content: the bytes of the file.
        source: its name in errors.

    Raises:
        BundleSchemaError: it is no JSON, has another schema version or too many values, or breaks
            the schema.
    """
    try:
        check_values(content)
        # The version first: all else may be different in another one.
        raw = TypeAdapter(dict[str, Any]).validate_json(content)
        version = raw.get("schema_version")
        if version != SCHEMA_VERSION:
            raise BundleSchemaError(
                f"{one_line(source)} has schema version {one_line(version)}; this version of "
                f"samclip-sdk reads {SCHEMA_VERSION}: upgrade the package or export the bundle "
                "again"
            )
        return Manifest.model_validate_json(content)
    except ValueError as error:
        fault = first_fault(error) if isinstance(error, ValidationError) else error
        raise BundleSchemaError(f"{one_line(source)} is not a manifest: {fault}") from error


def open_folder(
    root: Path, *, key: PublicKey | None = None, origin: Origin | None = None
) -> Bundle:
    """Opens an unpacked bundle.

    Args:
        root: its folder.
        key: the key that must have signed it; it need not be signed if None.
        origin: brings the missing files.

    Raises:
        BundleError: it has no manifest that can be read, or is not signed by the key.
        BundleSchemaError: the manifest is not one that this version understands.
    """
    path = inside(Path(os.path.realpath(root)), MANIFEST_NAME)
    try:
        size = size_bytes(path)
    except FileNotFoundError as error:
        raise BundleError(f"{root} is not a bundle: it has no {MANIFEST_NAME}") from error
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}") from error
    if size > MAX_MANIFEST_BYTES:
        raise BundleError(f"{root} is not a bundle: its {MANIFEST_NAME} is too large")
    try:
        content = path.read_bytes()
        if key is not None:
            key.check(content, signature=_signature(root), source=one_line(root))
        return Bundle(root, content=content, origin=origin)
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}") from error


def _signature(root: Path) -> bytes | None:
    """The content of a folder's manifest.sig; None if there is no such file.

    Raises:
        BundleError: the file cannot be read, or is a link that leads out.
    """
    path = inside(Path(os.path.realpath(root)), SIGNATURE_NAME)
    try:
        size_bytes(path)
        with path.open("rb") as file:
            return file.read(SIGNATURE_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}") from error


def _open_zip(path: Path, *, key: PublicKey | None) -> Bundle:
    zipped = ZippedBundle(path)
    if key is not None:
        key.check(zipped.manifest, signature=zipped.signature, source=one_line(path))
    manifest = parse_manifest(zipped.manifest, source=path)
    target = cache_folder() / bundle_id(zipped.manifest)
    cached = _open_whole(target, zipped=zipped)
    if cached is not None:
        return cached
    with taking_turns(path):
        # Another process may have unpacked it meanwhile, and be using it.
        cached = _open_whole(target, zipped=zipped)
        if cached is not None:
            return cached
        _remove(target)
        try:
            zipped.unpack(target, files=manifest.stored_files())
        except StorageError as error:
            raise StorageError(
                f"{path} cannot be unpacked: {error}; free space there, set XDG_CACHE_HOME to a "
                "folder that can be written, or unpack it yourself and give its folder"
            ) from error
    return Bundle(target, content=zipped.manifest)


def _open_whole(root: Path, *, zipped: ZippedBundle) -> Bundle | None:
    """A bundle in the cache, if it is there and undamaged.

    It is compared with the manifest in the .zip: whoever can write into the cache could have
    changed the one there. The same files may have come without a signature, or with another's.
    """
    with suppress(BundleError):
        cached = Bundle(root, content=zipped.manifest)
        cached.verify()
        if zipped.signature not in (None, _signature(root)):
            with suppress(StorageError), atomic_file(root / SIGNATURE_NAME) as file:
                file.write(zipped.signature or b"")
        return cached
    return None


def _remove(target: Path) -> None:
    """Makes room in the cache for a bundle or a file; a link itself goes, not its target."""
    if target.is_symlink() or target.is_file():
        with suppress(OSError):
            target.unlink()
    shutil.rmtree(target, ignore_errors=True)


def _pick(artifacts: Sequence[Artifact], *, runtime: str, precision: str | None) -> list[Artifact]:
    """The artifacts of a runtime, all of one precision."""
    fitting = [each for each in artifacts if each.runtime == runtime]
    wanted = precision or next((each.precision for each in fitting), None)
    return [each for each in fitting if each.precision == wanted]
