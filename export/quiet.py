"""Keeps converters from writing to the terminal."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hides a converter's progress bars, for which there is no option, and its warnings."""
    before = logging.root.manager.disable
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stderr(io.StringIO()),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        warnings.simplefilter("ignore")  # numpy's and torch's, about the converter's own code
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)
