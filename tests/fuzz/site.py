"""The server that is asked: the real one, on loopback, with a worker; and whether it is well."""

from __future__ import annotations

import base64
import json
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from PIL import Image

import samclip_sdk.serve
from samclip_sdk import SamClipError
from samclip_sdk.serve.settings import Limits
from samclip_sdk.system.timing import peak_rss_bytes
from tests.fuzz.answers import SECRET, SECRET_SIZE
from tests.fuzz.cases import noise
from tests.fuzz.picture_files import encoded
from tests.fuzz.promises import World
from tests.fuzz.wire import Reply, Then, exchange
from tests.serve.running_server import TINY, Running, running

DOCUMENT = Path(samclip_sdk.serve.__file__).with_name("openapi.json")
KEY = "0123456789abcdef-of-the-fuzzer"
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
SIZES = ((24, 32), (40, 30), (3, 50), (80, 70))
"""Height and width of the pictures that it keeps, and of those that it is sent."""

SECRET_FILES = ("secret.txt", "secret.png", "c2VjcmV0", "a" * 64)
"""Their names: the third is base64 too, and the fourth an id."""

MEMORY_BYTES = 100_000_000
"""By how much a case may raise the peak of this process, whose bodies have a megabyte at most."""


@dataclass
class Site:
    """A server that answers.

    Attributes:
        server: it.
        world: in whose folder its files are.
        errors: what it and its libraries have logged as such.
        pictures: the content of the picture of each size.
        ids: of the same, under which it keeps them.
        known: the bytes that it answers to a question that is asked again and again.
    """

    server: Running
    world: World = field(repr=False)
    errors: list[str] = field(repr=False)
    pictures: Sequence[bytes] = field(repr=False)
    ids: list[str] = field(default_factory=list, repr=False)
    known: bytes = field(default=b"", repr=False)

    def send(self, *pieces: bytes, then: Then = "wait") -> list[Reply]:
        """Sends bytes, over a connection of their own."""
        parts = urlsplit(self.server.url)
        return exchange((str(parts.hostname), int(parts.port or 0)), pieces, then=then)

    def ask(self, asked: Callable[[], list[str]]) -> None:
        """Makes a case of what sends something and returns the refusals; looks afterwards."""

        def call() -> None:
            self.errors.clear()  # those of a case that has failed are its own
            before = peak_rss_bytes() or 0
            refused = asked()
            grown = (peak_rss_bytes() or 0) - before
            assert grown < MEMORY_BYTES, f"its memory has grown by {grown} bytes"
            self.check_health()
            if refused:
                raise SamClipError(refused[0])

        self.world.judge(call)

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
        return b"%d %b" % (reply.status, re.sub(rb'"speed":\{[^}]*\}', b"", reply.body))


def post(
    verb: str, body: bytes, *, kind: str = "application/json", key: str = KEY, close: bool = True
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
    pictures = [encoded(Image.fromarray(noise(0, *size)), "PNG") for size in SIZES]
    secret = encoded(Image.fromarray(noise(1, *SECRET_SIZE)), "PNG")
    for name in SECRET_FILES:
        (world.work / name).write_bytes(SECRET if name == "secret.txt" else secret)
    keys, choice = f"another-key-than-that, {KEY}", replace(TINY, text_cache=False)
    with _errors() as errors, running(limits=LIMITS, keys=keys, choice=choice) as server:
        site = Site(server, world, errors, pictures)
        for content in pictures:
            image = {"base64": base64.b64encode(content).decode()}
            (reply,) = site.send(post("images", json.dumps({"images": [image]}).encode()))
            site.ids.append(json.loads(reply.body)["answers"][0]["id"])
        site.known = site.ask_known()
        assert site.known.startswith(
            b'200 {"answers":[{"images":[{"id":1,"file_name":"image","height":24,"width":32}]'
        ), site.known
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
