"""An ExecuTorch program of a few operations, as the exporter made it; to run it needs executorch.

`tests/export/executorch/test_executorch.py` makes the same anew, and `python -m` of it writes it.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

needs_executorch = pytest.mark.skipif(
    importlib.util.find_spec("executorch") is None,
    reason="executorch is not installed: make test-executorch",
)

STORED = Path(__file__).with_name("arithmetic.pte")
"""The graph of tests/arithmetic_graph.py, with a method for 1 row and one for 8 rows.

Its inputs and outputs are in another order than the contract's: they are bound by name."""
