"""A hub as a bundle needs it: which commit a revision is, and the bytes of files.

huggingface_hub makes the requests, with its proxies, retries and offline mode.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from samclip_sdk.bundle.hub.options import hub_module, import_hub, own_name
from samclip_sdk.bundle.manifest import MANIFEST_NAME
from samclip_sdk.errors import (
    HubError,
    HubUnreachableError,
    OptionError,
    SamClipError,
    StorageError,
    one_line,
)
from samclip_sdk.system.atomic_folder import scratch_folder

BUNDLE_FOLDER = "bundle"
"""The folder of a repository that holds the bundle: people edit the model card beside it."""

_COMMIT = re.compile(r"[0-9a-f]{40}")
_BUSY = (408, 429)


class Remote:
    """A repository of a hub.

    Args:
        repository: `org/name`.
        endpoint: the hub's address.
        token: sent with requests; None takes the token that the user has logged in with, if any,
            and False sends none.
    """

    def __init__(self, repository: str, *, endpoint: str, token: str | bool | None) -> None:
        self.repository = repository
        self.endpoint = endpoint
        self._token = token

    def commit_of(self, revision: str) -> str:
        """Asks which commit a revision is.

        Raises:
            HubUnreachableError: there is no answer.
            HubError: there is no such repository or revision, or it may not be read, or it holds
                no bundle.
        """
        with self._explained(MANIFEST_NAME, revision=revision):
            hub = import_hub()
            manifest = f"{BUNDLE_FOLDER}/{MANIFEST_NAME}"
            url = hub.hf_hub_url(
                self.repository, manifest, revision=revision, endpoint=self.endpoint
            )
            found = hub.get_hf_file_metadata(url, **self._how_to_ask())
        commit: str = found.commit_hash or ""
        if not _COMMIT.fullmatch(commit):
            raise HubError(
                f"{self.endpoint} is not a hub: it does not say which commit {revision} of "
                f"{self.repository} is; check HF_ENDPOINT and your proxy"
            )
        return commit

    def download(
        self,
        path: str,
        *,
        commit: str,
        folder: Path,
        limit: int,
        too_long: SamClipError,
        tell: Callable[[int], None] = lambda size: None,
    ) -> Path:
        """Downloads a file of the bundle; a cut connection is taken up again.

        Args:
            path: the path in the manifest.
            commit: the commit of the repository.
            folder: an empty folder for the file.
            limit: how many bytes the file may have. huggingface_hub itself writes whatever a server
                sends.
            too_long: raised before more than that is written.
            tell: told how many bytes have come.

        Returns:
            The file, somewhere in the folder.

        Raises:
            HubUnreachableError: there is no answer, or the connection is cut again and again.
            HubError: the hub refuses the file.
            StorageError: the file cannot be written.
        """
        with self._explained(path, revision=commit):
            try:
                found = import_hub().hf_hub_download(
                    self.repository,
                    f"{BUNDLE_FOLDER}/{path}",
                    revision=commit,
                    **self._how_to_ask(),
                    local_dir=folder,
                    cache_dir=folder / "cache",  # not the user's, whose files nobody has verified
                    tqdm_class=_counter(limit, too_long=too_long, tell=tell),
                )
            except hub_module("errors").LocalEntryNotFoundError as error:
                raise error.__cause__ or error from None
            except OSError as error:
                if error.errno is not None:
                    raise StorageError(
                        f"cannot write {one_line(folder)}: {error.strerror}; make room, or give a "
                        "cache_dir elsewhere"
                    ) from error
                if type(error) is OSError:  # huggingface_hub's own, for a size that differs
                    reason = f"{self.endpoint} sends another number of bytes than it states"
                    raise HubUnreachableError(reason) from error
                raise
        return Path(found)

    def content(self, path: str, *, commit: str, limit: int) -> bytes:
        """Reads a small file of the bundle.

        Args:
            path: the path in the manifest.
            commit: the commit of the repository.
            limit: how many bytes the file may have.

        Raises:
            HubError: the hub refuses the file, or the file is larger; and what `download` raises.
        """
        too_long = HubError(f"{self.repository} is not a bundle: its {path} is too large")
        # Not in the cache, which may be complete and read-only.
        parent = Path(tempfile.gettempdir(), "samclip-sdk")
        with scratch_folder(parent) as folder:
            return self.download(
                path, commit=commit, folder=folder, limit=limit, too_long=too_long
            ).read_bytes()

    def optional(self, path: str, *, commit: str, limit: int) -> bytes | None:
        """Reads a small file that a repository need not have; None if it does not.

        Raises:
            HubError: see `content`.
        """
        try:
            return self.content(path, commit=commit, limit=limit)
        except HubError as error:
            if isinstance(error.__cause__, hub_module("errors").RemoteEntryNotFoundError):
                return None
            raise

    def _how_to_ask(self) -> dict[str, Any]:
        return {
            "endpoint": self.endpoint,
            "token": token_to_send(self._token) or False,
            "headers": {"user-agent": own_name()},
        }

    @contextmanager
    def _explained(self, path: str, *, revision: str) -> Iterator[None]:
        with explained(self.repository, endpoint=self.endpoint, token=self._token):
            try:
                yield
            except hub_module("errors").RevisionNotFoundError as error:
                raise HubError(
                    f"{self.repository} has no revision {revision}: give one of the branches, tags "
                    f"and commits that {self.endpoint}/{self.repository} has"
                ) from error
            except hub_module("errors").RemoteEntryNotFoundError as error:
                missing = f"{BUNDLE_FOLDER}/{one_line(path)}"
                raise HubError(
                    f"{self.repository} is not a bundle: at {revision} it has no {missing}; "
                    "`samclip push` makes such repositories"
                ) from error
            except hub_module("errors").FileMetadataError as error:
                raise HubError(
                    f"{self.endpoint} is not a hub: it does not say which bytes {one_line(path)} "
                    f"of {self.repository} has; check HF_ENDPOINT and your proxy"
                ) from error


def _counter(limit: int, *, too_long: SamClipError, tell: Callable[[int], None]) -> type:
    """Makes a class that huggingface_hub takes for that of its progress bars.

    It is told the size that the server states, then each chunk before the chunk is written.
    """

    class Counter:
        def __init__(self, *, total: int | None = None, initial: int = 0, **_: object) -> None:
            self._count = initial
            self._check(total or 0)

        def __enter__(self) -> Counter:
            return self

        def __exit__(self, *_: object) -> None:
            """Nothing was opened."""

        def update(self, size: int) -> None:
            self._count += size
            self._check(self._count)
            tell(self._count)

        def update_transfer(self, size: int) -> None:
            """Called for Xet with compressed bytes; `update` counts those of the file."""

        def set_postfix_str(self, text: str, refresh: bool = True) -> None:
            """Called for Xet with the speed."""

        set_transfer_postfix_str = set_postfix_str

        def _check(self, size: int) -> None:
            if size > limit:
                raise too_long

    return Counter


@contextmanager
def explained(repository: str, *, endpoint: str, token: str | bool | None) -> Iterator[None]:
    """Turns an error of huggingface_hub into a HubError that says what to do.

    Args:
        repository: `org/name`.
        endpoint: the hub's address.
        token: the caller's, see `Remote`.
    """
    errors = hub_module("errors")
    try:
        yield
    except errors.GatedRepoError as error:
        raise HubError(
            f"{repository} is gated: ask for access at {endpoint}/{repository}, then "
            f"{_log_in(token)}"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise HubError(
            f"{endpoint} has no repository {repository}, or a private one, and there is no folder "
            f"or .zip of this name here: check the name, or {_log_in(token)}"
        ) from error
    except errors.HfHubHTTPError as error:
        _tell_status(error, repository=repository, endpoint=endpoint, token=token)
    except (errors.HTTPError, errors.OfflineModeIsEnabled) as error:
        raise HubUnreachableError(
            f"{endpoint} cannot be reached ({one_line(error) or type(error).__name__})"
        ) from error


def token_to_send(token: str | bool | None) -> str | None:
    """The token that is sent: the given one, or that of the user who is logged in.

    Raises:
        OptionError: no token can look like this.
        HubError: `token` is True, and nobody is logged in.
    """
    if isinstance(token, str):
        if not token.isascii() or not token.isprintable() or " " in token or not token:
            raise OptionError("the token is malformed: it is one word of letters and digits")
        return token
    if token is False or (token is None and hub_module("constants").HF_HUB_DISABLE_IMPLICIT_TOKEN):
        return None
    found: str | None = import_hub().get_token()
    if found is None and token is True:
        raise HubError("token is True and nobody is logged in: `hf auth login`, or set HF_TOKEN")
    return found


def _log_in(token: str | bool | None) -> str:
    if token_to_send(token):
        return "give the token of an account that may do this"
    return "log in (`hf auth login`, HF_TOKEN or token=) with an account that may"


def _tell_status(
    error: Any, *, repository: str, endpoint: str, token: str | bool | None
) -> NoReturn:
    """Raises the error for an HTTP status that has no error class of its own."""
    status = error.response.status_code
    if status in _BUSY or status >= 500:
        raise HubUnreachableError(
            f"{endpoint} is down or overloaded (HTTP {status}): try again later"
        ) from error
    if status == 401:
        raise HubError(f"{endpoint} rejects the token: {_log_in(token)}") from error
    if status == 403:
        raise HubError(
            f"{endpoint} does not allow this with {repository} (HTTP 403): {_log_in(token)}"
        ) from error
    raise HubError(
        f"{endpoint} refuses what {repository} was asked for (HTTP {status}): "
        f"{one_line(getattr(error, 'server_message', None) or '')}"
    ) from error
