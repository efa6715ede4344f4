"""The record of a choice: what was asked, what was tried on which device, and what came of it."""

from __future__ import annotations

from samclip_sdk.system.records import Record

AUTO = "auto"
"""The runtime or precision that is chosen by measuring."""


class Request(Record):
    """What was asked for: a runtime or "auto", a precision, "auto" or None, and the options."""

    runtime: str
    precision: str | None
    device: str | None
    providers: tuple[str, ...]
    compute_units: str
    threads: int


class Device(Record):
    """What a choice holds for. `gpu` is empty where there is none of NVIDIA's."""

    cpu: str
    cores: int
    gpu: str
    versions: dict[str, str]


class GoldenError(Record):
    """A golden's error and bound; the error is None where an output was not finite."""

    name: str
    error: float | None
    bound: float


class Trial(Record):
    """What came of a candidate.

    `refused` says why it is out, and is empty if it is not. A pass is what a user asks for: encode
    a picture, find labels in it. `median_ms` is that of warm ones.
    """

    runtime: str
    precision: str
    refused: str = ""
    goldens: tuple[GoldenError, ...] = ()
    median_ms: float | None = None

    @property
    def name(self) -> str:
        """The runtime and the precision."""
        return f"{self.runtime} {self.precision}"


class Selection(Record):
    """A choice, and what it rests on; `date` is ISO 8601, UTC."""

    bundle_id: str
    request: Request
    device: Device
    runtime: str
    precision: str
    reason: str
    date: str
    trials: tuple[Trial, ...]
