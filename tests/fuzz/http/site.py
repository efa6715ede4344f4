"""The server that is asked: the real one, on loopback, with a worker; and whether it is well."""

from __future__ import annotations

import base64
import io
import json
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from random import Random
from urllib.parse import urlsplit

from PIL import Image

from samclip_sdk.serve.settings import Limits
from tests.fuzz.http.wire import Reply, Then, exchange
from tests.fuzz.values import pixels
from tests.fuzz.world import World
from tests.serve.running_server import TINY, Running, running

KEY = "0123456789abcdef-of-the-fuzzer"
KEY_LINE = f"Authorization: Bearer {KEY}".encode()
LIMITS = Limits(
    body_mb=1,
    megapixels=1,
    images=3,
    labels=4,
    letters=40,
    prompts=20,
    points_per_side=8,
    queue=4,
    pictures_mb=32,
    embeddings_mb=16,
    body_s=1,
    answer_s=30,
)
CHOICE = replace(TINY, text_cache=False)
SIZES = ((24, 32), (40, 30), (3, 50), (80, 70))
"""Height and width of the pictures that it keeps, and of those that it is sent."""

SECRET = b"a line that only files of the server hold"
SECRET_SIZE = (37, 53)
"""Of a picture that only files of the server hold."""

SECRET_FILES = ("secret.txt", "secret.png", "c2VjcmV0", "a" * 64)
"""Their names: the third is base64 too, and the fourth an id."""

_SPEED = re.compile(rb'"speed":\{[^}]*\}')


@dataclass
class Site:
    """A server that answers.

    Attributes:
        server: it.
        errors: what it and its libraries have logged as such.
        pictures: the content of the picture of each size.
        ids: of the same, under which it keeps them.
        known: the bytes that it answers to a question that is asked again and again.
    """

    server: Running
    errors: list[str]
    pictures: Sequence[bytes]
    ids: list[str] = field(default_factory=list)
    known: bytes = b""

    def send(self, *pieces: bytes, then: Then = "wait") -> list[Reply]:
        """Sends bytes, over a connection of their own."""
        parts = urlsplit(self.server.url)
        return exchange((str(parts.hostname), int(parts.port or 0)), pieces, then=then)

    def check_health(self) -> None:
        """Whether nothing is amiss after whatever was sent.

        Raises:
            AssertionError: the server has logged an error, a worker has died, or what is always
                asked is not answered, with the same bytes.
        """
        again = self.ask_known()
        assert not self.errors, f"it logs {self.errors[0]!r}"
        assert self.server.pool.restarts == 0, "a worker has died"
        assert again == self.known, f"the known question is answered {again[:200]!r}"

    def ask_known(self) -> bytes:
        """Asks it, and returns what comes back, less the time that it took."""
        image = {"base64": base64.b64encode(self.pictures[0]).decode()}
        asked = {"images": [image], "labels": ["dog"], "threshold": 0.0, "refine": False}
        (reply,) = self.send(post("text", json.dumps(asked).encode()))
        return b"%d %b" % (reply.status, _SPEED.sub(b"", reply.body))


def post(
    verb: str,
    body: bytes,
    *,
    kind: str = "application/json",
    key: str = KEY,
    close: bool = True,
) -> bytes:
    """A whole request to a route."""
    lines = [
        f"POST /v1/{verb} HTTP/1.1",
        "Host: 127.0.0.1",
        f"Authorization: Bearer {key}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        *(("Connection: close",) if close else ()),
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


@contextmanager
def opened_site(world: World) -> Iterator[Site]:
    """A server of the small model, which knows some pictures; its files hold secrets."""
    pictures = [_png(size) for size in SIZES]
    for name in SECRET_FILES:
        content = SECRET if name == "secret.txt" else _png(SECRET_SIZE)
        (world.work / name).write_bytes(content)
    keys = f"another-key-than-that, {KEY}"
    with _errors() as errors, running(limits=LIMITS, keys=keys, choice=CHOICE) as server:
        site = Site(server, errors, pictures)
        for content in pictures:
            image = {"base64": base64.b64encode(content).decode()}
            (reply,) = site.send(post("images", json.dumps({"images": [image]}).encode()))
            site.ids.append(json.loads(reply.body)["answers"][0]["id"])
        site.known = site.ask_known()
        assert site.known.startswith(b'200 {"answers":[{"size":[24,32]'), site.known
        yield site


@contextmanager
def _errors() -> Iterator[list[str]]:
    """What this process logs as errors."""
    found: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            trace = str(getattr(record, "trace", "") or record.exc_info or "")
            found.append(f"{record.name}: {record.getMessage()}: {trace[-300:]}")

    handler = Kept(logging.ERROR)
    logging.getLogger().addHandler(handler)
    try:
        yield found
    finally:
        logging.getLogger().removeHandler(handler)


def _png(size: tuple[int, int]) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels(Random(str(size)), *size)).save(content, "PNG")
    return content.getvalue()
