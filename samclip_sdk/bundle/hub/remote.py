"""A hub as a bundle needs it: which commit a revision is, and the bytes of files.

This goes through the HTTP client of huggingface_hub, with its tokens, proxies and offline mode. Its
own `hf_hub_download` is not used: what is left of a download when its process ends, a later one
cannot go on with, and whatever a server sends goes to the disk before anyone looks at its size.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn
from urllib.parse import urljoin, urlsplit

from samclip_sdk.bundle.hub.package import hub_module, import_hub, own_name
from samclip_sdk.bundle.manifest import MANIFEST_NAME
from samclip_sdk.errors import HubError, HubUnreachableError, OptionError, one_line

BUNDLE_FOLDER = "bundle"
"""Where the bundle is in a repository: beside the model card, which people edit on the hub."""

PAUSES_S = (0.5, 1.0, 2.0)
"""How long to wait after each attempt in a row that brought nothing; then it is given up."""

_COMMIT_HEADER = "X-Repo-Commit"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_MAX_REDIRECTS = 5
_BUSY = (408, 429)
_NOT_THERE = 416  # a range behind the end of a file


class Remote:
    """A repository of a hub.

    Args:
        repository: `org/name`.
        endpoint: the hub's address.
        token: with which it is read; None takes the one that the user has logged in with, if any,
            and False none.
    """

    def __init__(self, repository: str, *, endpoint: str, token: str | bool | None) -> None:
        self.repository = repository
        self.endpoint = endpoint
        self._token = token

    def commit_of(self, revision: str) -> str:
        """Asks which commit a revision is, of those that hold a bundle.

        Raises:
            HubUnreachableError: there is no answer.
            HubError: there is no such repository or revision, or it may not be read, or holds no
                bundle.
        """
        with self._explained(MANIFEST_NAME, revision=revision):
            commit = self._ask_for_commit(self._url(MANIFEST_NAME, revision=revision))
        if not _COMMIT.fullmatch(commit):
            raise HubError(
                f"{self.endpoint} is no hub: it does not say which commit {revision} of "
                f"{self.repository} is; see to HF_ENDPOINT and to your proxy"
            )
        return commit

    @contextmanager
    def opened(
        self, path: str, *, commit: str, start: int
    ) -> Iterator[tuple[int, Iterator[bytes]]]:
        """Opens a file of the bundle.

        Args:
            path: as in the manifest.
            commit: of the repository.
            start: the first byte that is wanted.

        Yields:
            The place of the first byte that comes, which is `start`, or 0 if the hub cannot begin
            in the middle; and the bytes.

        Raises:
            HubUnreachableError: there is no answer, or the connection is cut.
            HubError: the hub refuses it.
        """
        headers = {**self._headers(), "accept-encoding": "identity"}
        if start:
            headers["range"] = f"bytes={start}-"
        with (
            self._explained(path, revision=commit),
            self._session().stream(
                "GET",
                self._url(path, revision=commit),
                headers=headers,
                timeout=hub_module("constants").HF_HUB_DOWNLOAD_TIMEOUT,
            ) as response,
        ):
            if start and response.status_code == _NOT_THERE:
                yield start, iter(())
                return
            hub_module("utils").hf_raise_for_status(response)
            goes_on = response.headers.get("content-range", "").startswith(f"bytes {start}-")
            yield (start if goes_on else 0), response.iter_bytes()

    def content(self, path: str, *, commit: str, limit: int) -> bytes:
        """Reads a small file of the bundle, again from its beginning where the connection is cut.

        Args:
            path: as in the manifest.
            commit: of the repository.
            limit: how many bytes it may have.

        Raises:
            HubError: as of `opened`, or it is larger.
        """
        for pause in (*PAUSES_S, None):
            try:
                return self._read(path, commit=commit, limit=limit)
            except HubUnreachableError:
                if pause is None:
                    raise
                time.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def optional(self, path: str, *, commit: str, limit: int) -> bytes | None:
        """Reads a small file that a repository need not have; None where it has none.

        Raises:
            HubError: as of `content`.
        """
        try:
            return self.content(path, commit=commit, limit=limit)
        except HubError as error:
            if isinstance(error.__cause__, hub_module("errors").EntryNotFoundError):
                return None
            raise

    def _read(self, path: str, *, commit: str, limit: int) -> bytes:
        content = bytearray()
        with self.opened(path, commit=commit, start=0) as (_, chunks):
            for chunk in chunks:
                content += chunk
                if len(content) > limit:
                    raise HubError(f"{self.repository} is no bundle: its {path} is too large")
        return bytes(content)

    def _ask_for_commit(self, url: str) -> str:
        """Follows redirects that stay on the hub, as of a repository that was renamed."""
        timeout = hub_module("constants").HF_HUB_ETAG_TIMEOUT
        for _ in range(_MAX_REDIRECTS):
            response = self._session().request(
                "HEAD", url, headers=self._headers(), timeout=timeout, follow_redirects=False
            )
            hub_module("utils").hf_raise_for_status(response)
            commit: str = response.headers.get(_COMMIT_HEADER, "")
            target = urljoin(url, response.headers.get("location", url))
            # Elsewhere are no commits, and nothing there may see the token.
            if commit or target == url or urlsplit(target)[:2] != urlsplit(url)[:2]:
                return commit
            url = target
        return ""

    def _session(self) -> Any:
        return hub_module("utils").get_session()

    def _url(self, path: str, *, revision: str) -> str:
        url: str = import_hub().hf_hub_url(
            self.repository,
            f"{BUNDLE_FOLDER}/{path}",
            revision=revision,
            endpoint=self.endpoint,
        )
        return url

    def _headers(self) -> dict[str, str]:
        # Not build_hf_headers, which may ask the hub about the program that runs this one.
        headers = {"user-agent": own_name()}
        token = token_to_send(self._token)
        return {**headers, "authorization": f"Bearer {token}"} if token else headers

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
            except hub_module("errors").EntryNotFoundError as error:
                missing = f"{BUNDLE_FOLDER}/{one_line(path)}"
                raise HubError(
                    f"{self.repository} is no bundle: at {revision} it has no {missing}; "
                    "`samclip push` makes such repositories"
                ) from error


@contextmanager
def explained(repository: str, *, endpoint: str, token: str | bool | None) -> Iterator[None]:
    """Turns what huggingface_hub raises into a HubError that says what to do.

    Args:
        repository: `org/name`.
        endpoint: the hub's address.
        token: that was given, see `Remote`.
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
            f"or .zip of this name here: see to the name, or {_log_in(token)}"
        ) from error
    except errors.HfHubHTTPError as error:
        _tell_status(error, repository=repository, endpoint=endpoint, token=token)
    except (errors.HTTPError, errors.OfflineModeIsEnabled) as error:
        raise HubUnreachableError(
            f"{endpoint} cannot be reached ({one_line(error) or type(error).__name__})"
        ) from error


def token_to_send(token: str | bool | None) -> str | None:
    """The token that goes with a request: the one given, or of who is logged in.

    Raises:
        OptionError: it cannot be one.
        HubError: `token` is True, and nobody is logged in.
    """
    if isinstance(token, str):
        if not token.isascii() or not token.isprintable() or " " in token or not token:
            raise OptionError("the token is none: it is one word of letters and digits")
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
    """Says what an answer means that is none of the well-known ones."""
    status = error.response.status_code
    if status in _BUSY or status >= 500:
        raise HubUnreachableError(
            f"{endpoint} has a fault or too much to do (HTTP {status}): try again later"
        ) from error
    if status == 401:
        raise HubError(f"{endpoint} does not take the token: {_log_in(token)}") from error
    if status == 403:
        raise HubError(
            f"{endpoint} does not allow this with {repository} (HTTP 403): {_log_in(token)}"
        ) from error
    raise HubError(
        f"{endpoint} refuses what {repository} was asked for (HTTP {status}): "
        f"{one_line(getattr(error, 'server_message', None) or '')}"
    ) from error
