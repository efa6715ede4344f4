"""Questions about one image, answered together: each answer is what it would be alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from samclip_sdk import SamClip
from samclip_sdk.errors import SamClipError
from samclip_sdk.serve.batching import BatchAnswerer
from samclip_sdk.serve.schema import (
    ClassifyRequest,
    EverythingRequest,
    ImagesRequest,
    InstancesRequest,
    SegmentRequest,
    TextRequest,
)

DOG = (Path(__file__).parents[2] / "examples" / "images" / "dog.jpg").read_bytes()


def ask(asked: ImagesRequest, verb: str) -> dict[str, Any]:
    return {"verb": verb, "index": 0, **asked.model_dump(exclude={"images"})}


ASKS = [
    ask(SegmentRequest(boxes=[8, 30, 250, 380]), "segment"),
    ask(SegmentRequest(boxes=[[20, 20, 90, 300]] * 3, multimask_output=False), "segment"),
    ask(TextRequest(labels=["dog", "cat"], threshold=0.3), "text"),
    ask(SegmentRequest(points=[[100, 9999]]), "segment"),
    ask(SegmentRequest(points=[[100, 120]]), "segment"),
    ask(SegmentRequest(points=[[[20, 30]], [[50, 60]]], format="polygon"), "segment"),
    ask(TextRequest(labels=["cat", "house"], threshold=0.3), "text"),
    ask(SegmentRequest(points=[[9, 9]], mask_threshold=1.0), "segment"),
    # One is all of several points, and has the best of three; of the other, only one prompt is.
    ask(SegmentRequest(points=[[40, 50], [90, 20]], point_labels=[1, 0]), "segment"),
    ask(
        SegmentRequest(
            points=[[[20, 30], [50, 60]], [[70, 80], [0, 0]]], point_labels=[[1, 0], [1, -1]]
        ),
        "segment",
    ),
    ask(SegmentRequest(points=[[9, 9]], boxes=[1, 1, 90, 90]), "segment"),
    ask(ClassifyRequest(labels=["dog", "cat"]), "classify"),
    ask(TextRequest(labels=["dog", "dog"]), "text"),
    ask(InstancesRequest(labels=["dog"]), "instances"),
    *[ask(SegmentRequest(boxes=[k, k, 200, 300]), "segment") for k in range(20)],
]


def answers(model: SamClip, asks: Sequence[dict[str, Any]]) -> dict[int, Any]:
    answerer = BatchAnswerer(model, megapixels=50, embeddings_mb=64)
    image = answerer.prepare("dog", DOG, asks=asks)
    found = {}
    for index, answer in answerer.answer(image, asks):
        if isinstance(answer, SamClipError):
            found[index] = repr(answer)
        else:
            found[index] = {k: v for k, v in json.loads(answer).items() if k != "speed"}
    return found


def test_together_is_as_alone_to_the_last_bit(model: SamClip) -> None:
    together = answers(model, ASKS)
    assert together == {index: answers(model, [ask])[0] for index, ask in enumerate(ASKS)}
    assert sum(isinstance(each, str) for each in together.values()) == 2


def test_each_answer_tells_what_labels_were_read_as() -> None:
    labels = ["dog", "qwxz frobnicator"]
    kinds = {"classify": ClassifyRequest, "text": TextRequest, "instances": InstancesRequest}
    asks = [ask(kind(labels=labels), verb) for verb, kind in kinds.items()]
    asks.append(ask(EverythingRequest(points_per_side=1), "everything"))
    with SamClip.load("onnx", threads=1, text_cache=False) as taught:
        for _ in range(2):
            *found, nameless = answers(taught, asks).values()
            for each in found:
                assert list(each["read_as"]) == ["qwxz frobnicator"]
                assert each["read_as"]["qwxz frobnicator"]["kind"] == "unknown"
            assert nameless["read_as"] == {}
