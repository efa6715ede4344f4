from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from samclip_sdk import SamClip
from tests.fake_source import FakeSource, fake_client


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[FakeSource]:
    """Puts fake models behind `SamClip.load`; holds those that were loaded."""
    loaded: list[FakeSource] = []

    def load(runtime: str, **options: Any) -> SamClip:
        model, source = fake_client(tmp_path)
        loaded.append(source)
        return model

    monkeypatch.setattr(SamClip, "load", load)
    return loaded
