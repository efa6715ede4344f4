"""The committed description of the routes is what the app says, and what it does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from samclip_sdk.serve.app import PAGE, PAGE_FILES, create_app
from samclip_sdk.serve.hosts import Hosts
from samclip_sdk.serve.keys import Keys
from samclip_sdk.serve.metrics import Metrics
from samclip_sdk.serve.pool import Pool
from samclip_sdk.serve.settings import Limits, ModelChoice

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "samclip_sdk" / "serve" / "openapi.json"


def app(*, origins: Sequence[str] = ()) -> Any:
    """An app whose workers were never started."""
    metrics = Metrics()
    pool = Pool(ModelChoice("none"), workers=1, limits=Limits(), on_batch=metrics.note_batch)
    limits, keys, hosts = Limits(), Keys(None), Hosts(("test",))
    return create_app(pool, limits=limits, keys=keys, hosts=hosts, metrics=metrics, origins=origins)


def test_the_committed_document_is_what_the_app_says() -> None:
    """`python -m tests.serve.test_openapi` writes it."""
    assert json.loads(DOCUMENT.read_text(encoding="utf-8")) == app().openapi()


def test_without_a_worker_it_says_that_it_is_not_ready() -> None:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app())
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get("/health")

    found = asyncio.run(ask())
    assert (found.status_code, found.json()["status"]) == (503, "not ready")


def test_the_page_is_made_of_its_own_files_alone(client: httpx.Client) -> None:
    assert {name for name, _ in PAGE_FILES.values()} == {path.name for path in PAGE.iterdir()}
    sizes = {path.suffix: 0 for path in PAGE.iterdir()}
    for path in PAGE.iterdir():
        sizes[path.suffix] += path.stat().st_size
    assert sizes.pop(".jpg") < 80_000
    assert sum(sizes.values()) < 40_000
    for path in PAGE_FILES:
        response = client.get(path)
        assert response.status_code == 200
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        elsewhere = response.text.replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in elsewhere
        assert "https://" not in elsewhere


if __name__ == "__main__":
    DOCUMENT.write_text(json.dumps(app().openapi(), indent=1) + "\n", encoding="utf-8")
