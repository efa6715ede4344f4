"""`python -m tests.fuzz.coverage_guided TARGET [OPTIONS OF LIBFUZZER]`: atheris looks for a way in.

It begins with the seeds in corpus/TARGET; what it finds on the way goes into the first folder that
is named among the options. What breaks a promise is written to a file and ends the run.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["samclip_sdk", "zipfile", "numpy.lib"]):
    from tests.fuzz.coverage_guided.targets import TARGETS, Targets

CORPUS = Path(__file__).parent / "corpus"


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"usage: python -m tests.fuzz.coverage_guided {'|'.join(TARGETS)} [OPTIONS]")
    target, options = sys.argv[1], sys.argv[2:]
    with tempfile.TemporaryDirectory() as folder:
        call = getattr(Targets(Path(folder)), target)
        atheris.Setup([sys.argv[0], *options, str(CORPUS / target)], call)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
