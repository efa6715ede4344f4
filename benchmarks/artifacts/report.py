"""artifacts.json as Markdown: sets of artifacts on whole tasks, and every artifact by itself."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.artifacts.record import TASK, ArtifactRow, Artifacts, ModelArtifacts
from benchmarks.report import NONE, table

_TASKS = {
    "box_mask_iou": "box masks, mean IoU",
    "text_mask_iou": "text-to-mask, mean IoU",
    "top1_agreement": "classes that agree",
    "embedding_cosine": "least cosine of embeddings",
}
_HEADS = ("graph", "runtime", "MB", "seconds", "in fp32", "largest error", "least cosine")


def render(artifacts: Artifacts) -> str:
    """The tables, and under them how they were made."""
    return "\n\n".join(part for model in artifacts.models for part in _sections(model)) + "\n"


def _sections(model: ModelArtifacts) -> Iterator[str]:
    weights = "random weights" if model.model.random_weights else "trained"
    yield f"## {model.model.name}, {weights}"
    rows = []
    for row in model.sets:
        found = {each.metric: f"{each.measured:.4f}" for each in row.measurements}
        cells = [found.get(TASK + name, NONE) for name in _TASKS]
        rows.append([f"{row.runtime} {row.precision}", f"{row.bytes / 1e6:.1f}", *cells])
    yield table(("set", "MB", *_TASKS.values()), rows)
    yield table(_HEADS, map(_cells, model.artifacts), words=2)
    yield _footnote(model)


def _cells(row: ArtifactRow) -> list[str]:
    lengths = [str(length) for axis, length in row.axes.items() if axis != "num_points"]
    errors, cosines = (
        [each.measured for each in row.measurements if each.metric.startswith(f"{kind}/")]
        for kind in ("max_error", "min_cosine")
    )
    return [
        f"{row.graph}, K = {lengths[0]}" if lengths else row.graph,
        f"{row.runtime} {row.precision}",
        f"{row.bytes / 1e6:.2f}",
        f"{row.seconds:.1f}",
        str(row.pinned or NONE),
        f"{max(errors):.1e}" if errors else NONE,
        f"{min(cosines):.6f}" if cosines else NONE,
    ]


def _footnote(model: ModelArtifacts) -> str:
    where = model.environment
    engines = f"Engines were built by {model.tensorrt}. " if model.tensorrt else ""
    return (
        f"{engines}{where.cpu}, {where.cores} cores, {where.date[:10]}. Measured by "
        f"`{where.command}`."
    )
