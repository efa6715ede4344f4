from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from samclip_sdk.bundle.contract import contract_graphs, graph_key
from samclip_sdk.bundle.graph_spec import Measurement
from samclip_sdk.bundle.manifest import Manifest
from samclip_sdk.modeling.config import VIT_B, ClipHeadConfig
from samclip_sdk.system.records import check_relative_path
from tests.example_bundle import CONFIG, manifest


def parse(content: dict[str, Any]) -> Manifest:
    return Manifest.model_validate_json(json.dumps(content))


def test_survives_json() -> None:
    parsed = parse(manifest())
    assert Manifest.model_validate_json(parsed.model_dump_json()) == parsed


def test_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        parse(manifest()).name = "other"


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


def test_graph_key() -> None:
    assert graph_key("clip_head", 64) == "clip_head@64"
    assert graph_key("mask_decoder", 64) == graph_key("mask_decoder", None) == "mask_decoder"
    with pytest.raises(ValueError, match="several resolutions"):
        graph_key("image_encoder", None)


@pytest.mark.parametrize("path", ["a", "onnx/a@1.onnx", "a b/ü..x"])
def test_a_path_inside(path: str) -> None:
    assert check_relative_path(path) == path


@pytest.mark.parametrize(
    "path",
    ["", ".", "..", "../a", "a/../../b", "/a", "a//b", "a/", "./a", "a\\b", "c:/a", "c:a", "a\0"],
)
def test_a_path_outside(path: str) -> None:
    with pytest.raises(ValueError, match="not a plain relative path"):
        check_relative_path(path)


def test_a_measurement_beyond_its_bound() -> None:
    Measurement(metric="cosine", measured=0.9, bound=0.9, better="higher")
    for measured, better in ((0.89, "higher"), (0.91, "lower")):
        with pytest.raises(ValidationError, match="beyond its bound"):
            Measurement(metric="cosine", measured=measured, bound=0.9, better=better)


def unknown_field(content: dict[str, Any]) -> None:
    content["mask_treshold"] = 0.0


def lost_graph(content: dict[str, Any]) -> None:
    del content["graphs"]["clip_head@32"]


def unknown_graph(content: dict[str, Any]) -> None:
    content["graphs"]["depth_head"] = content["graphs"]["mask_decoder"]


def odd_resolution(content: dict[str, Any]) -> None:
    content["graphs"]["clip_head@50"] = content["graphs"]["clip_head@64"]


def swapped_outputs(content: dict[str, Any]) -> None:
    content["graphs"]["image_encoder@64"]["outputs"].reverse()


def other_shape(content: dict[str, Any]) -> None:
    content["graphs"]["mask_decoder"]["outputs"][0]["shape"][1] = 3


def no_artifact(content: dict[str, Any]) -> None:
    content["graphs"]["text_encoder"]["artifacts"] = []


def no_tokenizer(content: dict[str, Any]) -> None:
    content["files"] = []


def same_path_in_another_case(content: dict[str, Any]) -> None:
    content["files"].append({**content["files"][0], "path": "Tokenizer.json"})


def climbing_path(content: dict[str, Any]) -> None:
    content["graphs"]["text_encoder"]["artifacts"][0]["path"] = "../text_encoder.onnx"


def cropped_segmentation(content: dict[str, Any]) -> None:
    content["tasks"]["segmentation"]["crop"] = "center_crop"


def other_patch_size(content: dict[str, Any]) -> None:
    content["image"]["patch_size"] = 14


def template_without_label(content: dict[str, Any]) -> None:
    content["text"]["templates"] = ["a photo of a dog."]


def infinite_scale(content: dict[str, Any]) -> None:
    content["calibration"]["scale"] = float("inf")


def endless_bias(content: dict[str, Any]) -> None:
    content["calibration"]["mask_bias"] = 1e308  # infinite in float32


def certain_threshold(content: dict[str, Any]) -> None:
    content["calibration"]["presence_threshold"] = 1.0


def parity_without_figures(content: dict[str, Any]) -> None:
    content["graphs"]["text_encoder"]["artifacts"][0]["parity"]["measurements"] = []


def edition_without_its_graph(content: dict[str, Any]) -> None:
    content["text_to_mask"] = {"edition": "one_prompt"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (unknown_field, "Extra inputs"),
        (edition_without_its_graph, "must say what the graph of this name computes"),
        (lost_graph, "the graph clip_head@32 is missing"),
        (unknown_graph, "no graph depth_head"),
        (odd_resolution, "50 is not a positive multiple of 16"),
        (swapped_outputs, "outputs of image_encoder@64 are not the contract's"),
        (other_shape, "outputs of mask_decoder are not the contract's"),
        (no_artifact, "text_encoder has no artifact"),
        (no_tokenizer, "no tokenizer.json"),
        (same_path_in_another_case, "two files of the bundle"),
        (climbing_path, "not a plain relative path"),
        (cropped_segmentation, "must be letterbox"),
        (other_patch_size, "patch_size is not the model's"),
        (template_without_label, "pattern"),
        (infinite_scale, "finite"),
        (endless_bias, "less than or equal to 10000"),
        (certain_threshold, "less than 1"),
        (parity_without_figures, "holds no measurement"),
    ],
)
def test_refuses(change: Callable[[dict[str, Any]], None], message: str) -> None:
    content = manifest()
    change(content)
    with pytest.raises(ValidationError, match=message):
        parse(content)


def test_a_bundle_may_lack_the_text_encoder() -> None:
    """An app that ships text embeddings ships neither text encoder nor tokenizer."""
    content = manifest()
    del content["graphs"]["text_encoder"]
    content["files"] = []
    assert "text_encoder" not in parse(content).graphs
