"""A hub on this machine, which this process takes for the hub, and nothing of the user's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import constants, utils

from tests.bundle.hub.sample import in_repository, sample_bundle
from tests.bundle.hub.server import HubServer, bundle_files
from tests.drawings import TINY_BUNDLE


@pytest.fixture(scope="package")
def direct_session() -> Iterator[None]:
    """One HTTP client for all tests, which takes long to make, and goes through no proxy."""
    utils.close_session()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "*")
        utils.get_session()
        yield
    utils.close_session()


@pytest.fixture
def hub(
    direct_session: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[HubServer]:
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user_cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.5)
    for module in ("file_download", "utils._http"):  # pauses between attempts
        monkeypatch.setattr(f"huggingface_hub.{module}.time", SimpleNamespace(sleep=lambda _: None))
    with HubServer() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


@pytest.fixture
def sample(hub: HubServer) -> HubServer:
    """The hub with the sample bundle in org/sample."""
    hub.commit("org/sample", in_repository(sample_bundle()))
    return hub


@pytest.fixture
def tiny(hub: HubServer) -> HubServer:
    """The hub with samclip-tiny in org/tiny."""
    hub.commit("org/tiny", bundle_files(TINY_BUNDLE))
    return hub
