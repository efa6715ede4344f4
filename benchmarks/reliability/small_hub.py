"""A model hub on this machine that only gives: the files of one folder, and their rest (Range).

It sends slowly, so that a download takes long enough to be killed in the middle.
"""

from __future__ import annotations

import hashlib
import http.server
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

REPOSITORY = "org/killed"
COMMIT = hashlib.sha1(REPOSITORY.encode()).hexdigest()

_CHUNK_BYTES = 64 << 10
_PAUSE_S = 0.02


@contextmanager
def small_hub(folder: Path) -> Iterator[dict[str, str]]:
    """Serves a bundle as `REPOSITORY`; yields the environment in which it is the hub."""
    handler = partial(_Handler, folder=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield {"HF_ENDPOINT": address, "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "*"}
        finally:
            server.shutdown()
            thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, *arguments: Any, folder: Path) -> None:
        self._folder = folder
        super().__init__(*arguments)

    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        if self.path.startswith("/api/"):
            self._send(b'{"id": "%s", "sha": "%s"}' % (REPOSITORY.encode(), COMMIT.encode()))
            return
        file = re.fullmatch(r"/[^/]+/[^/]+/resolve/[^/]+/bundle/([^?]+)", self.path)
        path = self._folder / unquote(file[1]) if file else self._folder / "none"
        if path.is_file() and path.resolve().is_relative_to(self._folder.resolve()):
            self._send(path.read_bytes())
        else:
            self._send(b"", status=404, code="EntryNotFound")

    def _send(self, content: bytes, *, status: int = 200, code: str = "") -> None:
        span = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(span[1]) if span else 0
        self.send_response(206 if start else status)
        self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        if code:
            self.send_header("X-Error-Code", code)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        for place in range(start, len(content) if self.command == "GET" else 0, _CHUNK_BYTES):
            time.sleep(_PAUSE_S)
            try:
                self.wfile.write(content[place : place + _CHUNK_BYTES])
            except OSError:  # who asked was killed
                self.close_connection = True
                return
