"""A model's graphs on their runtime, opened as they are needed."""

from __future__ import annotations

import threading

from samclip_sdk.runtimes.session import Session
from samclip_sdk.runtimes.source import ModelSource
from samclip_sdk.system.own_process import OwnProcess


class OpenGraphs:
    """Opens each graph when it is first needed, once, whichever threads ask for it.

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
        """Frees the graphs; what is needed later is opened again."""
        if not self._process.is_this:
            return  # they are the parent's, and it has their threads
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
