"""Importing a runtime neither writes about this device nor opens a connection."""

from __future__ import annotations

import importlib
import os
import sys

import pytest

from samclip_sdk.system.packages import import_onnxruntime, import_openvino


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    import_onnxruntime()
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "0"
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY")
    import_onnxruntime()
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"


def test_the_sender_can_be_imported_afterwards() -> None:
    import_openvino()
    assert importlib.import_module("openvino_telemetry").__name__ in sys.modules
