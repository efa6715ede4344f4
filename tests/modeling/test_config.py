from __future__ import annotations

import pytest

from samclip_sdk.modeling.config import (
    PRESETS,
    ModelConfig,
)


@pytest.mark.parametrize("name", PRESETS)
def test_json_and_back(name: str) -> None:
    assert ModelConfig.model_validate_json(PRESETS[name].model_dump_json()) == PRESETS[name]
