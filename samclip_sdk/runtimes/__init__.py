"""Runtimes: one file for each, behind one Protocol. None is imported before it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from samclip_sdk.errors import RuntimeMissingError
from samclip_sdk.manifest import GraphSpec
from samclip_sdk.runtimes.base import Arrays, Session

__all__ = ["Arrays", "Session", "open_session"]


def open_session(
    runtime: str, *, path: Path, spec: GraphSpec, providers: Sequence[str] = ()
) -> Session:
    """Opens one graph of a bundle; for a checkpoint's graphs see `runtimes.pytorch`.

    Args:
        runtime: "onnx".
        path: of the artifact.
        spec: the graph's contract, which the artifact must keep.
        providers: of onnxruntime, the preferred one first; the CPU if empty.

    Raises:
        RuntimeMissingError: the runtime is not installed, or this version has no such runtime.
        BundleError: the artifact cannot be loaded or breaks the contract.
    """
    match runtime:
        case "onnx":
            from samclip_sdk.runtimes.ort import OrtSession

            return OrtSession(path, spec=spec, providers=providers)
        case _:
            raise RuntimeMissingError(
                f'this version of samclip-sdk does not run bundles on {runtime!r}; use "onnx": '
                'pip install "samclip-sdk[onnx]"'
            )
