"""By which names a server without keys answers."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from samclip_sdk.errors import OptionError
from samclip_sdk.serve.hosts import Hosts, check_origins
from tests.refusals import refused
from tests.serve.test_openapi import app

HOSTS = Hosts(("127.0.0.1", "Box.example"))


@pytest.mark.parametrize(
    "host",
    [
        *("", "localhost", "LOCALHOST:8080", "localhost.", "127.0.0.1", "127.0.0.1:8080"),
        *("192.168.1.7:80", "[::1]", "[::1]:8080", "box.example", "BOX.example.:81"),
    ],
)
def test_addresses_and_its_own_names_are_taken(host: str) -> None:
    assert HOSTS.refusal({"host": host}) is None


@pytest.mark.parametrize(
    "host",
    [
        *("evil.test", "evil.test:8080", "localhost.evil.test", "127.0.0.1.evil.test", "a box"),
        *("[", "[::1", ":8080", "evil.test/127.0.0.1", "127.0.0.1@evil.test", "\x1b[2J", "é"),
    ],
)
def test_the_names_of_others_are_refused(host: str) -> None:
    refusal = HOSTS.refusal({"host": host})
    assert refusal is not None
    assert refusal.status == 421
    assert str(refusal).isprintable()
    assert "--name" in str(refusal)


@pytest.mark.parametrize("path", ["/v1/models", "/", "/metrics", "/health", "/v1/text"])
def test_no_page_of_another_site_reads_an_answer(path: str) -> None:
    async def ask(host: str) -> httpx.Response:
        method = "POST" if path == "/v1/text" else "GET"
        transport = httpx.ASGITransport(app())
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}:8080") as client:
            return await client.request(method, path)

    refusal = asyncio.run(ask("evil.test"))
    assert refusal.status_code == 421
    assert "'evil.test:8080'" in refusal.json()["message"]
    assert asyncio.run(ask("127.0.0.1")).status_code != 421


@pytest.mark.parametrize("origin", ["https://my.site", "http://localhost:5173"])
def test_pages_of_named_sites_may_read_answers_and_no_others(origin: str) -> None:
    async def ask(method: str, asking: str, *, origins: tuple[str, ...]) -> httpx.Response:
        transport = httpx.ASGITransport(app(origins=check_origins(origins)))
        headers = {"Origin": asking, "Access-Control-Request-Method": "POST"}
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.request(method, "/v1/models", headers=headers)

    allowed = "access-control-allow-origin"
    for method in ("OPTIONS", "GET"):
        assert asyncio.run(ask(method, origin, origins=(origin,))).headers[allowed] == origin
        for other in ("https://evil.test", f"{origin}.evil.test", "null"):
            assert allowed not in asyncio.run(ask(method, other, origins=(origin,))).headers
        assert allowed not in asyncio.run(ask(method, origin, origins=())).headers


@pytest.mark.parametrize(
    "origin", ["*", "my.site", "https://my.site/", "https://My.site", "ftp://a", "https://a\n"]
)
def test_what_is_no_origin_is_refused(origin: str) -> None:
    refused(lambda: check_origins([origin]), OptionError, "https://host")


def test_who_brings_a_key_may_call_it_anything(client: httpx.Client) -> None:
    assert client.get("/v1/models", headers={"Host": "evil.test"}).status_code == 200
