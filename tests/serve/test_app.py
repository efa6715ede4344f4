"""What the server answers is what the SDK answers; what it refuses, it refuses in one line."""

from __future__ import annotations

import base64
import io
import json
import threading
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from samclip_sdk import SamClip
from samclip_sdk.serve.server import check_installed
from tests.costly_pictures import jpeg_of_scans, ppm_of_comments, tiff_of_one_tile
from tests.serve.conftest import KEY
from tests.serve.running_server import Running

DOG = (Path(__file__).parents[2] / "examples" / "images" / "dog.jpg").read_bytes()
CAT = (Path(__file__).parents[2] / "examples" / "images" / "cat.jpg").read_bytes()
IN_BASE64 = {"base64": base64.b64encode(DOG).decode()}


def ask(client: httpx.Client, verb: str, **asked: Any) -> list[dict[str, Any]]:
    """Asks about a picture in the request, and returns the answers."""
    response = client.post(f"/v1/{verb}", json={"images": [IN_BASE64], **asked})
    assert response.status_code == 200, response.text
    return response.json()["answers"]


def plain(found: dict[str, Any]) -> dict[str, Any]:
    """An answer without the times that it took."""
    return {key: value for key, value in found.items() if key != "speed"}


def test_text_is_the_sdks(client: httpx.Client, model: SamClip) -> None:
    (found,) = ask(client, "text", labels=["dog", "cat"], threshold=0.3)
    assert plain(found) == plain(model.segment_text(DOG, ["dog", "cat"], threshold=0.3).to_dict())
    assert len(found["annotations"]) == 2


def test_instances_are_the_sdks(client: httpx.Client, model: SamClip) -> None:
    (found,) = ask(client, "instances", labels=["dog", "cat"], max_instances=3)
    expected = model.segment_instances(DOG, ["dog", "cat"], max_instances=3)
    assert plain(found) == plain(expected.to_dict())
    assert found["annotations"]


def test_tiles_are_the_sdks(client: httpx.Client, model: SamClip) -> None:
    (found,) = ask(client, "text", labels=["dog"], threshold=0.3, tiles=[1, 2], tile_overlap=0.2)
    expected = model.segment_text(DOG, ["dog"], threshold=0.3, tiles=(1, 2), tile_overlap=0.2)
    assert plain(found) == plain(expected.to_dict())


@pytest.mark.parametrize(
    "asked",
    [
        {"boxes": [8, 30, 250, 380], "multimask_output": False},
        {"boxes": [[8, 30, 250, 380], [20, 20, 90, 300]]},
        {"points": [[100, 120], [20, 30]], "point_labels": [1, 0]},
        {"points": [[[100, 120]], [[20, 30]], [[9, 9]]], "mask_threshold": 0.5},
        {"points": [[[100, 120]]], "boxes": [[8, 30, 250, 380]]},
        {"points": [[[100, 120], [0, 0]]], "point_labels": [[1, -1]]},
    ],
)
def test_masks_of_prompts_are_the_sdks(
    client: httpx.Client, model: SamClip, asked: dict[str, Any]
) -> None:
    (found,) = ask(client, "segment", **asked)
    assert plain(found) == plain(model.segment(DOG, **asked).to_dict())


def test_everything_is_the_sdks(client: httpx.Client, model: SamClip) -> None:
    asked = {"points_per_side": 4, "pred_iou_thresh": 0.0, "stability_score_thresh": 0.0}
    (found,) = ask(client, "everything", labels=["dog"], **asked)
    expected = model.segment_everything(DOG, ["dog"], **asked)
    assert plain(found) == plain(expected.to_dict())
    assert found["annotations"]


def test_classification_is_the_sdks_however_the_picture_comes(
    client: httpx.Client, model: SamClip
) -> None:
    expected = plain(model.classify(DOG, ["dog", "cat"]).to_dict())
    (stored,) = client.post("/v1/images", files={"image": DOG}).json()["answers"]
    for images in (IN_BASE64, {"id": stored["id"]}):
        (found,) = ask(client, "classify", labels=["dog", "cat"], images=[images])
        assert plain(found) == expected


def test_a_picture_may_come_as_a_file_in_base64_or_by_its_id(client: httpx.Client) -> None:
    (stored,) = client.post("/v1/images", files={"image": DOG}).json()["answers"]
    assert (stored["width"], stored["height"]) == (288, 384)
    asked = {"labels": ["dog"], "threshold": 0.3}
    request = {"request": json.dumps(asked)}
    upload = client.post("/v1/text", files={"image": DOG}, data=request).json()["answers"]
    by_id = ask(client, "text", images=[{"id": stored["id"]}], **asked)
    assert plain(upload[0]) == plain(by_id[0]) == plain(ask(client, "text", **asked)[0])
    assert "image_encoder" not in by_id[0]["speed"]  # one encode answers many questions


