"""By which names a server without keys answers."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from samclip_sdk.serve.hosts import Hosts
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
    refused = HOSTS.refusal({"host": host})
    assert refused is not None
    assert refused.status == 421
    assert str(refused).isprintable()
    assert "--name" in str(refused)


@pytest.mark.parametrize("path", ["/v1/models", "/", "/metrics", "/health", "/v1/text"])
def test_no_page_of_another_site_reads_an_answer(path: str) -> None:
    async def ask(host: str) -> httpx.Response:
        method = "POST" if path == "/v1/text" else "GET"
        transport = httpx.ASGITransport(app())
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}:8080") as client:
            return await client.request(method, path)

    refused = asyncio.run(ask("evil.test"))
    assert refused.status_code == 421
    assert "'evil.test:8080'" in refused.json()["message"]
    assert asyncio.run(ask("127.0.0.1")).status_code != 421


def test_who_brings_a_key_may_call_it_anything(client: httpx.Client) -> None:
    assert client.get("/v1/models", headers={"Host": "evil.test"}).status_code == 200
