"""A graph of a bundle: its input and output tensors, and the artifacts that compute it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    Field,
    model_validator,
)

from samclip_sdk.errors import one_line
from samclip_sdk.system.records import Line, Record, RelativePath, Sha256

Runtime = Literal["onnx", "openvino", "coreml", "tensorrt", "litert", "executorch"]
Precision = Literal["fp32", "fp16", "int8", "palette6"]
DType = Literal["uint8", "int32", "float32"]


class StoredFile(Record):
    """A file of the bundle."""

    path: RelativePath
    sha256: Sha256
    size_bytes: int = Field(ge=0)


class TensorSpec(Record):
    """An input or output of a graph; a symbolic axis has a name instead of a size."""

    name: Line
    dtype: DType
    shape: tuple[int | str, ...]


class Measurement(Record):
    """A metric of an artifact against eager torch, and the bound it was accepted on."""

    metric: Line
    measured: float
    bound: float
    better: Literal["lower", "higher"]

    @model_validator(mode="after")
    def _check(self) -> Measurement:
        low, high = sorted((self.measured, self.bound))
        if (self.better == "lower" and self.measured != low) or (
            self.better == "higher" and self.measured != high
        ):
            raise ValueError(f"{self.metric} is {self.measured}, beyond its bound {self.bound}")
        return self


class Parity(Record):
    """The comparison of an artifact with eager torch.

    `measured_on` is None where the machine that exported could not run the artifact at all.
    `on_target` is False where something else than its runtime ran it: a reference interpreter of a
    Core ML program tells what the program computes, not what a Neural Engine or a GPU makes of it.
    Only `samclip verify` on the device tells that.
    """

    measured_on: Line | None
    on_target: bool = True
    measurements: tuple[Measurement, ...]

    @model_validator(mode="after")
    def _check(self) -> Parity:
        if self.measured_on is not None and not self.measurements:
            raise ValueError("parity names a machine and holds no measurement")
        return self


class Artifact(StoredFile):
    """A graph as one runtime reads it.

    Its path is the file that the runtime opens; for a Core ML package, which is a folder, its
    Manifest.json. `weights` are the further files that it reads; several artifacts may share one.
    `axes` are the symbolic axes that have one length in it. If a runtime and precision have several
    artifacts, each is for other lengths.
    """

    runtime: Runtime
    precision: Precision
    target: Line = "any"
    axes: dict[str, Annotated[int, Field(gt=0)]] = Field(default_factory=dict)
    weights: tuple[StoredFile, ...] = ()
    parity: Parity

    @model_validator(mode="after")
    def _check(self) -> Artifact:
        # OpenVINO and onnxruntime tell the format of a file by its name.
        if self.runtime == "onnx" and not self.path.endswith(".onnx"):
            raise ValueError(f"{one_line(self.path)} is an ONNX graph: its name must end in .onnx")
        return self


class Pin(Record):
    """An operation that a reduced-precision artifact computes in fp32.

    `operation` is the submodule's path and the operator's name, "layers.3.attn:softmax" for
    instance; `peak` is the largest magnitude seen among its inputs and outputs. `reason` says why:
    the contract asks for it (coordinates, the last normalisation), fp16 may not hold the numbers,
    or a metric is lost without it.
    """

    operation: Line
    reason: Literal["contract", "overflow", "task"]
    peak: float = Field(ge=0)


class GraphSpec(Record):
    """Inputs and outputs of a graph, bound by name, and its artifacts, the preferred one first.

    `bf16_stem` names a value in its ONNX files. What computes that value stays in fp32 where a
    runtime computes the rest of the graph in bf16.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    bf16_stem: Line | None = None
    artifacts: tuple[Artifact, ...] = ()