def test_pictures_are_answered_in_their_order(client: httpx.Client) -> None:
    files = [("image", CAT), ("image", DOG)]
    request = {"request": '{"labels": ["dog"]}'}
    found = client.post("/v1/text", files=files, data=request).json()["answers"]
    assert [each["size"] for each in found] == [[300, 451], [384, 288]]


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
    asked = {"images": images, "labels": ["dog", "cat"]}
    whole = client.post("/v1/instances", json=asked).json()["answers"]
    response = client.post("/v1/instances", json={**asked, "stream": True})
    assert response.headers["content-type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in response.text.splitlines()]
    for place, answer in enumerate(whole):
        *rows, end = [each for each in lines if each["image_index"] == place]
        assert rows == [{"image_index": place, **each} for each in answer["annotations"]]
        assert (end["found"], end["size"]) == (len(rows), answer["size"])
    bad = {"base64": base64.b64encode(b"no picture").decode()}
    asked |= {"images": [IN_BASE64, bad], "stream": True}
    response = client.post("/v1/instances", json=asked)
    last = json.loads(response.text.splitlines()[-1])
    assert (last["image_index"], last["error"]) == (1, "ImageError")


def png(width: int, height: int) -> bytes:
    content = io.BytesIO()
    Image.new("1", (width, height)).save(content, format="PNG")
    return content.getvalue()


LABEL = {"images": [IN_BASE64], "labels": ["dog"]}


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("text", {**LABEL, "labels": ["a", "a"]}, 422, "TextError: the label 'a' is there twice"),
        ("text", {**LABEL, "labels": [" "]}, 422, "TextError: text 0 is empty"),
        ("text", {**LABEL, "labels": [*"abcde"]}, 422, "Refused: labels: 5; this server takes 4"),
        ("text", {**LABEL, "labels": ["x" * 21]}, 422, "has 21 letters; this server takes 20"),
        ("text", {**LABEL, "labls": ["a"]}, 422, "labls: Extra inputs"),
        ("text", {**LABEL, "threshold": 2}, 422, "threshold: Input should be less"),
        ("text", {**LABEL, "max_instances": 2}, 422, "max_instances: Extra inputs"),
        ("text", {**LABEL, "images": ["/etc/passwd"]}, 422, "images.0"),
        ("text", {**LABEL, "images": [{"path": "/etc/passwd"}]}, 422, "images.0"),
        ("text", {**LABEL, "images": []}, 422, "there are 0 pictures; give 1 to 3"),
        ("text", {**LABEL, "images": [IN_BASE64] * 4}, 422, "there are more than 3 pictures"),
        ("text", {**LABEL, "images": [{"id": "0" * 64}] * 4}, 422, "there are 4 pictures; give 1"),
        ("text", {**LABEL, "images": [{"base64": "AAAA\n"}]}, 422, "images.0: it is no base64"),
        ("text", {**LABEL, "images": [{"base64": "\\/"}]}, 422, "images.0: it is no base64"),
        ("text", {**LABEL, "images": [{"base64": ""}]}, 422, "images.0"),
        ("text", {**LABEL, "labels": ["x" * 256_000]}, 413, "has more than 256 kB"),
        ("text", {**LABEL, "images": [{"base64": "§"}]}, 422, "images.0: it is no base64"),
        ("text", {**LABEL, "images": [{"id": "0" * 64}]}, 404, "upload it to /v1/images"),
        ("text", {**LABEL, "tiles": [8, 9]}, 422, "tiles.1"),
        ("text", "[" * 100_000, 422, "Invalid JSON"),
        ("text", '{"labels": [NaN]}', 422, "Refused"),
        ("segment", {"images": [IN_BASE64]}, 422, "PromptError: nothing to segment"),
        ("segment", {"images": [IN_BASE64], "points": [[1, 9999]]}, 422, "is outside the image"),
        ("segment", {"images": [IN_BASE64], "points": [[1, 2, 3]]}, 422, "points"),
        ("segment", {"images": [IN_BASE64], "points": [[1, 2]] * 21}, 422, "points and boxes: 21"),
        ("segment", {"images": [IN_BASE64], "boxes": [9, 9, 1, 1]}, 422, "is empty or reversed"),
        (
            "everything",
            {"images": [IN_BASE64], "points_per_side": 9},
            422,
            "in all tiles: 81; this",
        ),
        (
            "everything",
            '{"images": [{"base64": "AAAA"}], "points_per_side": 1' + "0" * 3000 + "}",
            422,
            "points_per_side: Input should be less than or equal to 1024",
        ),
        ("images", b"\0" * 1_000_001, 413, "more than 1 MB"),
        ("nothing", {}, 404, "Not Found"),
    ],
)
def test_what_is_refused_says_why_in_one_line(
    client: httpx.Client, path: str, body: Any, status: int, said: str
) -> None:
    content = json.dumps(body).encode() if isinstance(body, dict) else body
    headers = {"Content-Type": "application/json"}
    response = client.post(f"/v1/{path}", content=content, headers=headers)
    problem = response.json()
    assert response.status_code == status, problem
    assert set(problem) == {"error", "message", "request_id"}
    assert said in f"{problem['error']}: {problem['message']}"
    assert "\n" not in problem["message"]
    assert "Traceback" not in response.text
    assert response.headers["X-Request-ID"] == problem["request_id"]


