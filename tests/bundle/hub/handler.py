"""Answers the requests of huggingface_hub, with all that is to go wrong: see `server`."""

from __future__ import annotations

import base64
import http.server
import json
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.bundle.hub.state import TOKEN, HubState, Request, StoredRepository, git_oid

_CHUNK_BYTES = 16 << 10


class _Answer(Exception):
    """What is answered instead of what was asked for."""

    def __init__(
        self, status: int, code: str = "", message: str = "", content: object = None
    ) -> None:
        super().__init__(status)
        self.status = status
        self.body = b"" if content is None else json.dumps(content).encode()
        self.headers = {"X-Error-Code": code, "X-Error-Message": message}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else a small answer may wait for 40 ms

    @property
    def _hub(self) -> HubState:
        state: HubState = self.server.hub
        return state

    def log_message(self, format: str, *args: object) -> None:
        """The hub keeps its own log."""

    def do_GET(self) -> None:
        hub = self._hub
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        route = unquote(urlsplit(self.path).path)
        file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", urlsplit(self.path).path)
        path = unquote(file[3]) if file else ""
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, route, headers, path, content)
        hub.log.append(request)
        if hub.faults.down:
            self._cut()
            return
        try:
            statuses = hub.faults.status.get(path)
            if statuses:
                raise _Answer(statuses.pop(0))
            if file:
                self._file(unquote(file[1]), unquote(file[2]), path)
            else:
                self._send_json(self._api(request))
        except _Answer as answer:
            self._send(answer.body, status=answer.status, headers=answer.headers)

    do_HEAD = do_POST = do_PUT = do_GET

    def _file(self, repository: str, revision: str, path: str) -> None:
        hub = self._hub
        commit = self._commit(self._repository(repository, write=False), revision)
        files = hub.repositories[repository].commits[commit]
        if path not in files:
            raise _Answer(404, "EntryNotFound")
        content = hub.faults.lies.get(path, files[path])
        if self.command == "HEAD" and hub.faults.true_heads:
            content = files[path]
        headers = {"X-Repo-Commit": commit, "ETag": f'"{git_oid(content)}"'}
        self._send_file(content, path=path, headers=headers)

    def _send_file(
        self, content: bytes, *, path: str, headers: Mapping[str, str] | None = None
    ) -> None:
        """Sends a file, or its rest, with all that is to go wrong on the way."""
        faults, own = self._hub.faults, dict(headers or {})
        span = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(span[1]) if span else 0
        if start and start >= len(content):
            raise _Answer(416)
        if start:
            own["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self.send_response(206 if start else 200)
        no_length = faults.no_length and self.command == "GET"
        self._send_headers(own, length=None if no_length else len(content) - start)
        if self.command == "HEAD":
            return
        cuts = faults.cut_after.get(path)
        limit = cuts.pop(0) if cuts else None
        stall = faults.stall_after.get(path)
        for before, piece in _pieces(content[start:], at=[each for each in (limit, stall) if each]):
            if before == limit:
                self._cut()
                return
            if before == stall:
                self._hub.released.wait(faults.stall_s)
            time.sleep(faults.slow_s)
            self.wfile.write(piece)
        if faults.no_length or limit is not None:
            self._cut()

    def _cut(self) -> None:
        """Closes the connection, with whatever was promised."""
        self.wfile.flush()
        self.close_connection = True

    def _send_json(self, content: object) -> None:
        body = json.dumps(content).encode()
        self._send(body, status=200, headers={"Content-Type": "application/json"})

    def _send(self, body: bytes, *, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        self._send_headers(headers, length=len(body))
        if self.command != "HEAD":
            self.wfile.write(body)

    def _send_headers(self, headers: Mapping[str, str], *, length: int | None) -> None:
        for name, value in headers.items():
            if value:
                self.send_header(name, value)
        if length is None:
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def _repository(self, name: str, *, write: bool) -> StoredRepository:
        """A repository that the request may read, or write.

        Raises:
            _Answer: it may not; to who has no token, what is private is not there.
        """
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token and token != TOKEN:
            raise _Answer(401, message="Invalid credentials in Authorization header")
        stored = self._hub.repositories.get(name)
        if stored is None or (stored.private and not token):
            raise _Answer(404 if token else 401, "RepoNotFound")
        if stored.gated and not token:
            raise _Answer(401, "GatedRepo")
        if write and not token:
            raise _Answer(403, message="no token")
        return stored

    @staticmethod
    def _commit(stored: StoredRepository, revision: str) -> str:
        commit = stored.refs.get(revision, revision)
        if commit not in stored.commits:
            raise _Answer(404, "RevisionNotFound")
        return commit

    def _api(self, request: Request) -> object:
        """Answers what is no file."""
        api = re.fullmatch(r"/api/models/([^/]+/[^/]+)/(\w+)/(.+)", request.route)
        if api:
            return self._model(request, api[1], api[2], api[3])
        if request.route == "/api/repos/create":
            return self._create(json.loads(request.content))
        if request.route == "/api/validate-yaml":
            return {"errors": [], "warnings": []}
        raise _Answer(404)

    def _model(self, request: Request, name: str, verb: str, rest: str) -> object:
        stored = self._repository(name, write=request.method == "POST")
        if verb == "commit":
            return self._make_commit(request, name, stored, branch=rest)
        if verb == "branch":
            if rest in stored.refs:
                raise _Answer(409)
            stored.refs[rest] = stored.refs["main"]
            return {}
        files = stored.commits[self._commit(stored, rest)] if stored.refs else {}
        if verb == "preupload":
            return {
                "files": [
                    _upload_mode(each, files) for each in json.loads(request.content)["files"]
                ]
            }
        if verb == "tree":
            return [
                {"type": "file", "path": path, "size": len(content), "oid": git_oid(content)}
                for path, content in files.items()
            ]
        if verb == "revision":
            return {"id": name, "sha": self._commit(stored, rest), "private": stored.private}
        raise _Answer(404)

    def _create(self, asked: dict[str, Any]) -> object:
        name = f"{asked['organization']}/{asked['name']}"
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token != TOKEN:
            raise _Answer(401, message="Invalid credentials in Authorization header")
        url = {"url": f"{self._hub.url}/{name}"}
        if name in self._hub.repositories:
            raise _Answer(409, content=url)
        stored = StoredRepository(private=asked.get("visibility") == "private")
        self._hub.add_commit(stored, {".gitattributes": b"*.onnx filter=lfs\n"}, branch="main")
        self._hub.repositories[name] = stored
        return url

    def _make_commit(
        self, request: Request, name: str, stored: StoredRepository, *, branch: str
    ) -> object:
        hub = self._hub
        files = dict(stored.commits.get(stored.refs.get(branch, ""), {}))
        for line in map(json.loads, request.content.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        commit = hub.add_commit(stored, files, branch=branch)
        return {"commitUrl": f"{hub.url}/{name}/commit/{commit}", "commitOid": commit}


def _pieces(content: bytes, *, at: list[int]) -> Iterator[tuple[int, bytes]]:
    """Pieces of an answer, and where they begin, at these places too; the last may be empty."""
    offsets = {*range(0, len(content), _CHUNK_BYTES), *at, len(content)}
    bounds = sorted(each for each in offsets if each <= len(content))
    for start, end in zip(bounds, [*bounds[1:], len(content)], strict=True):
        yield start, content[start:end]


def _upload_mode(asked: dict[str, Any], files: Mapping[str, bytes]) -> dict[str, Any]:
    """Every file comes with the commit; LFS is huggingface_hub's own."""
    path = asked["path"]
    oid = git_oid(files[path]) if path in files else None
    return {"path": path, "uploadMode": "regular", "shouldIgnore": False, "oid": oid}
