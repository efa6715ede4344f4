"""HTTP errors: the refusal of a request, and the status and name of each error."""

from __future__ import annotations

from samclip_sdk.errors import BundleError, SamClipError


class RefusedError(SamClipError):
    """The refusal of a request, with an HTTP status.

    Args:
        message: the reason, in one line.
        status: the HTTP status, 400 to 599.
        retry_after_s: the seconds after which the request may be sent again; None if that would not
            help.
    """

    def __init__(self, message: str, *, status: int, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


def status_of(error: SamClipError) -> int:
    """The HTTP status of an error: 500 for a fault of the server's bundle, else the request's."""
    if isinstance(error, RefusedError):
        return error.status
    return 500 if isinstance(error, BundleError) else 422


def name_of(error: SamClipError) -> str:
    """The name of an error in an answer: its class, or "Refused"."""
    return "Refused" if isinstance(error, RefusedError) else type(error).__name__
