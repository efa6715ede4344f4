from __future__ import annotations

import json
from functools import partial
from typing import Any

from pydantic import ValidationError

from samclip_sdk.bundle.contract import contract_graphs
from samclip_sdk.bundle.graph_spec import Measurement
from samclip_sdk.bundle.manifest import Manifest
from samclip_sdk.modeling.config import VIT_B, ClipHeadConfig
from tests.example_bundle import CONFIG, manifest
from tests.refusals import refused


def parse(content: dict[str, Any]) -> Manifest:
    return Manifest.model_validate_json(json.dumps(content))


def test_lists_every_file_once() -> None:
    paths = [each.path for each in parse(manifest()).stored_files()]
    assert len(paths) == len(set(paths)) == 9
    assert "onnx/image_encoder.weights" in paths


def test_contract_is_the_papers() -> None:
    """The shapes of ViT-B at 1024 px, as the design's table has them."""
    model = VIT_B.model_copy(update={"clip_head": ClipHeadConfig(token_pooling={1024: 2})})
    graphs = contract_graphs(model, resolutions=[336, 1024])
    shapes = {
        name: {tensor.name: tensor.shape for tensor in (*graph.inputs, *graph.outputs)}
        for name, graph in graphs.items()
    }
    assert shapes["image_encoder@1024"] == {
        "image": (1, 3, 1024, 1024),
        "image_tokens": (1, 768, 64, 64),
        "image_embeddings": (1, 256, 64, 64),
    }
    assert shapes["clip_head@1024"] == {
        "image_tokens": (1, 768, 64, 64),
        "token_mask": (1, 64, 64),
        "patch_embeddings": (1, 32 * 32, 768),
        "image_embedding": (1, 768),
    }
    assert shapes["clip_head@336"]["patch_embeddings"] == (1, 21 * 21, 768)
    assert shapes["text_encoder"] == {
        "input_ids": ("num_texts", 77),
        "text_embeddings": ("num_texts", 768),
    }
    assert shapes["prompt_encoder"]["mask_input"] == ("num_prompts", 1, 256, 256)
    assert shapes["prompt_encoder"]["sparse_embeddings"] == ("num_prompts", "num_points", 256)
    assert shapes["mask_decoder"]["low_res_masks"] == ("num_prompts", 4, 256, 256)


def test_what_one_graph_returns_the_next_takes() -> None:
    graphs = contract_graphs(CONFIG, resolutions=[64])
    encoder, head = graphs["image_encoder@64"], graphs["clip_head@64"]
    assert head.inputs[0] == encoder.outputs[0]
    decoder = graphs["mask_decoder"]
    assert decoder.inputs == (encoder.outputs[1], *graphs["prompt_encoder"].outputs)


def test_a_measurement_beyond_its_bound() -> None:
    Measurement(metric="cosine", measured=0.9, bound=0.9, better="higher")
    for measured, better in ((0.89, "higher"), (0.91, "lower")):
        told = {"metric": "cosine", "measured": measured, "bound": 0.9, "better": better}
        refused(partial(Measurement.model_validate, told), ValidationError, "cosine")


def test_a_bundle_may_lack_the_text_encoder() -> None:
    """An app that ships text embeddings ships neither text encoder nor tokenizer."""
    content = manifest()
    del content["graphs"]["text_encoder"]
    content["files"] = []
    assert "text_encoder" not in parse(content).graphs
