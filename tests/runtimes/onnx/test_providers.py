"""Which execution providers a session gets, and what they are told.

No GPU is needed: what onnxruntime is handed is looked at, not what CUDA makes of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime
import pytest

from samclip_sdk.errors import RuntimeMissingError
from samclip_sdk.runtimes.onnx.providers import (
    CPU_PROVIDER,
    CUDA_PROVIDER,
    check_providers,
    usable_providers,
    wanted_providers,
)
from samclip_sdk.runtimes.options import RuntimeOptions
from tests.runtimes.test_sessions import open_onnx_file, write_onnx

TENSORRT = "TensorrtExecutionProvider"


class Gpu:
    """Stands in for an onnxruntime that can use CUDA; holds what its sessions were given."""

    def __init__(self, *, dropping: bool = False, count: int = 2) -> None:
        self.given: list[list[tuple[str, dict[str, str]]]] = []
        self._dropping, self._count = dropping, count
        self._real = onnxruntime.InferenceSession

    def open(
        self, model: Any, *, sess_options: Any, providers: list[Any], enable_fallback: int
    ) -> Any:
        self.given.append(providers)
        numbers = [int(settings.get("device_id", 0)) for _, settings in providers]
        if max(numbers) >= self._count:
            raise RuntimeError("CUDA failure 101: invalid device ordinal\nmore")
        session = self._real(model, sess_options, providers=[CPU_PROVIDER])
        if not self._dropping:
            session.get_providers = lambda: [name for name, _ in providers]
        return session


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Gpu:
    return install(monkeypatch, Gpu())


def install(monkeypatch: pytest.MonkeyPatch, gpu: Gpu) -> Gpu:
    listed = [TENSORRT, CUDA_PROVIDER, CPU_PROVIDER]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: listed)
    monkeypatch.setattr(onnxruntime, "InferenceSession", gpu.open)
    return gpu


@pytest.mark.parametrize(
    ("options", "providers"),
    [
        ({}, [CPU_PROVIDER]),
        ({"device": "cpu"}, [CPU_PROVIDER]),
        ({"device": "cuda"}, [CUDA_PROVIDER, CPU_PROVIDER]),
        ({"providers": [CPU_PROVIDER]}, [CPU_PROVIDER]),
        ({"providers": [CUDA_PROVIDER, CPU_PROVIDER]}, [CUDA_PROVIDER, CPU_PROVIDER]),
        ({"providers": [TENSORRT, CUDA_PROVIDER]}, [TENSORRT, CUDA_PROVIDER, CPU_PROVIDER]),
    ],
)
def test_the_cpu_is_always_the_last(options: dict[str, Any], providers: list[str]) -> None:
    assert list(wanted_providers(RuntimeOptions(**options))) == providers


@pytest.mark.parametrize(
    ("options", "number"),
    [({"device": "cuda"}, "0"), ({"device": "cuda:1"}, "1"), ({"providers": [CUDA_PROVIDER]}, "0")],
)
def test_cuda_is_told_to_keep_fp32(
    tmp_path: Path, gpu: Gpu, options: dict[str, Any], number: str
) -> None:
    open_onnx_file(write_onnx(tmp_path / "graph.onnx"), options=RuntimeOptions(**options))
    cuda = (CUDA_PROVIDER, {"device_id": number, "use_tf32": "0"})
    assert gpu.given == [[cuda, (CPU_PROVIDER, {})]]


def test_what_loads_passes(gpu: Gpu) -> None:
    check_providers(RuntimeOptions(device="cuda:1"))
    assert len(gpu.given) == 1


def test_a_device_that_is_not_there(gpu: Gpu) -> None:
    message = r"onnxruntime cannot use cuda:2 here: CUDA failure 101: invalid device ordinal$"
    with pytest.raises(RuntimeMissingError, match=message):
        check_providers(RuntimeOptions(device="cuda:2"))


def test_a_provider_that_is_listed_and_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As CUDA's is where its libraries do not load; nothing may then run on the CPU unasked."""
    install(monkeypatch, Gpu(dropping=True))
    message = "cannot use CUDAExecutionProvider here, only CPUExecutionProvider; for NVIDIA GPUs"
    path, options = write_onnx(tmp_path / "graph.onnx"), RuntimeOptions(device="cuda")
    with pytest.raises(RuntimeMissingError, match=message):
        check_providers(options)
    with pytest.raises(RuntimeMissingError, match=message):
        open_onnx_file(path, options=options)


@pytest.mark.parametrize("name", ["NoSuchExecutionProvider", "AzureExecutionProvider", "cpu"])
def test_a_provider_that_runs_nothing_here(tmp_path: Path, name: str) -> None:
    path = write_onnx(tmp_path / "graph.onnx")
    with pytest.raises(RuntimeMissingError, match=rf"cannot use {name} here, .*\[onnx-gpu\]"):
        open_onnx_file(path, options=RuntimeOptions(providers=(name,)))


def test_servers_are_no_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = ["AzureExecutionProvider", CPU_PROVIDER]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: listed)
    assert usable_providers() == (CPU_PROVIDER,)
