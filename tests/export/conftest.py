"""What the exporter's tests share."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session", autouse=True)
def _quick_exports(onnx_registry: None) -> None:
    """Every test here may export to ONNX."""
