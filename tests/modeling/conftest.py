from __future__ import annotations

import pytest
import torch

from samclip_sdk.modeling.build import SamClipModel, build_model
from samclip_sdk.modeling.config import ClipTextConfig, ModelConfig
from tests.tiny_config import TINY


@pytest.fixture(scope="session")
def config() -> ModelConfig:
    """A vocabulary of 50; windows of 3 on grids of 8 and 4 pad."""
    text = ClipTextConfig(
        context_length=12, vocab_size=50, width=32, num_heads=2, depth=2, embedding_width=20
    )
    return TINY.model_copy(update={"text_encoder": text})


@pytest.fixture
def model(config: ModelConfig) -> SamClipModel:
    """A model whose every parameter shows: none is left at zero or one."""
    model = build_model(config, seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.15 * torch.randn(parameter.shape, generator=generator))
    return model.requires_grad_(False)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)
