"""The server that is asked: the real one, on loopback, with a worker; and whether it is well."""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

import samclip_sdk.serve
from samclip_sdk import SamClipError
from samclip_sdk.serve.settings import Limits
from samclip_sdk.system.timing import peak_rss_bytes
from tests.fuzz.answers import SECRET, SECRET_SIZE, check_reply
from tests.fuzz.cases import noise
from tests.fuzz.image_files import encoded
from tests.fuzz.promises import World
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
    images_mb=32,
    embeddings_mb=16,
    body_s=1,
    answer_s=30,
)
SIZES = ((24, 32), (40, 30), (3, 50), (80, 70))
"""Height and width of the images that it keeps, and of those that it is sent."""

SECRET_FILES = ("secret.txt", "secret.png", "c2VjcmV0", "a" * 64)
"""Their names: the third is base64 too, and the fourth an id."""

MEMORY_BYTES = 100_000_000
"""By how much a case may raise the peak of this process, whose bodies have a megabyte at most."""


@dataclass
class Site:
    """A server that answers.

    Attributes:
        server: it.
        client: with a good key.
        world: in whose folder its files are.
        errors: what it and its libraries have logged as such.
        images: the image of each size, in base64.
        ids: of the same, under which it keeps them.
        known: what it answers to a question that is asked again and again.
    """

    server: Running
    client: httpx.Client
    world: World = field(repr=False)
    errors: list[str] = field(repr=False)
    images: Sequence[str] = field(repr=False)
    ids: list[str] = field(default_factory=list, repr=False)
    known: str = field(default="", repr=False)

    def send(self, verb: str, **request: Any) -> None:
        """Makes a case of a request, as httpx takes it: what comes back keeps the promises."""
        asked = {"method": "POST", "url": f"/v1/{verb}", **request}
        self.ask(lambda: check_reply(self.client.request(**asked), verb=verb))

    def ask(self, asked: Callable[[], str]) -> None:
        """Makes a case of what sends something and tells why it was refused; looks afterwards.

        The server must have logged no error, its worker must live, and what is always asked, over
        the same connection, must be answered as before.
        """

        def call() -> None:
            self.errors.clear()  # those of a case that has failed are its own
            before = peak_rss_bytes() or 0
            refused = asked()
            grown = (peak_rss_bytes() or 0) - before
            assert grown < MEMORY_BYTES, f"its memory has grown by {grown} bytes"
            assert self.ask_known() == self.known
            assert not self.errors, f"it logs {self.errors[0]!r}"
            assert self.server.pool.restarts == 0, "a worker has died"
            if refused:
                raise SamClipError(refused)

        self.world.judge(call)

    def ask_known(self) -> str:
        """What it answers, less the time that it took."""
        image = {"base64": self.images[0]}
        asked = {"images": [image], "labels": ["dog"], "threshold": 0.0, "refine": False}
        reply = self.client.post("/v1/text", json=asked).raise_for_status()
        return re.sub(r'"speed":\{[^}]*\}', "", reply.text)


@contextmanager
def opened_site(world: World) -> Iterator[Site]:
    """A server of the small model, which knows some images; its files hold secrets."""
    images = [encoded(Image.fromarray(noise(0, *size)), "PNG") for size in SIZES]
    secret = encoded(Image.fromarray(noise(1, *SECRET_SIZE)), "PNG")
    for name in SECRET_FILES:
        (world.work / name).write_bytes(SECRET if name == "secret.txt" else secret)
    keys, choice = f"another-key-than-that, {KEY}", replace(TINY, text_cache=False)
    with (
        _errors() as errors,
        running(limits=LIMITS, keys=keys, choice=choice) as server,
        httpx.Client(base_url=server.url, headers={"X-API-Key": KEY}, timeout=60) as client,
    ):
        shown = [base64.b64encode(content).decode() for content in images]
        site = Site(server, client, world, errors, shown)
        for each in shown:
            reply = client.post("/v1/images", json={"images": [{"base64": each}]})
            site.ids.append(reply.json()["answers"][0]["id"])
        site.known = site.ask_known()
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
