"""A model's graphs on their runtime, opened as they are needed."""

from __future__ import annotations

import threading

from samclip_sdk.errors import SamClipError
from samclip_sdk.runtimes.session import Session
from samclip_sdk.runtimes.source import ModelSource
from samclip_sdk.system.fork_safety import never_free, renew_in_children

_STARTS_ANEW = ("onnx",)
"""Runtimes that run in a forked child of a process that was using them. OpenVINO hangs there now
and then, torch always, and neither CUDA nor Core ML allows it."""


class OpenGraphs:
    """Opens each graph when it is first needed, once, whichever threads ask for it.

    In a forked child the parent's sessions cannot run, for the threads behind them stayed with the
    parent. If the runtime can start anew there, graphs are opened again in the child; else the
    first use says what to do instead.

    Args:
        source: where the graphs come from.
    """

    def __init__(self, source: ModelSource) -> None:
        self._source = source
        self._sessions: dict[str, Session] = {}
        self._opening = threading.Lock()
        self._used = False
        self._used_by_parent = False
        renew_in_children(self)

    def session(self, graph: str) -> Session:
        """The session of a graph, by its key.

        Raises:
            SamClipError: this process was forked from one that had used the model, and the runtime
                does not survive that.
        """
        found = self._sessions.get(graph)
        if found is not None:
            return found
        runtime = self._source.runtime
        if self._used_by_parent and runtime not in _STARTS_ANEW:
            raise SamClipError(
                f"the model was in use before this process was forked, and {runtime} does not "
                'survive that: load the model in the child, which multiprocessing starts by "spawn"'
            )
        return self._open(graph)

    def close(self) -> None:
        """Frees the graphs; what is needed later is opened again."""
        with self._opening:
            sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            session.close()

    def renew(self) -> None:
        """Starts over in a forked child; see `fork_safety`."""
        self._opening = threading.Lock()
        self._used_by_parent = self._used
        never_free(self._sessions)
        self._sessions = {}

    def _open(self, graph: str) -> Session:
        with self._opening:
            # Another thread may have opened it while this one waited.
            if graph not in self._sessions:
                self._used = True
                self._sessions[graph] = self._source.session(graph)
            return self._sessions[graph]