@pytest.mark.parametrize(
    ("files", "status", "said"),
    [
        ({"image": b"no picture"}, 422, "ImageError: what was given is not an image"),
        ({"image": b""}, 422, "ImageError: what was given is empty"),
        ({"image": png(1001, 1000)}, 413, "has 1001 x 1000 pixels; this server takes 1 megapixels"),
        ({"image": png(2, 500_001)}, 413, "has 2 x 500001 pixels"),
        ({"image": tiff_of_one_tile(1001, 1000)}, 413, "a tile of it, has 1001 x 1000 pixels"),
        ({"image": jpeg_of_scans(101)}, 422, "it is a JPEG of more than 100 scans"),
        ({"image": ppm_of_comments(1001)}, 422, "it has more than 1000 comments"),
        ({"picture": DOG}, 422, "there is a part 'picture'"),
        ([("image", DOG)] * 4, 422, "there are more than 3 pictures"),
    ],
)
def test_uploads_that_are_refused(client: httpx.Client, files: Any, status: int, said: str) -> None:
    response = client.post("/v1/images", files=files)
    problem = response.json()
    assert response.status_code == status, problem
    assert said in f"{problem['error']}: {problem['message']}"


@pytest.mark.parametrize("end", [-4, -30, -len(DOG) // 2])
def test_a_form_that_ends_early_is_refused(client: httpx.Client, end: int) -> None:
    """Its last picture is not all there: an answer about the others would answer something else."""
    files = [("image", CAT), ("image", DOG)]
    whole = client.build_request("POST", "/v1/images", files=files)
    headers = {"Content-Type": whole.headers["Content-Type"]}
    response = client.post("/v1/images", content=whole.read()[:end], headers=headers)
    assert response.status_code == 422, response.text
    assert "the form cannot be read: it ends early" in response.json()["message"]


def form(*parts: tuple[str, bytes]) -> bytes:
    """A form whose boundary is b: of each part its Content-Disposition, and its content."""
    heads = [(f"--b\r\nContent-Disposition: form-data; {said}\r\n\r\n", it) for said, it in parts]
    return b"".join(head.encode() + content + b"\r\n" for head, content in heads) + b"--b--\r\n"


REQUEST = 'name="request"'


@pytest.mark.parametrize("charset", ["punycode", "utf-7", "latin-1", "unicode_escape", '""', "x"])
def test_another_charset_than_utf_8_is_refused(client: httpx.Client, charset: str) -> None:
    """Decoding punycode takes a time that goes by the square: 35 s for a megabyte."""
    letters = b"a" * 400_000
    for kind, body in (
        ("multipart/form-data; boundary=b", form((REQUEST, letters + b"-" + letters))),
        ("application/json", b"{}"),
    ):
        headers = {"Content-Type": f"{kind}; charset={charset}"}
        response = client.post("/v1/text", content=body, headers=headers, timeout=5)
        assert response.status_code == 415, response.text
        shown = charset.strip('"')
        assert response.json()["message"] == f"the charset is {shown!r}; send utf-8"


@pytest.mark.parametrize("charset", ["utf-8", "UTF-8", '"utf-8"', "us-ascii"])
def test_utf_8_may_be_told(client: httpx.Client, charset: str) -> None:
    headers = {"Content-Type": f"multipart/form-data; boundary=b; charset={charset}"}
    body = form(('name="image"; filename="x"', DOG), (REQUEST, '{"labels": ["ö"]}'.encode()))
    assert client.post("/v1/classify", content=body, headers=headers).status_code == 200


@pytest.mark.parametrize("content", [b'{"labels": ["\\ud800"]}', b'{"labels": ["\xed\xa0\x80"]}'])
def test_half_a_character_is_no_label(client: httpx.Client, content: bytes) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    response = client.post("/v1/text", content=form((REQUEST, content)), headers=headers)
    assert response.status_code == 422, response.text
    assert "Invalid JSON" in response.json()["message"]


@pytest.mark.parametrize(
    ("parts", "status", "said"),
    [
        ([(REQUEST, b"{}")] * 2, 422, "there are two parts called request"),
        ([(REQUEST, b" " * 256_001)], 413, "has more than 256 kB"),
        ([('name="image"', DOG)], 422, "there is a part 'image'"),
        ([('name="\x1b"', DOG)], 422, "there is a part '"),
        ([("", DOG)], 422, "there is a part ''"),
        ([(REQUEST + "\r\nX: y" * 4000, b"{}")], 422, "the form cannot be read: "),
        ([(f'{REQUEST}; filename="{"x" * 99_000}"', b"{}")], 422, "the form cannot be read: "),
    ],
)
def test_forms_that_are_refused(client: httpx.Client, parts: Any, status: int, said: str) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    response = client.post("/v1/text", content=form(*parts), headers=headers)
    assert response.status_code == status, response.text
    assert said in response.json()["message"]


def test_a_slash_in_base64_may_be_escaped(client: httpx.Client) -> None:
    """As PHP does it; and what looks like a picture within a label is one no more than before."""
    label = '"base64": "AAAA"'
    body = json.dumps({"images": [IN_BASE64], "labels": [label, "dog"]}).replace("/", r"\/")
    assert r"\/" in body
    headers = {"Content-Type": "application/json"}
    found = client.post("/v1/classify", content=body.encode(), headers=headers).json()
    assert found["answers"][0]["labels"] == [label, "dog"]


def test_other_bodies_are_refused(client: httpx.Client) -> None:
    assert client.post("/v1/text", content=b"x").status_code == 415
    form = {"Content-Type": "multipart/form-data"}
    assert client.post("/v1/text", content=b"x", headers=form).status_code == 422
    assert client.get("/v1/text").status_code == 405


def test_a_body_without_a_length_is_bounded_too(client: httpx.Client) -> None:
    pieces = (b" " * 100_000 for _ in range(11))
    headers = {"Content-Type": "application/json"}
    response = client.post("/v1/text", content=pieces, headers=headers)
    assert (response.status_code, response.json()["error"]) == (413, "Refused")


def test_one_bad_picture_of_many_is_named(client: httpx.Client) -> None:
    files = [("image", DOG), ("image", b"no picture")]
    problem = client.post("/v1/images", files=files).json()
    assert problem["message"].startswith("images.1: what was given is not an image")


def test_many_at_once_get_what_each_would_get_alone(client: httpx.Client, model: SamClip) -> None:
    (stored,) = client.post("/v1/images", files={"image": DOG}).json()["answers"]
    boxes = [[8 + k, 30 + k, 200 - k, 300 - k] for k in range(12)]
    found: dict[int, Any] = {}

    def work(place: int) -> None:
        images = [{"id": stored["id"]}]
        asked = {"images": images, "boxes": boxes[place], "multimask_output": bool(place % 2)}
        found[place] = client.post("/v1/segment", json=asked).json()["answers"][0]

    threads = [threading.Thread(target=work, args=(place,)) for place in range(len(boxes))]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    for place, box in enumerate(boxes):
        alone = model.segment(DOG, boxes=box, multimask_output=bool(place % 2))
        assert plain(found[place]) == plain(alone.to_dict())


def test_state_is_told(client: httpx.Client) -> None:
    health = client.get("/health").json()
    assert health == {"status": "ready", "workers_ready": 1, "workers": 1, "waiting": 0}
    (told,) = client.get("/v1/models").json()["models"]
    assert (told["name"], told["runtime"], told["precision"]) == ("samclip-tiny", "onnx", "fp32")
    metrics = client.get("/metrics").text
    assert 'samclip_requests_total{route="/health",status="200"}' in metrics
    assert "samclip_workers_ready 1.0" in metrics


@pytest.mark.parametrize("path", ["/v1/models/", "/health/", "/v1/text//"])
def test_no_path_leads_to_another(client: httpx.Client, path: str) -> None:
    """A redirect would name the host that the request has named."""
    response = client.get(path, headers={"Host": "elsewhere"})
    assert (response.status_code, response.json()["message"]) == (404, "Not Found")


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


def test_all_that_it_needs_is_here() -> None:
    check_installed()
