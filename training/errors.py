"""The errors of training, under the package's own tree of errors."""

from __future__ import annotations

from samclip_sdk.errors import SamClipError, SamClipWarning


class TrainingError(SamClipError):
    """A setting, a file or a folder that a stage cannot work with; the message says what to do."""


class TrainingWarning(SamClipWarning):
    """Data that is not as it should be, and is done without."""
