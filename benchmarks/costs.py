"""The records of what the presets' image encoders, a merge and annotation cost; their tables."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median_low

from pydantic import Field

from benchmarks.record import Model, Record, Run
from benchmarks.report import NONE, columns, spread, table, three_digits
from samclip_sdk.modeling.config import PRESETS, ModelConfig

_LARGE = ("vit_l", "vit_h")  # not made for devices


class EncoderCost(Record):
    """The image encoder of a preset at a resolution, as it is exported.

    A multiplication and an addition are two operations, of which `flop` has those of matrix
    products and convolutions. `rounds_p50_ms` is the median of each round; empty where only
    operations were counted.
    """

    preset: str
    resolution: int
    parameters: int
    flop: int
    rounds_p50_ms: tuple[float, ...]


class EncoderCosts(Run):
    """The whole of encoders.json; `threads` is onnxruntime's for a graph, 0 its own choice."""

    threads: int
    encoders: tuple[EncoderCost, ...] = Field(min_length=1)


def find_presets(names: Sequence[str]) -> dict[str, ModelConfig]:
    """The presets of these names; without any, all that are made for devices."""
    for name in names:
        if name not in PRESETS:
            raise ValueError(f"there is no preset {name!r}: {', '.join(PRESETS)}")
    for_devices = [name for name in PRESETS if name not in _LARGE]
    return {name: PRESETS[name] for name in names or for_devices}


def render_encoders(costs: EncoderCosts) -> str:
    """A row for each preset, and under the table how it was made."""
    ranked = sorted(costs.encoders, key=lambda each: each.resolution)
    sizes = dict.fromkeys(each.resolution for each in ranked)
    figures = [f"{what}, {size} px" for what in ("GFLOP", "ms") for size in sizes]
    rows = []
    for name in dict.fromkeys(each.preset for each in costs.encoders):
        own = [each for each in ranked if each.preset == name]
        flop = [three_digits(each.flop / 1e9) for each in own]
        times = [_time(each.rounds_p50_ms) for each in own]
        rows.append([f"`{name}`", f"{own[0].parameters / 1e6:.1f}", *flop, *times])
    where = costs.environment
    how = "Operations are counted; no time was measured yet."
    if any(each.rounds_p50_ms for each in costs.encoders):
        threads = f"{costs.threads} threads" if costs.threads else "as many threads as it chooses"
        how = (
            "Medians of the rounds, with the least and the greatest; one picture, fp32 on "
            f"onnxruntime {where.versions['onnxruntime']}, {threads}; {where.cpu}."
        )
    return (
        f"{table(['preset', 'parameters, M', *figures], rows)}\n\nThe image encoders of the "
        f"presets, with random weights. {how} {where.day}. Made by `{where.command}`.\n"
    )


def _time(rounds_ms: Sequence[float]) -> str:
    """The middle one of the rounds' medians, of an even number the faster of two."""
    return spread(median_low(rounds_ms), min(rounds_ms), max(rounds_ms)) if rounds_ms else NONE


class StageCost(Record):
    """One stage of a merge.

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
    """The whole of training_cost.json, as counted; `peak_tflops` and `utilisation` are assumed."""

    config: str
    peak_tflops: float
    utilisation: float
    stages: tuple[StageCost, ...]

    def gpu_hours(self, flop: float) -> float:
        """Hours of one GPU for so many operations."""
        return flop / (self.peak_tflops * 1e12 * self.utilisation) / 3600


def render_training(cost: TrainingCost) -> str:
    """The table, with the hours of one GPU, and under it how it was made."""
    cells = {
        "stage": lambda each: each.name,
        "GFLOP a picture": lambda each: f"{each.picture_flop / 1e9:.0f}",
        "without the teacher": lambda each: f"{each.cached_flop / 1e9:.0f}",
        "TFLOP a scene": lambda each: f"{each.scene_flop / 1e12:.1f}" if each.scene_flop else NONE,
        "GPU-hours": lambda each: f"{cost.gpu_hours(each.flop):,.0f}",
        "with cached embeddings": lambda each: f"{cost.gpu_hours(each.flop_cached):,.0f}",
    }
    return (
        f"{columns(cost.stages, cells, words=1)}\n\nThe merge of the config {cost.config}. Hours "
        f"are those of one GPU of {cost.peak_tflops:g} TFLOP/s, of which {cost.utilisation:.0%} "
        f"are assumed to be reached. {cost.environment.day}. Counted by "
        f"`{cost.environment.command}`.\n"
    )


FEW = 10
"""Labels of annotation by workers."""


class AnnotationCost(Record):
    """A run: so many pictures and labels, by so many workers of Ray; 0 stands for this process.

    `seconds` does not hold the start of a cluster; of workers it holds that they open their models.
    """

    pictures: int
    labels: int
    workers: int
    seconds: float


class AnnotationCosts(Run):
    """Of one model, with one thread in each process; `single` is in this one, `workers` on Ray."""

    model: Model
    single: tuple[AnnotationCost, ...]
    workers: tuple[AnnotationCost, ...]


def render_annotation(record: AnnotationCosts) -> dict[str, str]:
    """Two tables: one process by pictures and labels; workers."""
    seconds = {"seconds": lambda each: three_digits(each.seconds)}
    one = {
        "pictures": lambda each: str(each.pictures),
        "labels": lambda each: str(each.labels),
        **seconds,
        "ms a picture": lambda each: three_digits(1000 * each.seconds / each.pictures),
    }
    where = record.environment
    note = (
        f"\n\n{record.model.text}; {where.cpu}, {where.cores} cores, one thread a process; "
        f"{where.day}.\n"
    )
    alone = next(each for each in record.single if each.labels == FEW)
    rows = (alone, *record.workers)
    many = {
        "workers": lambda each: str(each.workers or "none: one process"),
        **seconds,
        "pictures/s": lambda each: three_digits(each.pictures / each.seconds),
        "against one process": lambda each: f"{alone.seconds / each.seconds:.2f}",
    }
    return {
        "annotate_labels": columns(record.single, one, words=0) + note,
        "annotate_workers": columns(rows, many, words=1) + note,
    }
