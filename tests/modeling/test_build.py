from __future__ import annotations

import pytest
import torch

from samclip_sdk.modeling.build import SamClipModel, build_model
from samclip_sdk.modeling.config import PRESETS, ModelConfig


def test_the_seed_alone_decides(config: ModelConfig) -> None:
    torch.manual_seed(5)
    one = build_model(config, seed=1).state_dict()
    torch.manual_seed(6)
    same, other = build_model(config, seed=1).state_dict(), build_model(config, seed=2).state_dict()
    assert all(torch.equal(tensor, same[name]) for name, tensor in one.items())
    assert any(not torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_building_leaves_torchs_generator_alone(config: ModelConfig) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    build_model(config)
    assert torch.equal(torch.rand(3), expected)


def test_the_decoder_and_the_prompts_share_their_fourier_features(config: ModelConfig) -> None:
    model = build_model(config)
    assert torch.equal(
        model.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix,
        model.mask_decoder.pe_layer.positional_encoding_gaussian_matrix,
    )


@pytest.mark.parametrize("name", PRESETS)
def test_every_tensor_is_on_the_models_device(name: str) -> None:
    # The meta device refuses tensors of another one, as a GPU would, and computes nothing.
    preset = PRESETS[name]
    with torch.device("meta"):
        model = SamClipModel(preset)
    meta = {"device": torch.device("meta")}
    for side in (preset.segmentation_resolution, preset.classification_resolution):
        grid = side // preset.image_encoder.patch_size
        image = torch.zeros(1, 3, side, side, dtype=torch.uint8, **meta)
        tokens, embeddings, *_ = model.image_encoder(image)
        model.clip_head(tokens, torch.ones(1, grid, grid, **meta))
        prompts = model.prompt_encoder(
            torch.zeros(2, 3, 2, **meta),
            torch.zeros(2, 3, dtype=torch.int32, **meta),
            torch.zeros(2, 1, 4 * grid, 4 * grid, **meta),
            torch.zeros(2, **meta),
        )
        masks, _ = model.mask_decoder(embeddings, *prompts)
        assert masks.shape == (2, 4, 4 * grid, 4 * grid)
    length = preset.text_encoder.context_length
    texts = model.text_encoder(torch.zeros(2, length, dtype=torch.int32, **meta))
    assert texts.shape == (2, preset.embed_dim)
