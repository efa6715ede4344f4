"""The progress of a TensorRT engine's build: one number, computed from nested phases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

PERCENT = 100

OnPercent: TypeAlias = Callable[[str, int], None]
"""Called with the phase that changed last, and the percentage of the build that is done."""


@dataclass
class _Phase:
    """A phase that has begun: its parent, its number of steps, and how many are done."""

    parent: str | None
    steps: int
    done: int = 0


class BuildProgress:
    """Adds up the progress of the phases; a phase is one step of its parent.

    Steps are not equally long, so the number does not measure time; but it never decreases.
    """

    def __init__(self) -> None:
        self._phases: dict[str, _Phase] = {}
        self._percent = 0

    @property
    def percent(self) -> int:
        """The percentage that is done; 100 only after the outermost phase."""
        roots = [name for name, phase in self._phases.items() if phase.parent not in self._phases]
        done = max((self._share(name) for name in roots), default=0.0)
        self._percent = max(self._percent, int(PERCENT * done))
        return self._percent

    def start(self, name: str, *, parent: str | None, steps: int) -> None:
        """Notes that a phase begins."""
        self._phases[name] = _Phase(parent, steps=max(1, steps))

    def reach(self, name: str, *, done: int) -> None:
        """Notes how many steps of a phase are done; ignores a phase that has ended."""
        if name in self._phases:
            self._phases[name].done = done

    def finish(self, name: str) -> None:
        """Notes that a phase has ended; all steps of the outermost phase then count as done."""
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
    """Makes TensorRT's progress monitor, which it may call from several threads.

    Args:
        trt: the TensorRT module.
        tell: called at each change of the phase or the percentage.
        cancelled: returns True if the build must stop.
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
