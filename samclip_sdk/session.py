"""A graph that is ready to run, and the file that it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.bundle.graph_spec import TensorSpec
from samclip_sdk.errors import VerificationError

Arrays: TypeAlias = "Mapping[str, NDArray[np.generic]]"


@dataclass(frozen=True)
class GraphFile:
    """An artifact of a graph on the disk, verified.

    Attributes:
        path: what the runtime is pointed at; of a Core ML package its Manifest.json.
        sha256: of that file.
        weights_sha256: of the further files that it refers to, in the manifest's order.
        precision: "fp32", "fp16", "int8" or "palette6"; "bf16" if an fp32 file is to run so.
        axes: symbolic axis -> its one length in this file; empty where it takes any.
        proven: whether it was compared with eager torch on the runtime that it is for.
    """

    path: Path
    sha256: str = ""
    weights_sha256: tuple[str, ...] = ()
    precision: str = "fp32"
    axes: Mapping[str, int] = field(default_factory=dict)
    proven: bool = True


class Session(Protocol):
    """One graph, ready to run. A session never preprocesses, downloads or compiles."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What `run` must be fed with."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What `run` returns."""

    def run(self, feed: Arrays) -> dict[str, NDArray[np.generic]]:
        """Runs the graph.

        Args:
            feed: exactly the inputs, by name, in the contract's dtypes and shapes.

        Returns:
            The outputs by name, in the contract's dtypes and shapes.

        Raises:
            ValueError: the feed is not what `inputs` says, or the session is closed.
        """

    def close(self) -> None:
        """Frees what the session holds; it may be called again."""


def check_finite(outputs: Arrays, *, graph: str) -> None:
    """Refuses outputs that no answer can be made of.

    Raises:
        VerificationError: one of them holds NaN or infinity.
    """
    for name, values in outputs.items():
        if not np.isfinite(values).all():
            raise VerificationError(
                f"{name} of {graph} holds NaN or infinity: run `samclip verify`; if it passes, "
                "what the graph was given is damaged, a saved embedding for instance"
            )
