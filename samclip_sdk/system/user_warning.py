"""Warnings that point to the line of the user's code that they are about."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

from samclip_sdk.errors import SamClipWarning

_OWN_FOLDER = f"{Path(__file__).parents[1]}{os.sep}"


def warn_user(message: str, category: type[SamClipWarning]) -> None:
    """Warns at the innermost line outside this package that led here.

    Python 3.12 has `skip_file_prefixes` for this.
    """
    stacklevel = 1
    frame = sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_OWN_FOLDER):
        frame, stacklevel = frame.f_back, stacklevel + 1
    warnings.warn(message, category, stacklevel=stacklevel)
