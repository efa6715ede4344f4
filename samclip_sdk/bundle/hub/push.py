"""Uploads a bundle to a hub: its files unchanged in one folder, and a model card beside it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from samclip_sdk.bundle.hub.card import hub_card
from samclip_sdk.bundle.hub.opening import open_named_bundle
from samclip_sdk.bundle.hub.options import hub_endpoint, hub_module, import_hub, own_name
from samclip_sdk.bundle.hub.remote import BUNDLE_FOLDER, explained, token_to_send
from samclip_sdk.bundle.hub.repository import DEFAULT_REVISION, Repository
from samclip_sdk.bundle.manifest import MANIFEST_NAME, SIGNATURE_NAME
from samclip_sdk.bundle.open import Bundle
from samclip_sdk.errors import HubError, one_line
from samclip_sdk.system.progress import OnProgress, no_progress

_CARD = "README.md"
_AT_ONCE = 8


@dataclass(frozen=True)
class PushedBundle:
    """The result of `push_bundle`.

    Attributes:
        repository: `org/name`.
        commit: the commit that holds the bundle.
        url: the address of the repository, for a browser.
        bundle_id: the bundle's id.
    """

    repository: str
    commit: str
    url: str
    bundle_id: str


def push_bundle(
    model: str | os.PathLike[str],
    repository: str,
    *,
    private: bool = False,
    token: str | bool | None = None,
    licence: str | None = None,
    base_models: Sequence[str] = (),
    tags: Sequence[str] = (),
    message: str | None = None,
    on_progress: OnProgress = no_progress,
) -> PushedBundle:
    """Verifies a bundle and uploads it, in one commit: readers see the old one or the new one.

    The bundle is in the folder `bundle` of the repository, byte for byte, so that its id stays. The
    README.md of the repository is the bundle's, with the hub's front matter before it. People edit
    it on the hub, which changes nothing of the bundle. Files of an earlier bundle go.

    Args:
        model: a bundle's folder, .zip or name.
        repository: `org/name`, which is made if it is not there, or `org/name@branch`.
        private: whether a new repository is visible to its owner alone.
        token: a token with the right to write; None takes that of `hf auth login` or HF_TOKEN.
        licence: see `hub_card`.
        base_models: see `hub_card`.
        tags: see `hub_card`.
        message: the commit's message.
        on_progress: told how many of the files are on the hub.

    Raises:
        OptionError: no repository can have this name.
        BundleError: the bundle cannot be opened, or a file of it was changed.
        HubUnreachableError: the hub does not answer, or the connection is cut. Files that have
            arrived are not sent again.
        HubError: nobody is logged in, or the token may not write there.
        RuntimeMissingError: huggingface_hub is not installed.
    """
    target = Repository.parse(repository)
    endpoint = hub_endpoint()
    api = import_hub().HfApi(endpoint=endpoint, token=token, user_agent=own_name())
    if token_to_send(token) is None:
        raise HubError(
            f"you are not logged in at {endpoint}: `hf auth login`, or set HF_TOKEN to a token "
            f"that may write to {target.id}"
        )
    bundle = open_named_bundle(model, on_progress=on_progress)
    paths = [each.path for each in bundle.manifest.stored_files()]
    bundle.gather(paths)
    bundle.verify()
    signature = bundle.signature()
    card = hub_card(
        bundle.manifest,
        card=bundle.file(_CARD).read_text(encoding="utf-8") if _CARD in paths else "",
        repository=target.id,
        licence=licence,
        base_models=base_models,
        tags=tags,
    )
    with explained(target.id, endpoint=endpoint, token=token), _upload_failures(), _silent():
        api.create_repo(target.id, private=private or None, exist_ok=True)
        if target.revision != DEFAULT_REVISION:
            api.create_branch(target.id, branch=target.revision, exist_ok=True)
        operations = _operations(bundle, paths=paths, card=card, signature=signature)
        _upload(api, operations, target=target, on_progress=on_progress)
        gone = _left_over(api, operations, target=target)
        commit = api.create_commit(
            target.id,
            [*operations, *gone],
            commit_message=message or f"Bundle {bundle.id} of {bundle.manifest.name}",
            revision=target.revision,
        )
    return PushedBundle(target.id, commit.oid, f"{endpoint}/{target.id}", bundle.id)


def _operations(
    bundle: Bundle, *, paths: Sequence[str], card: str, signature: bytes | None
) -> list[Any]:
    add = import_hub().CommitOperationAdd
    signed = [add(f"{BUNDLE_FOLDER}/{SIGNATURE_NAME}", signature)] if signature else []
    return [
        add(_CARD, card.encode()),
        *signed,
        *(
            add(f"{BUNDLE_FOLDER}/{path}", str(bundle.root / path))
            for path in (MANIFEST_NAME, *paths)
        ),
    ]


def _upload(
    api: Any, operations: Sequence[Any], *, target: Repository, on_progress: OnProgress
) -> None:
    """Uploads large files, some at a time; small ones go with the commit."""
    for start in range(0, len(operations), _AT_ONCE):
        on_progress(f"uploading to {target.id} (files)", start, len(operations))
        some = operations[start : start + _AT_ONCE]
        api.preupload_lfs_files(target.id, some, revision=target.revision, free_memory=False)


def _left_over(api: Any, operations: Sequence[Any], *, target: Repository) -> list[Any]:
    """Deletions of the files that an earlier bundle left in the repository."""
    kept = {each.path_in_repo for each in operations}
    there = api.list_repo_files(target.id, revision=target.revision)
    delete = import_hub().CommitOperationDelete
    return [
        delete(path) for path in there if path.startswith(f"{BUNDLE_FOLDER}/") and path not in kept
    ]


@contextmanager
def _upload_failures() -> Iterator[None]:
    """Raises the cause where huggingface_hub wraps an error of an upload in another one."""
    try:
        yield
    except RuntimeError as error:
        if error.__cause__ is None:
            raise
        raise error.__cause__ from error
    except ValueError as error:
        if isinstance(error, hub_module("errors").HfHubHTTPError):
            raise
        raise HubError(f"the hub rejected the bundle: {one_line(error)}") from error


@contextmanager
def _silent() -> Iterator[None]:
    """Keeps huggingface_hub from printing: `on_progress` and errors tell the same."""
    utils, log = hub_module("utils"), hub_module("utils.logging")
    level = log.get_verbosity()
    # The user's HF_HUB_DISABLE_PROGRESS_BARS, and bars that are off already, stay as they are.
    told = hub_module("constants").HF_HUB_DISABLE_PROGRESS_BARS is not None
    bars = not told and not utils.are_progress_bars_disabled()
    log.set_verbosity_error()
    if bars:
        utils.disable_progress_bars()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if bars:
            utils.enable_progress_bars()
