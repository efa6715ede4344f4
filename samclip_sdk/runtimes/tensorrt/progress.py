"""How far the build of a TensorRT engine is: one number, from phases that nest in one another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

PERCENT = 100

OnPercent: TypeAlias = Callable[[str, int], None]
"""Told the innermost phase that began or went on last, and how much of the build is done."""


@dataclass
class _Phase:
    """One that has begun: what it is a part of, how many steps it has, how many are done."""

    parent: str | None
    steps: int
    done: int = 0


class BuildProgress:
    """Adds up the phases: a phase's share is that of the step of its parent that it stands for.

    Steps are not equally long, so the number is no measure of time; but it only grows.
    """

    def __init__(self) -> None:
        self._phases: dict[str, _Phase] = {}
        self._percent = 0

    @property
    def percent(self) -> int:
        """How much is done; 100 after the outermost phase alone."""
        roots = [name for name, phase in self._phases.items() if phase.parent not in self._phases]
        done = max((self._share(name) for name in roots), default=0.0)
        self._percent = max(self._percent, int(PERCENT * done))
        return self._percent

    def start(self, name: str, *, parent: str | None, steps: int) -> None:
        """Notes that a phase begins."""
        self._phases[name] = _Phase(parent, steps=max(1, steps))

    def reach(self, name: str, *, done: int) -> None:
        """Notes how many steps of a phase are done; of one that has ended it says nothing."""
        if name in self._phases:
            self._phases[name].done = done

    def finish(self, name: str) -> None:
        """Notes that a phase has ended; the outermost one is then done, whatever it counted."""
        phase = self._phases.get(name)
        if phase is not None and phase.parent not in self._phases:
            phase.done = phase.steps
        else:
            self._phases.pop(name, None)

    def _share(self, name: str) -> float:
        phase = self._phases[name]
        within = max((self._share(each) for each in self._children(name)), default=0.0)
        return min(1.0, (phase.done + within) / phase.steps)

    def _children(self, name: str) -> list[str]:
        return [each for each, phase in self._phases.items() if phase.parent == name]


def progress_monitor(trt: Any, *, tell: OnPercent, cancelled: Callable[[], bool]) -> Any:
    """TensorRT's view of the build: it may call from several threads, and stops when told so.

    Args:
        trt: the package.
        tell: called at each change of the phase or the number.
        cancelled: whether the build is to stop.
    """

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]  # trt is Any
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._progress = BuildProgress()
            self._told: tuple[str, int] | None = None

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._progress.start(phase_name, parent=parent_phase, steps=num_steps)
            self._tell(phase_name)

        def step_complete(self, phase_name: str, step: int) -> bool:
            self._progress.reach(phase_name, done=step + 1)
            self._tell(phase_name)
            return not cancelled()

        def phase_finish(self, phase_name: str) -> None:
            self._progress.finish(phase_name)
            self._tell(phase_name)

        def _tell(self, phase: str) -> None:
            now = (phase, self._progress.percent)
            if now != self._told:
                self._told = now
                tell(*now)

    return Monitor()
