"""What loads here is found out by trying it."""

from __future__ import annotations

import importlib.metadata
import importlib.util

import onnxruntime
import pytest

from samclip_sdk.errors import RuntimeMissingError
from samclip_sdk.runtimes.availability import check_any_runtime
from samclip_sdk.runtimes.opening import runtime_states
from samclip_sdk.runtimes.table import RUNTIMES
from samclip_sdk.runtimes.versions import installed_versions
from tests.refusals import refused


def test_the_cpu_loads() -> None:
    (state,) = (each for each in runtime_states() if each.name == "onnx CPUExecutionProvider")
    assert state.loads
    assert state.version == onnxruntime.__version__
    assert installed_versions()["onnxruntime"] == state.version


def test_every_runtime_is_there_with_a_reason_if_it_does_not_load() -> None:
    states = runtime_states()
    assert {each.name.partition(" ")[0] for each in states} == set(RUNTIMES)
    assert all(each.loads != bool(each.reason) for each in states)


def test_two_packages_of_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    version = importlib.metadata.version

    def both(package: str) -> str:
        return "1.0" if package.startswith("onnxruntime") else version(package)

    monkeypatch.setattr(importlib.metadata, "version", both)
    reasons = [each.reason for each in runtime_states()]
    assert any("both installed" in reason for reason in reasons)


def test_without_a_runtime_the_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    refused(check_any_runtime, RuntimeMissingError, 'pip install "samclip-sdk[onnx]"')
