"""A bundle without a text encoder: all but unknown labels is served."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
import pytest

from samclip_sdk import SamClip
from samclip_sdk.serve.settings import ModelChoice
from samclip_sdk.serve.worker import open_model
from tests.drawings import TINY_BUNDLE
from tests.serve.running_server import running
from tests.source_tree import ROOT

LABELS = ["cat", "house"]
IMAGE = ROOT / "examples" / "images" / "dog.jpg"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packs") / "bundle"
    shutil.copytree(TINY_BUNDLE, folder)
    content = json.loads((folder / "manifest.json").read_bytes())
    del content["graphs"]["text_encoder"]
    (folder / "manifest.json").write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="module")
def pack(bundle: Path, model: SamClip) -> Path:
    path = bundle.with_name("pack.safetensors")
    model.save_vocabulary(path, LABELS)
    return path


@pytest.fixture(scope="module")
def client(bundle: Path, pack: Path) -> Iterator[httpx.Client]:
    choice = ModelChoice(str(bundle), runtime="onnx", threads=1, vocabulary=str(pack))
    with running(choice=choice) as server, httpx.Client(base_url=server.url, timeout=60) as found:
        yield found


@pytest.mark.parametrize(
    ("verb", "asked"),
    [
        ("segment", {"points": [[[100, 200]]]}),
        ("segment", {"boxes": [[20, 20, 200, 300]]}),
        ("everything", {"points_per_side": 2}),
        ("everything", {"points_per_side": 2, "labels": LABELS}),
        ("text", {"labels": LABELS, "threshold": 0}),
        ("instances", {"labels": LABELS, "threshold": 0}),
        ("classify", {"labels": LABELS}),
    ],
)
def test_what_it_can_is_answered(client: httpx.Client, verb: str, asked: dict[str, Any]) -> None:
    answer = ask(client, verb, **asked)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("verb", ["text", "instances", "classify", "everything"])
def test_a_label_of_no_pack_is_the_requests_error(client: httpx.Client, verb: str) -> None:
    answer = ask(client, verb, labels=["cat", "zebra"])
    assert (answer.status_code, answer.json()["error"]) == (422, "TextError")
    assert "'zebra'" in answer.json()["message"]
    assert "vocabulary" in answer.json()["message"]


def test_it_opens_without_a_pack(bundle: Path) -> None:
    model, told = open_model(asdict(ModelChoice(str(bundle), runtime="onnx", threads=1)))
    with model:
        assert told["warnings"] == []


def ask(client: httpx.Client, verb: str, **asked: Any) -> httpx.Response:
    image = {"base64": base64.b64encode(IMAGE.read_bytes()).decode()}
    return client.post(f"/v1/{verb}", json={"images": [image], **asked})
