"""runtimes.json as Markdown: sets of artifacts on whole tasks, and every artifact by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.artifacts.measure import TASK, ArtifactRow, ModelRows, Runtimes, SetRow
from benchmarks.quality.report import NONE
from samclip_sdk.bundle.graph_spec import Measurement

_TASKS = {
    "box_mask_iou": "box masks, mean IoU",
    "text_mask_iou": "text-to-mask, mean IoU",
    "top1_agreement": "classes that agree",
    "embedding_cosine": "least cosine of embeddings",
}


def render(runtimes: Runtimes) -> str:
    """The tables, and under them how they were made."""
    lines: list[str] = []
    for model in runtimes.models:
        lines += [
            f"### {model.name}, {'random weights' if model.random_weights else 'trained'}",
            "",
        ]
        lines += [*_sets(model), "", *_artifacts(model), "", _footnote(model), ""]
    return "\n".join([*lines, ""])


def _sets(model: ModelRows) -> Iterator[str]:
    yield "| set | MB | " + " | ".join(_TASKS.values()) + " |"
    yield "|---|---:|" + "---:|" * len(_TASKS)
    for row in model.sets:
        cells = [_task(row, name) for name in _TASKS]
        yield f"| {row.runtime} {row.precision} | {row.bytes / 1e6:.1f} | {' | '.join(cells)} |"


def _task(row: SetRow, name: str) -> str:
    return next(
        (f"{each.measured:.4f}" for each in row.measurements if each.metric == f"{TASK}{name}"),
        NONE,
    )


def _artifacts(model: ModelRows) -> Iterator[str]:
    yield "| graph | runtime | MB | seconds | in fp32 | largest error | least cosine |"
    yield "|---|---|---:|---:|---:|---:|---:|"
    for row in model.artifacts:
        errors = _values(row.measurements, kind="max_error")
        cosines = _values(row.measurements, kind="min_cosine")
        error = f"{max(errors):.1e}" if errors else NONE
        cosine = f"{min(cosines):.6f}" if cosines else NONE
        yield (
            f"| {_name(row)} | {row.runtime} {row.precision} | {row.bytes / 1e6:.2f} | "
            f"{row.seconds:.1f} | {row.pinned or NONE} | {error} | {cosine} |"
        )


def _name(row: ArtifactRow) -> str:
    lengths = [str(length) for axis, length in row.axes.items() if axis != "num_points"]
    return f"{row.graph}, K = {lengths[0]}" if lengths else row.graph


def _values(measurements: Sequence[Measurement], *, kind: str) -> list[float]:
    return [each.measured for each in measurements if each.metric.startswith(f"{kind}/")]


def _footnote(model: ModelRows) -> str:
    where = model.environment
    engines = (
        f" Engines were built by {model.tensorrt}, without a GPU, and not run."
        if model.tensorrt
        else ""
    )
    return (
        "Sizes are of an artifact with all the weight files that it refers to, which precisions "
        "and resolutions share in ONNX; those of a set count each file once. Seconds are of "
        "converting, quantizing or building; `in fp32` counts the operations (fp16) or layers "
        f"(int8) that stay there.{engines} {where.cpu}, {where.cores} cores, {where.date[:10]}. "
        f"Measured by `{where.command}`."
    )
