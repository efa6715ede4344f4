"""The record of how objects are followed through the made video, and its table."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.record import Model, Record, Run, Share
from benchmarks.report import columns, percent


class Followed(Record):
    """The made video by one way of following.

    `way` is "segment_text" on each frame, or "stream"; `encode_every` is its option, 1 of
    segment_text. `frames_per_second` is the median over the rounds, `times_segment_text` the
    median of the ratio to segment_text in the same round. Of the objects, in frames in which half
    of one or more can be seen: `found` is the share with a mask of its label of IoU 0.5 or more,
    `mean_iou` the mean IoU of the best such mask, 0 where there is none, and `ids_kept` the share
    found under the id that the object had when it was first found; null without ids. `still_iou`
    is `mean_iou` where masks stay where the model last saw them.
    """

    way: str
    encode_every: int
    frames_per_second: float
    times_segment_text: float
    found: Share
    mean_iou: Share
    still_iou: Share
    ids_kept: Share | None
    ids: int | None


class VideoQuality(Run):
    """The whole of video.json; `threads` are the runtime's, 0 for its own choice."""

    model: Model
    threads: int
    frames: int
    objects: int
    rounds: int
    ways: tuple[Followed, ...]


_CELLS: dict[str, Callable[[Followed], str]] = {
    "": lambda row: row.way if row.ids is None else f"{row.way}, encode_every={row.encode_every}",
    "frames/s": lambda row: f"{row.frames_per_second:.1f}",
    "times segment_text": lambda row: f"{row.times_segment_text:.2f}",
    "found, %": lambda row: percent(row.found),
    "mean IoU, %": lambda row: percent(row.mean_iou),
    "masks left still": lambda row: percent(row.still_iou),
    "ids kept, %": lambda row: percent(row.ids_kept),
    "ids given": lambda row: "–" if row.ids is None else str(row.ids),
}


def render(record: VideoQuality) -> str:
    """The table, and under it how it was made."""
    where = record.environment
    threads = f"{record.threads} threads" if record.threads != 1 else "one thread"
    return (
        f"{columns(record.ways, _CELLS, words=1)}\n\n{record.model.name} on {record.model.runtime} "
        f"{record.model.precision}, {threads}; {record.frames} frames with {record.objects} "
        f"objects, median of {record.rounds} rounds. {where.cpu}, {where.cores} cores, "
        f"{where.date[:10]}. Measured by `{where.command}`.\n"
    )
