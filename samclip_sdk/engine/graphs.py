"""A model's graphs on their runtime, opened when they are needed."""

from __future__ import annotations

import threading

from samclip_sdk.runtimes.session import Session
from samclip_sdk.runtimes.source import ModelSource
from samclip_sdk.system.own_process import OwnProcess


class OpenGraphs:
    """Opens each graph once, when a thread first needs it.

    Args:
        source: where the graphs come from.
    """

    def __init__(self, source: ModelSource) -> None:
        self._source = source
        self._sessions: dict[str, Session] = {}
        self._opening = threading.Lock()
        self._process = OwnProcess(holds=self._sessions)

    def session(self, graph: str) -> Session:
        """The session of a graph, by its key.

        Raises:
            SamClipError: this process was forked from the one that loaded the model.
        """
        self._process.check()
        return self._sessions.get(graph) or self._open(graph)

    def close(self) -> None:
        """Frees the graphs. A later call opens them again when it needs them."""
        if not self._process.is_this:
            return  # the graphs and their threads belong to the parent process
        with self._opening:
            sessions = list(self._sessions.values())
            self._sessions.clear()
        for session in sessions:
            session.close()

    def _open(self, graph: str) -> Session:
        with self._opening:
            # Another thread may have opened it while this one waited.
            if graph not in self._sessions:
                self._sessions[graph] = self._source.session(graph)
            return self._sessions[graph]
