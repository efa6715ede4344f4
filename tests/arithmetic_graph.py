"""A graph for tests of sessions: its contract and an input."""

from __future__ import annotations

from typing import Any

import numpy as np

from samclip_sdk.bundle.graph_spec import GraphSpec, TensorSpec

# A graph with every kind of axis and two outputs that could be mistaken for one another.
SPEC = GraphSpec(
    inputs=(
        TensorSpec(name="left", dtype="float32", shape=("rows", 3)),
        TensorSpec(name="right", dtype="float32", shape=("rows", 3)),
        TensorSpec(name="count", dtype="int32", shape=(1,)),
    ),
    outputs=(
        TensorSpec(name="difference", dtype="float32", shape=("rows", 3)),
        TensorSpec(name="product", dtype="float32", shape=("rows", 3)),
    ),
)


def feed(rows: int = 2) -> dict[str, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(rows)
    return {
        "left": rng.normal(size=(rows, 3)).astype(np.float32),
        "right": rng.normal(size=(rows, 3)).astype(np.float32),
        "count": np.array([3], dtype=np.int32),
    }
