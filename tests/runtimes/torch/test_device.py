"""torch on a device that is chosen, and in full fp32 on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from samclip_sdk import RuntimeMissingError, SamClip
from samclip_sdk.runtimes.torch.session import TorchSession
from tests.runtimes.test_sessions import SPEC, feed


def rounding() -> tuple[bool, bool]:
    return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32


def round_as(convolutions: bool, products: bool) -> None:
    torch.backends.cudnn.allow_tf32 = convolutions
    torch.backends.cuda.matmul.allow_tf32 = products


@pytest.fixture
def rounds() -> Iterator[None]:
    """A process that lets CUDA round, as torch's default is for convolutions."""
    before = rounding()
    round_as(True, True)
    yield
    round_as(*before)


@pytest.mark.usefixtures("rounds")
def test_a_session_on_cuda_rounds_nothing_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no GPU here: the tensors stay on the CPU, the switches are the process's."""
    seen = []

    class Watching(nn.Module):
        def forward(self, left: Tensor, right: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
            seen.append(rounding())
            return left - right, left * count

    def on_cpu(array: np.ndarray[Any, Any], *, device: str) -> Tensor:
        assert device == "cuda"
        return torch.from_numpy(array)

    monkeypatch.setattr(torch, "tensor", on_cpu)
    TorchSession(Watching(), spec=SPEC, device="cuda").run(feed())
    assert seen == [(False, False)]
    assert rounding() == (True, True)


def test_a_device_is_chosen(tiny_checkpoint: Path) -> None:
    with SamClip.load("torch", model=tiny_checkpoint, device="cpu") as model:
        model.embed_text("a dog")


@pytest.mark.parametrize("device", ["cuda", "cuda:7", "mps", "meta", "abacus"])
def test_a_device_that_is_not_there(tiny_checkpoint: Path, device: str) -> None:
    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(RuntimeMissingError, match=f"torch cannot use {device} here: ") as caught:
        SamClip.load("torch", model=tiny_checkpoint, device=device)
    assert "\n" not in str(caught.value)
