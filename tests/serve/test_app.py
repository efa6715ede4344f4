"""What the server answers is what the SDK answers."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from samclip_sdk import SamClip
from tests.serve.conftest import KEY
from tests.serve.running_server import Running
from tests.serve.test_refusals import CAT, DOG, IN_BASE64, form


def ask(client: httpx.Client, verb: str, **asked: Any) -> list[dict[str, Any]]:
    """Asks about an image in the request, and returns the answers."""
    response = client.post(f"/v1/{verb}", json={"images": [IN_BASE64], **asked})
    assert response.status_code == 200, response.text
    return response.json()["answers"]


def plain(found: dict[str, Any]) -> dict[str, Any]:
    """An answer without the times that it took, and without warnings, of which it must be free."""
    assert not found.get("warnings")
    return {key: value for key, value in found.items() if key not in ("speed", "warnings")}


LABELS = ["dog", "cat"]
ALL_MASKS = {"points_per_side": 4, "pred_iou_thresh": 0.0, "stability_score_thresh": 0.0}
IN_TILES = {"threshold": 0.3, "tiles": [1, 2], "tile_overlap": 0.2}


@pytest.mark.parametrize(
    ("verb", "asked"),
    [
        ("text", {"labels": LABELS, "threshold": 0.3}),
        ("text", {"labels": ["dog"], **IN_TILES}),
        ("instances", {"labels": LABELS, "max_instances": 3}),
        ("everything", {"labels": ["dog"], **ALL_MASKS}),
        ("segment", {"boxes": [8, 30, 250, 380], "multimask_output": False}),
        ("segment", {"boxes": [[8, 30, 250, 380], [20, 20, 90, 300]]}),
        ("segment", {"points": [[100, 120], [20, 30]], "point_labels": [1, 0]}),
        ("segment", {"points": [[[100, 120]], [[20, 30]], [[9, 9]]], "mask_threshold": 0.5}),
        ("segment", {"points": [[[100, 120]]], "boxes": [[8, 30, 250, 380]]}),
        ("segment", {"points": [[[100, 120], [0, 0]]], "point_labels": [[1, -1]]}),
    ],
)
def test_masks_are_the_sdks(
    client: httpx.Client, model: SamClip, verb: str, asked: dict[str, Any]
) -> None:
    (found,) = ask(client, verb, **asked)
    method = "segment" if verb == "segment" else f"segment_{verb}"
    assert plain(found) == plain(getattr(model, method)(DOG, **asked).to_dict())
    assert found["annotations"]


def test_classification_is_the_sdks_however_the_image_comes(
    client: httpx.Client, model: SamClip
) -> None:
    expected = plain(model.classify(DOG, LABELS).to_dict())
    (stored,) = client.post("/v1/images", files={"image": DOG}).json()["answers"]
    for images in (IN_BASE64, {"id": stored["id"]}):
        (found,) = ask(client, "classify", labels=LABELS, images=[images])
        assert plain(found) == expected


def test_an_image_may_come_as_a_file_in_base64_or_by_its_id(client: httpx.Client) -> None:
    (stored,) = client.post("/v1/images", files={"image": DOG}).json()["answers"]
    assert (stored["width"], stored["height"]) == (288, 384)
    asked = {"labels": ["dog"], "threshold": 0.3}
    request = {"request": json.dumps(asked)}
    upload = client.post("/v1/text", files={"image": DOG}, data=request).json()["answers"]
    by_id = ask(client, "text", images=[{"id": stored["id"]}], **asked)
    assert plain(upload[0]) == plain(by_id[0]) == plain(ask(client, "text", **asked)[0])
    assert "image_encoder" not in by_id[0]["speed"]  # one encode answers many questions


def test_masks_come_in_three_forms_of_the_same(client: httpx.Client, model: SamClip) -> None:
    box = {"boxes": [8, 30, 250, 380], "multimask_output": False}
    mask = model.segment(DOG, **box).masks[0]
    (png,) = ask(client, "segment", format="png", **box)[0]["annotations"]
    content = base64.b64decode(png["segmentation"])
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(content))), mask)
    (polygon,) = ask(client, "segment", format="polygon", **box)[0]["annotations"]
    outlines = [part.ravel().tolist() for part in model.segment(DOG, **box)[0].polygons()]
    assert polygon["segmentation"] == outlines


def test_a_stream_has_a_line_for_each_object(client: httpx.Client) -> None:
    images = [IN_BASE64, {"base64": base64.b64encode(CAT).decode()}]
    asked = {"images": images, "labels": LABELS}
    whole = client.post("/v1/instances", json=asked).json()["answers"]
    response = client.post("/v1/instances", json={**asked, "stream": True})
    assert response.headers["content-type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in response.text.splitlines()]
    for index, answer in enumerate(whole):
        *rows, end = [each for each in lines if each["image_index"] == index]
        assert rows == [{"image_index": index, **each} for each in answer["annotations"]]
        assert (end["found"], end["images"]) == (len(rows), answer["images"])
    bad = {"base64": base64.b64encode(b"no image").decode()}
    asked |= {"images": [IN_BASE64, bad], "stream": True}
    response = client.post("/v1/instances", json=asked)
    last = json.loads(response.text.splitlines()[-1])
    assert (last["image_index"], last["error"]) == (1, "ImageError")


@pytest.mark.parametrize("charset", ["utf-8", "UTF-8", '"utf-8"', "us-ascii"])
def test_utf_8_may_be_told(client: httpx.Client, charset: str) -> None:
    headers = {"Content-Type": f"multipart/form-data; boundary=b; charset={charset}"}
    request = 'name="request"', '{"labels": ["ö"]}'.encode()
    body = form(('name="image"; filename="x"', DOG), request)
    assert client.post("/v1/classify", content=body, headers=headers).status_code == 200


def test_a_slash_in_base64_may_be_escaped(client: httpx.Client) -> None:
    """As PHP does it; and what looks like an image within a label is one no more than before."""
    label = '"base64": "AAAA"'
    body = json.dumps({"images": [IN_BASE64], "labels": [label, "dog"]}).replace("/", r"\/")
    assert r"\/" in body
    headers = {"Content-Type": "application/json"}
    found = client.post("/v1/classify", content=body.encode(), headers=headers).json()
    assert found["answers"][0]["labels"] == [label, "dog"]


def test_state_is_told(client: httpx.Client) -> None:
    health = client.get("/health").json()
    assert health == {"status": "ready", "workers_ready": 1, "workers": 1, "waiting": 0}
    (told,) = client.get("/v1/models").json()["models"]
    assert (told["name"], told["runtime"], told["precision"]) == ("samclip-tiny", "onnx", "fp32")
    metrics = client.get("/metrics").text
    assert 'samclip_requests_total{route="/health",status="200"}' in metrics
    assert "samclip_workers_ready 1.0" in metrics


def test_request_ids_are_taken_over_if_they_are_sane(client: httpx.Client) -> None:
    sent = client.get("/health", headers={"X-Request-ID": "trace-17"})
    assert sent.headers["X-Request-ID"] == "trace-17"
    odd = client.get("/health", headers={"X-Request-ID": "a b\t{}"})
    assert len(odd.headers["X-Request-ID"]) == 32


def test_keys_guard_what_costs(server: Running) -> None:
    for headers, status in (
        ({}, 401),
        ({"X-API-Key": "0123456789abcdeX"}, 401),
        ({"Authorization": f"Basic {KEY}"}, 401),
        ({"X-API-Key": KEY}, 200),
        ({"Authorization": f"Bearer {KEY}"}, 200),
        ({"Authorization": "bearer another-key-than-that"}, 200),
    ):
        response = httpx.get(f"{server.url}/v1/models", headers=headers)
        assert response.status_code == status, headers
        assert KEY not in response.text
    assert httpx.get(f"{server.url}/v1/models").headers["WWW-Authenticate"] == "Bearer"
    for path in ("/health", "/metrics", "/", "/openapi.json"):
        assert httpx.get(server.url + path).status_code == 200
