"""What annotation costs: the record of `benchmarks.annotate`, and its tables."""

from __future__ import annotations

from benchmarks.record import Model, Record, Run
from benchmarks.report import columns, three_digits

FEW = 10
"""Labels of runs by workers."""


class Cost(Record):
    """A run: so many pictures and labels, by so many workers of Ray; 0 stands for this process.

    `seconds` does not hold the start of a cluster; of workers it holds that they open their models.
    """

    pictures: int
    labels: int
    workers: int
    seconds: float

    @property
    def per_picture_ms(self) -> float:
        """Of a picture, on average."""
        return 1000 * self.seconds / self.pictures


class AnnotateCost(Run):
    """Of one model, with one thread in each process; `single` is in this one, `workers` on Ray."""

    model: Model
    single: tuple[Cost, ...]
    workers: tuple[Cost, ...]


def render(record: AnnotateCost) -> dict[str, str]:
    """Two tables: one process by pictures and labels; workers."""
    seconds = {"seconds": lambda each: three_digits(each.seconds)}
    one = {
        "pictures": lambda each: str(each.pictures),
        "labels": lambda each: str(each.labels),
        **seconds,
        "ms a picture": lambda each: three_digits(each.per_picture_ms),
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
