"""What the server refuses, it refuses in one line that names the value."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from samclip_sdk.cli.app import app
from samclip_sdk.serve.server import bound_socket
from tests.bundle.test_signature import write_keys
from tests.costly_images import jpeg_of_scans, ppm_of_comments, tiff_of_one_tile
from tests.drawings import TINY_BUNDLE
from tests.fuzz.image_files import empty_png

IMAGES = Path(__file__).parents[2] / "examples" / "images"
DOG, CAT = ((IMAGES / f"{name}.jpg").read_bytes() for name in ("dog", "cat"))
IN_BASE64 = {"base64": base64.b64encode(DOG).decode()}
REQUEST, JSON, FORM = 'name="request"', "application/json", "multipart/form-data; boundary=b"
LETTERS = b"a" * 400_000
Sent = dict[str, Any]
"""A request, as httpx takes it."""


def post(path: str, content: Any, kind: str = JSON, **more: Any) -> Sent:
    headers = {"Content-Type": kind}
    return {"method": "POST", "url": f"/v1/{path}", "content": content, "headers": headers, **more}


def ask(path: str, **asked: Any) -> Sent:
    return post(path, json.dumps({"images": [IN_BASE64], **asked}).encode())


def text(**changed: Any) -> Sent:
    return ask("text", **{"labels": ["dog"], **changed})


def form(*parts: tuple[str, bytes]) -> bytes:
    """A form whose boundary is b: of each part its Content-Disposition, and its content."""
    heads = [(f"--b\r\nContent-Disposition: form-data; {said}\r\n\r\n", it) for said, it in parts]
    return b"".join(head.encode() + content + b"\r\n" for head, content in heads) + b"--b--\r\n"


def send_form(*parts: tuple[str, bytes]) -> Sent:
    return post("text", form(*parts), FORM)


def upload(*images: bytes, name: str = "image") -> Sent:
    files = [(name, each) for each in images]
    return {"method": "POST", "url": "/v1/images", "files": files}


def cut_upload(end: int) -> Sent:
    """The last image is not all there: an answer about the others would answer another thing."""
    whole = form(*[('name="image"; filename="x"', each) for each in (CAT, DOG)])
    return post("images", whole[:end], FORM)


def in_charset(charset: str, kind: str, content: bytes) -> Sent:
    return post("text", content, f"{kind}; charset={charset}", timeout=5)


def get(url: str) -> Sent:
    return {"method": "GET", "url": url, "headers": {"Host": "elsewhere"}}


MANY_DIGITS = b'{"images": [{"base64": "AAAA"}], "points_per_side": 1' + b"0" * 3000 + b"}"
CHARSETS = ("punycode", "utf-7", "latin-1", "unicode_escape", "x")
REFUSED: list[tuple[Sent, int, tuple[str, ...]]] = [
    (text(labels=["a", "a"]), 422, ("TextError", "'a'")),
    (text(labels=[" "]), 422, ("TextError", "label 0")),
    (text(labels=[*"abcde"]), 422, ("labels: 5", "4")),
    (text(labels=["x" * 21]), 422, ("21 letters", "20")),
    (text(labels=["x" * 256_000]), 413, ("256 kB",)),
    (text(labls=["a"]), 422, ("labls",)),
    (ask("text", label=["a"]), 422, ("label is", "labels")),
    (text(threshold=2), 422, ("threshold", "1")),
    (text(max_instances=2), 422, ("max_instances",)),
    (text(tiles=[8, 9]), 422, ("tiles.1",)),
    (text(images=["/etc/passwd"]), 422, ("images.0",)),
    (text(images=[{"path": "/etc/passwd"}]), 422, ("images.0",)),
    (text(images=[]), 422, ("0 images", "1 to 3")),
    (text(images=[IN_BASE64] * 4), 422, ("more than 3 images",)),
    (text(images=[{"id": "0" * 64}] * 4), 422, ("4 images", "1 to 3")),
    *(
        (text(images=[{"base64": content}]), 422, ("images.0",))
        for content in ("AAAA\n", "\\/", "", "§")
    ),
    (text(images=[{"id": "0" * 64}]), 404, ("/v1/images",)),
    (post("text", b"[" * 100_000), 422, ("JSON",)),
    (post("text", b'{"labels": [NaN]}'), 422, ("Refused",)),
    (post("text", (b" " * 100_000 for _ in range(11))), 413, ("Refused",)),  # without a length
    (post("text", b"x", "text/plain"), 415, ("text/plain",)),
    (post("text", b"x", "multipart/form-data"), 422, ("form",)),
    (get("/v1/text"), 405, ()),
    (ask("segment"), 422, ("PromptError",)),
    (ask("segment", points=[[1, 9999]]), 422, ("(1, 9999)", "288 x 384")),
    (ask("segment", points=[[1, 2, 3]]), 422, ("points",)),
    (ask("segment", points=[[0.5, 0.5]]), 422, ("(0.5, 0.5)", "pixels")),
    (ask("segment", points=[[1, 2]] * 21), 422, ("points and boxes: 21", "20")),
    (ask("segment", boxes=[9, 9, 1, 1]), 422, ("PromptError", "box")),
    (ask("everything", points_per_side=9), 422, ("81",)),
    (post("everything", MANY_DIGITS), 422, ("points_per_side", "1024")),
    (post("images", b"\0" * 1_000_001), 413, ("1 MB",)),
    (post("nothing", b"{}"), 404, ()),
    # A redirect would name the host that the request has named.
    *((get(path), 404, ()) for path in ("/v1/models/", "/health/", "/v1/text//")),
    (upload(b"no image"), 422, ("ImageError",)),
    (upload(DOG, b"no image"), 422, ("images.1",)),
    (upload(b""), 422, ("ImageError", "empty")),
    (upload(empty_png(1001, 1000)), 413, ("1001 x 1000", "1 megapixels")),
    (upload(empty_png(2, 500_001)), 413, ("2 x 500001",)),
    (upload(tiff_of_one_tile(1001, 1000)), 413, ("tile", "1001 x 1000")),
    (upload(jpeg_of_scans(101)), 422, ("100 scans",)),
    (upload(ppm_of_comments(1001)), 422, ("1000 comments",)),
    (upload(DOG, name="photo"), 422, ("'photo'",)),
    (upload(*[DOG] * 4), 422, ("more than 3 images",)),
    *((cut_upload(end), 422, ("form", "early")) for end in (-4, -30, -len(DOG) // 2)),
    (send_form((REQUEST, b"{}"), (REQUEST, b"{}")), 422, ("request",)),
    (send_form((REQUEST, b" " * 256_001)), 413, ("256 kB",)),
    (send_form(('name="image"', DOG)), 422, ("'image'",)),
    (send_form(('name="\x1b"', DOG)), 422, (r"\x1b",)),
    (send_form(("", DOG)), 422, ("''",)),
    (send_form((REQUEST + "\r\nX: y" * 4000, b"{}")), 422, ("form",)),
    (send_form((f'{REQUEST}; filename="{"x" * 99_000}"', b"{}")), 422, ("form",)),
    # Half a character.
    (send_form((REQUEST, b'{"labels": ["\\ud800"]}')), 422, ("JSON",)),
    (send_form((REQUEST, b'{"labels": ["\xed\xa0\x80"]}')), 422, ("JSON",)),
    # Decoding punycode takes a time that goes by the square: 35 s for a megabyte.
    *(
        (in_charset(charset, FORM, form((REQUEST, LETTERS + b"-" + LETTERS))), 415, (charset,))
        for charset in CHARSETS
    ),
    *((in_charset(charset, JSON, b"{}"), 415, (charset, "utf-8")) for charset in CHARSETS),
    (in_charset('""', JSON, b"{}"), 415, ("''",)),
]


@pytest.mark.parametrize(("sent", "status", "named"), REFUSED)
def test_refusals(client: httpx.Client, sent: Sent, status: int, named: tuple[str, ...]) -> None:
    response = client.request(**sent)
    problem = response.json()
    assert response.status_code == status, problem
    assert set(problem) == {"error", "message", "request_id"}
    told = f"{problem['error']}: {problem['message']}"
    for each in named:
        assert each in told
    assert told.isprintable()
    assert "Traceback" not in response.text
    assert response.headers["X-Request-ID"] == problem["request_id"]


SERVE = ("serve", str(TINY_BUNDLE), "--port", "0", "--log-level=error")


@pytest.mark.parametrize(
    ("options", "keys", "named"),
    [
        (("serve", "--queue", "2"), None, ("queue is 2", "16")),
        *((SERVE, keys, ("SAMCLIP_API_KEYS", "no key")) for keys in ("", ",", "   ", ", ,")),
        (SERVE, "secret", ("key 0 of SAMCLIP_API_KEYS", "16")),
        (("serve", "no-such-bundle", "--port", "0"), None, ("no-such-bundle",)),
    ],
)
def test_commands_that_are_refused(
    options: tuple[str, ...], keys: str | None, named: tuple[str, ...]
) -> None:
    ran = CliRunner().invoke(app, options, env={"SAMCLIP_API_KEYS": keys})
    *_, line = ran.stderr.splitlines()
    assert (ran.exit_code, line.partition(" ")[0]) == (1, "error:")
    assert all(each in line for each in named), line
    assert "secret" not in ran.stderr


def test_a_port_that_is_taken_is_refused() -> None:
    with bound_socket("127.0.0.1", 0) as taken:
        taken.listen()
        port = str(taken.getsockname()[1])
        ran = CliRunner().invoke(app, ["serve", str(TINY_BUNDLE), "--port", port])
    assert (ran.exit_code, ran.stderr.count("\n")) == (1, 1)
    assert f"127.0.0.1:{port}" in ran.stderr


def test_a_bundle_that_the_key_has_not_signed_is_not_served(tmp_path: Path) -> None:
    _, public = write_keys(tmp_path, "ours")
    ran = CliRunner().invoke(app, [*SERVE, "--key", str(public)])
    assert ran.exit_code == 1
    assert "signed" in ran.stderr
