"""Opens a bundle by its name: a bundle on this disk, or else one on a hub."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from samclip_sdk.bundle.hub.cache import HubCache, Ref
from samclip_sdk.bundle.hub.files import HubFiles
from samclip_sdk.bundle.hub.options import (
    DEFAULT_HUB,
    HubOptions,
    hub_endpoint,
    hub_module,
    import_hub,
)
from samclip_sdk.bundle.hub.remote import BUNDLE_FOLDER, Remote
from samclip_sdk.bundle.hub.repository import DEFAULT_REVISION, Repository, is_repository_name
from samclip_sdk.bundle.manifest import MANIFEST_NAME, MAX_MANIFEST_BYTES, SIGNATURE_NAME
from samclip_sdk.bundle.open import (
    Bundle,
    bundle_id,
    is_embedded,
    open_bundle,
    open_folder,
    parse_manifest,
)
from samclip_sdk.bundle.signature import SIGNATURE_BYTES, PublicKey
from samclip_sdk.errors import (
    BundleError,
    HubError,
    HubUnreachableError,
    OptionError,
    RuntimeMissingError,
    one_line,
)
from samclip_sdk.system.progress import OnProgress, no_progress


def open_named_bundle(
    model: str | os.PathLike[str],
    *,
    public_key: str | os.PathLike[str] | None = None,
    hub: HubOptions = DEFAULT_HUB,
    on_progress: OnProgress = no_progress,
) -> Bundle:
    """Opens a bundle that is here, or else one on a hub.

    From a hub, the manifest is downloaded now, and each file when it is first used.

    Args:
        model: an embedded bundle's name, a folder, a .zip, or `org/name` or `org/name@revision` of
            a hub. The first of these that exists wins. If `org` is a folder here, `org/name` is a
            path in it.
        public_key: the key that must have signed it, see `open_bundle`.
        hub: how it is taken from a hub.
        on_progress: told of downloads.

    Raises:
        BundleSignatureError: it is not signed with the key.
        BundleError: there is no such bundle, or it is damaged.
        HubUnreachableError: the hub does not answer, and the bundle was never here.
        HubError: the hub has no such repository or revision, or it may not be read, or holds no
            bundle.
        OptionError: no revision can have this name, or the bundle is not on a hub.
        RuntimeMissingError: huggingface_hub is not installed.
        StorageError: the cache cannot be written.
    """
    if is_repository_name(model) and not _is_here(model):
        repository = Repository.parse(model, revision=hub.revision)
        key = None if public_key is None else PublicKey(public_key)
        if hub.is_repository or "@" in os.fspath(model):
            return _Opening(repository, key=key, hub=hub, on_progress=on_progress).bundle()
        return _guess(repository, key=key, hub=hub, on_progress=on_progress)
    if hub.revision is not None:
        raise OptionError(
            f"revision is {one_line(hub.revision)}, and only repositories of a hub have such, "
            f"org/name: {one_line(os.fspath(model))} is none, or is on this disk"
        )
    return open_bundle(model, public_key=public_key)


def _guess(
    repository: Repository, *, key: PublicKey | None, hub: HubOptions, on_progress: OnProgress
) -> Bundle:
    """Opens what may be a repository of a hub, or the path of a folder that is missing.

    If the path begins with a folder that is here, no hub is asked. The user's own token is not
    sent.
    """
    first, meant = repository.id.partition("/")[0], repository.at(DEFAULT_REVISION)
    if os.path.isdir(first):
        raise BundleError(
            f"the folder {first} has no bundle {repository.id.partition('/')[2]}: check the path; "
            f"if a repository of a hub is meant, say {meant}"
        )
    if hub.token is None:
        hub = replace(hub, token=False)
    try:
        return _Opening(repository, key=key, hub=hub, on_progress=on_progress).bundle()
    except HubError as error:
        if not isinstance(error.__cause__, hub_module("errors").RepositoryNotFoundError):
            raise
        raise HubError(f"{error}; your token goes along if you say {meant}") from error.__cause__


def _is_here(model: str | os.PathLike[str]) -> bool:
    return os.path.isdir(model) or os.path.isfile(model) or is_embedded(model)


class _Opening:
    """Finds out which bundle a repository holds, and opens it."""

    def __init__(
        self,
        repository: Repository,
        *,
        key: PublicKey | None,
        hub: HubOptions,
        on_progress: OnProgress,
    ) -> None:
        self._repository = repository
        self._key = key
        self._hub = hub
        self._on_progress = on_progress
        self._cache = HubCache(hub.folder)
        self._remote = Remote(repository.id, endpoint=hub_endpoint(), token=hub.token)

    def bundle(self) -> Bundle:
        """The bundle at the revision now; if the hub does not answer, the one of the last time."""
        revision = self._repository.revision
        if self._repository.is_commit or self._hub.asks_nobody:
            kept = self._kept(revision)
            if kept is not None:
                return kept
        if self._hub.asks_nobody:
            raise HubError(
                f"{self._repository.id} at {revision} is not in {self._cache.folder}, and no hub "
                "may be asked: load it once without local_files_only and HF_HUB_OFFLINE"
            )
        self._check_package()
        try:
            commit = self._remote.commit_of(revision)
        except HubUnreachableError as error:
            kept = self._kept(revision)
            if kept is not None:
                return kept
            raise HubUnreachableError(
                f"{error}, and {self._repository.id} at {revision} was never loaded into "
                f"{self._cache.folder}, nor is there such a folder or .zip here: check the name "
                "and the network, or copy the bundle's folder here"
            ) from error
        found = self._kept(commit) or self._take(commit)
        for each in {revision, commit}:
            self._cache.keep_ref(self._ref(each, commit=commit, bundle_id=found.id))
        return found

    def _check_package(self) -> None:
        """Refuses to go on without huggingface_hub; the name may be a mistyped folder."""
        try:
            import_hub()
        except RuntimeMissingError as error:
            raise RuntimeMissingError(
                f"there is no folder or .zip {self._repository.id} here, and to ask a hub for it "
                f"{error}"
            ) from error

    def _kept(self, revision: str) -> Bundle | None:
        """The bundle that a revision had when the hub was last asked, if it is here, unchanged."""
        ref = self._cache.read_ref(self._remote.endpoint, self._repository.id, revision)
        if ref is None:
            return None
        try:
            bundle = self._open(ref.bundle_id, commit=ref.commit)
        except BundleError:
            return None
        return bundle if bundle.id == ref.bundle_id else None

    def _take(self, commit: str) -> Bundle:
        """Downloads the manifest, which lists all files with their sha256."""
        self._on_progress(f"asking for {self._repository.id}", 0, 0)
        content = self._remote.content(MANIFEST_NAME, commit=commit, limit=MAX_MANIFEST_BYTES)
        parse_manifest(
            content, source=Path(self._repository.at(commit), BUNDLE_FOLDER, MANIFEST_NAME)
        )
        signature = None if self._key is None else self._signed(self._key, content, commit=commit)
        found = bundle_id(content)
        self._cache.keep_manifest(found, content, signature=signature)
        return self._open(found, commit=commit)

    def _signed(self, key: PublicKey, content: bytes, *, commit: str) -> bytes | None:
        """The signature of a manifest, which the key must have made."""
        signature = self._remote.optional(SIGNATURE_NAME, commit=commit, limit=SIGNATURE_BYTES)
        key.check(content, signature=signature, source=self._repository.at(commit))
        return signature

    def _open(self, found: str, *, commit: str) -> Bundle:
        folder = self._cache.bundle_folder(found)
        files = HubFiles(
            folder,
            remote=self._remote,
            commit=commit,
            asks_nobody=self._hub.asks_nobody,
            on_progress=self._on_progress,
        )
        return open_folder(folder, key=self._key, origin=files)

    def _ref(self, revision: str, *, commit: str, bundle_id: str) -> Ref:
        return Ref(
            endpoint=self._remote.endpoint,
            repository=self._repository.id,
            revision=revision,
            commit=commit,
            bundle_id=bundle_id,
        )
