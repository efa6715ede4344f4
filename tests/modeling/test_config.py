from __future__ import annotations

import pytest

from samclip_sdk.modeling.config import (
    PRESETS,
    VIT_B,
    ModelConfig,
)


@pytest.mark.parametrize("name", PRESETS)
def test_json_and_back(name: str) -> None:
    assert ModelConfig.model_validate_json(PRESETS[name].model_dump_json()) == PRESETS[name]


def test_token_pooling_survives_json() -> None:
    # JSON has text keys only.
    back = ModelConfig.model_validate_json(VIT_B.model_dump_json())
    assert back.token_pooling(1024) == 2
    assert back.token_pooling(336) == 1
