from __future__ import annotations

import json
from functools import partial
from typing import Any

from pydantic import ValidationError

from samclip_sdk.bundle.contract import contract_graphs
from samclip_sdk.bundle.graph_spec import Measurement
from samclip_sdk.bundle.manifest import Manifest
from tests.example_bundle import CONFIG, manifest
from tests.refusals import refused


def parse(content: dict[str, Any]) -> Manifest:
    return Manifest.model_validate_json(json.dumps(content))


def test_lists_every_file_once() -> None:
    paths = [each.path for each in parse(manifest()).stored_files()]
    assert len(paths) == len(set(paths)) == 9
    assert "onnx/image_encoder.weights" in paths


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
