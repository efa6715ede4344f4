"""A server of samclip-tiny for all tests of this folder, and the same model in this process."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from samclip_sdk import SamClip
from samclip_sdk.serve.settings import Limits
from tests.drawings import TINY_BUNDLE
from tests.serve.running_server import Running, running

LIMITS = Limits(
    body_mb=1, megapixels=1, images=3, labels=4, letters=20, prompts=20, points_per_side=8
)

KEY = "0123456789abcdef"


@pytest.fixture(scope="session")
def server() -> Iterator[Running]:
    with running(limits=LIMITS, keys=f"another-key-than-that, {KEY}") as found:
        yield found


@pytest.fixture(scope="session")
def client(server: Running) -> Iterator[httpx.Client]:
    headers = {"X-API-Key": KEY}
    with httpx.Client(base_url=server.url, headers=headers, timeout=60) as found:
        yield found


@pytest.fixture(scope="session")
def model() -> Iterator[SamClip]:
    with SamClip.load("onnx", model=TINY_BUNDLE, threads=1, text_cache=False) as found:
        yield found
