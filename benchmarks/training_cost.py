"""The record of what a merge costs, in operations and in GPU-hours, and its table.

Operations are counted. Hours follow from them, a device's peak and the share of it that is reached,
which are assumptions.
"""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.record import Record, Run
from benchmarks.report import NONE, columns


class StageCost(Record):
    """One stage.

    `pictures` and `scenes` go through, over all epochs. `picture_flop` are the operations of one
    picture, on the mean over the resolutions it is seen at, `cached_flop` the same with the
    teacher's embeddings from a cache, and `scene_flop` those of one scene with its prompts; 0 where
    there are none.
    """

    name: str
    pictures: float
    picture_flop: float
    cached_flop: float
    scene_flop: float
    scenes: float

    @property
    def flop(self) -> float:
        """Of the whole stage, the teacher run anew for each picture."""
        return self.pictures * self.picture_flop + self.scenes * self.scene_flop

    @property
    def flop_cached(self) -> float:
        """Of the whole stage, with cached embeddings."""
        return self.pictures * self.cached_flop + self.scenes * self.scene_flop


class TrainingCost(Run):
    """The whole of training_cost.json; `peak_tflops` and `utilisation` are assumptions."""

    config: str
    peak_tflops: float
    utilisation: float
    stages: tuple[StageCost, ...]

    def gpu_hours(self, flop: float) -> float:
        """Hours of one GPU for so many operations."""
        return flop / (self.peak_tflops * 1e12 * self.utilisation) / 3600


def render(cost: TrainingCost) -> str:
    """The table, with the hours of one GPU, and under it how it was made."""
    cells: dict[str, Callable[[StageCost], str]] = {
        "stage": lambda each: each.name,
        "GFLOP a picture": lambda each: f"{each.picture_flop / 1e9:.0f}",
        "without the teacher": lambda each: f"{each.cached_flop / 1e9:.0f}",
        "TFLOP a scene": lambda each: f"{each.scene_flop / 1e12:.1f}" if each.scene_flop else NONE,
        "GPU-hours": lambda each: f"{cost.gpu_hours(each.flop):,.0f}",
        "with cached embeddings": lambda each: f"{cost.gpu_hours(each.flop_cached):,.0f}",
    }
    environment = cost.environment
    return (
        f"{columns(cost.stages, cells, words=1)}\n\nThe merge of the config {cost.config}. Hours "
        f"are those of one GPU of {cost.peak_tflops:g} TFLOP/s, of which {cost.utilisation:.0%} "
        f"are assumed to be reached. {environment.date[:10]}. Counted by `{environment.command}`.\n"
    )
