"""A student as small as the data allows, whose patches have the 16 px of the batches' masks."""

from __future__ import annotations

import pytest

from samclip_sdk.modeling.config import (
    ClipHeadConfig,
    ImageEncoderConfig,
    MaskDecoderConfig,
    ModelConfig,
    TextEncoderConfig,
)
from training.scenes import Corpus, load_corpus
from training.vocabulary import CORPUS, Noun, tiny_vocabulary


@pytest.fixture(scope="session")
def student_config() -> ModelConfig:
    return ModelConfig(
        name="student-test",
        embed_dim=16,
        classification_resolution=64,
        segmentation_resolution=64,
        image_encoder=ImageEncoderConfig(
            image_size_px=64,
            embed_dim=32,
            depth=2,
            num_heads=2,
            window_size=3,
            global_attn_indexes=(1,),
        ),
        clip_head=ClipHeadConfig(depth=1, hidden_dim=32),
        mask_decoder=MaskDecoderConfig(
            embed_dim=32, mask_in_chans=8, num_heads=2, mlp_dim=32, iou_head_hidden_dim=16
        ),
        text_encoder=TextEncoderConfig(width=32, num_heads=2, depth=1, embedding_width=8),
    )


@pytest.fixture(scope="session")
def nouns() -> tuple[Noun, ...]:
    return tiny_vocabulary(8)


@pytest.fixture(scope="session")
def corpus(nouns: tuple[Noun, ...]) -> Corpus:
    return load_corpus(CORPUS, split="train", nouns=[noun.name for noun in nouns])
