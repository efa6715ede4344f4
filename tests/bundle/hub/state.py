"""What a hub of the tests holds, what was asked of it, and what is to go wrong: see `server`."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

TOKEN = "hf_readwrite"


@dataclass
class Faults:
    """What goes wrong, by the path of a file in its repository, such as `bundle/manifest.json`.

    Attributes:
        cut_after: numbers of bytes; each answer to a GET takes the next one, sends so many and cuts
            the connection. When they are used up, answers are whole.
        stall_after: after so many bytes of each answer nothing comes for `stall_s`, or until
            `HubServer.release` is called.
        stall_s: seconds.
        lies: bytes that are sent in the place of the file's, with headers that fit them.
        true_heads: whether HEAD tells the truth where GET lies.
        status: answers, each taken once: 503 for instance, to HEAD or GET.
        slow_s: seconds to wait before each chunk of 16 kB of any file.
        no_length: whether GET has no Content-Length, so that a cut looks like an end.
        down: whether every connection is closed without an answer.
    """

    cut_after: dict[str, list[int]] = field(default_factory=dict)
    stall_after: dict[str, int] = field(default_factory=dict)
    stall_s: float = 30.0
    lies: dict[str, bytes] = field(default_factory=dict)
    true_heads: bool = False
    status: dict[str, list[int]] = field(default_factory=dict)
    slow_s: float = 0.0
    no_length: bool = False
    down: bool = False


@dataclass(frozen=True)
class Request:
    """One line of the server's log.

    Attributes:
        method: "GET" for instance.
        route: what was asked for, without the host.
        headers: in lower case.
        path: of the file in its repository; empty if it is no file's.
        content: of the request.
    """

    method: str
    route: str
    headers: Mapping[str, str]
    path: str = ""
    content: bytes = b""

    @property
    def token(self) -> str:
        """What the request was made with; empty if nothing."""
        return self.headers.get("authorization", "").removeprefix("Bearer ")


@dataclass
class StoredRepository:
    """Commits by their hashes, each with all of its files; branches and tags by their names."""

    private: bool = False
    gated: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)


class HubState:
    """All of a hub but its socket.

    Attributes:
        url: for HF_ENDPOINT.
        faults: what goes wrong.
        log: every request, in the order in which they came.
        repositories: by their names.
        released: set while stalls are over.
    """

    def __init__(self) -> None:
        self.url = ""
        self.faults = Faults()
        self.log: list[Request] = []
        self.repositories: dict[str, StoredRepository] = {}
        self.released = threading.Event()

    def commit(
        self,
        repository: str,
        files: Mapping[str, bytes],
        *,
        branch: str = "main",
        private: bool = False,
        gated: bool = False,
    ) -> str:
        """Puts files into a repository, beside those that are there; the commit's hash."""
        stored = self.repositories.setdefault(repository, StoredRepository())
        stored.private, stored.gated = private, gated
        before = stored.commits.get(stored.refs.get(branch, ""), {})
        return self.add_commit(stored, {**before, **files}, branch=branch)

    @staticmethod
    def add_commit(stored: StoredRepository, files: dict[str, bytes], *, branch: str) -> str:
        """Makes these the files of a branch."""
        content = "".join(f"{path} {git_oid(files[path])}\n" for path in sorted(files))
        commit = hashlib.sha1(f"{len(stored.commits)} {content}".encode()).hexdigest()
        stored.commits[commit] = files
        stored.refs[branch] = commit
        return commit

    def files(self, repository: str, revision: str = "main") -> dict[str, bytes]:
        """What a repository holds."""
        stored = self.repositories[repository]
        return stored.commits[stored.refs.get(revision, revision)]

    def paths(self, method: str = "GET") -> list[str]:
        """The files that were asked for so far, in order, once for each time."""
        return [each.path for each in self.log if each.method == method and each.path]

    def release(self) -> None:
        """Ends what stalls now, and lets nothing stall from now on."""
        self.released.set()


def git_oid(content: bytes) -> str:
    """The name that git gives to a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
