"""What a server answers instead of what was asked, and with which status."""

from __future__ import annotations

from samclip_sdk.errors import BundleError, SamClipError


class RefusedError(SamClipError):
    """A request that is not answered, for a reason that HTTP has a status for.

    Args:
        message: one line.
        status: of the answer, 400 to 599.
        retry_after_s: after how many seconds it may be sent again; None if that would not help.
    """

    def __init__(self, message: str, *, status: int, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


def status_of(error: SamClipError) -> int:
    """The status that tells of an error: a fault of the request, or of the server's own model."""
    if isinstance(error, RefusedError):
        return error.status
    return 500 if isinstance(error, BundleError) else 422


def name_of(error: SamClipError) -> str:
    """How an answer names an error: its class; of a refusal what HTTP calls its status."""
    return "Refused" if isinstance(error, RefusedError) else type(error).__name__
