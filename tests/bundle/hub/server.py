"""A model hub on this machine, as huggingface_hub calls one, which can stall, cut and lie.

    with HubServer() as hub:
        commit = hub.commit("org/name", {"bundle/manifest.json": b"..."})
        hub.faults.cut_after["bundle/onnx/a.onnx"] = [1000]
        ...                                       # HF_ENDPOINT=hub.url
        assert hub.paths("GET") == ["bundle/manifest.json"]

It keeps repositories in memory, and answers on a thread for each connection.

Faults are those of `tests.bundle.hub.state.Faults`; set them at any time, also while a request is
answered. The client may be this process or another one. It must not use Xet, which has a protocol
of its own: HF_HUB_DISABLE_XET=1.
"""

from __future__ import annotations

import http.server
import threading
from pathlib import Path
from types import TracebackType

from tests.bundle.hub.handler import Handler
from tests.bundle.hub.state import HubState


class HubServer(HubState):
    """The hub. A context manager, which listens on a free port."""

    def __init__(self) -> None:
        super().__init__()
        self._server = _Listening(("127.0.0.1", 0), Handler)
        self._server.hub = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )

    def __enter__(self) -> HubServer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Listening(http.server.ThreadingHTTPServer):
    daemon_threads = True
    hub: HubState

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that go away are what these tests are about."""


def bundle_files(folder: Path) -> dict[str, bytes]:
    """A bundle's folder as it is in a repository."""
    return {
        f"bundle/{path.relative_to(folder).as_posix()}": path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
