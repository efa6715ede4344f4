"""The records of an automatic choice: the request, the device, the trials and the result."""

from __future__ import annotations

from samclip_sdk.system.records import Record

AUTO = "auto"
"""The runtime or precision that is chosen by measuring."""

ENOUGH = 3
"""How often in a row the same choice comes out, in doubt each time, until it is kept."""


class Request(Record):
    """The request: a runtime or "auto"; a precision, "auto" or None; and the options."""

    runtime: str
    precision: str | None
    device: str | None
    providers: tuple[str, ...]
    compute_units: str
    threads: int


class Device(Record):
    """The device that a choice is valid for. `gpu` is empty without an NVIDIA GPU.

    `cores` is less than the machine's under the quota of a container.
    """

    cpu: str
    cores: float
    gpu: str
    versions: dict[str, str]


class GoldenError(Record):
    """A golden's error and its bound; the error is None if an output was not finite."""

    name: str
    error: float | None
    bound: float


class Ratio(Record):
    """A candidate's time as a share of the reference's, in turns: the median and the quartiles."""

    median: float
    low: float
    high: float


class Trial(Record):
    """The result of trying one candidate.

    `refused` is the reason for its refusal, or empty. A timed pass does a user's work: it encodes
    an image and finds labels in it. `median_ms` is the median of the passes after a warm-up;
    `ratio` is to the reference, the first candidate that keeps its bounds, which has 1.
    """

    runtime: str
    precision: str
    refused: str = ""
    goldens: tuple[GoldenError, ...] = ()
    median_ms: float | None = None
    ratio: Ratio | None = None

    @property
    def name(self) -> str:
        """The runtime and the precision."""
        return f"{self.runtime} {self.precision}"


class Selection(Record):
    """A choice and the trials that it is based on; `date` is ISO 8601, UTC.

    `in_doubt` tells how often in a row this was chosen although the times varied too much; 0 if
    they did not, the last time. It is `settled` then, or once it came out often enough.
    """

    bundle_id: str
    request: Request
    device: Device
    runtime: str
    precision: str
    reason: str
    date: str
    trials: tuple[Trial, ...]
    in_doubt: int

    @property
    def name(self) -> str:
        """The runtime and the precision."""
        return f"{self.runtime} {self.precision}"

    @property
    def settled(self) -> bool:
        """Whether the next load takes it without measuring again."""
        return self.in_doubt == 0 or self.in_doubt >= ENOUGH
