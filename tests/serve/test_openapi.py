"""The committed description of the routes is what the app says, and what it does."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import httpx
import pytest

from samclip_sdk.serve.app import PAGE, PAGE_FILES, create_app
from samclip_sdk.serve.hosts import Hosts
from samclip_sdk.serve.keys import Keys
from samclip_sdk.serve.metrics import Metrics
from samclip_sdk.serve.pool import Pool
from samclip_sdk.serve.settings import Limits, ModelChoice
from tests.serve.running_server import Running

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "samclip_sdk" / "serve" / "openapi.json"


def app() -> Any:
    """An app whose workers were never started."""
    metrics = Metrics()
    pool = Pool(ModelChoice("none"), workers=1, limits=Limits(), on_batch=metrics.note_batch)
    limits, keys, hosts = Limits(), Keys(None), Hosts(("test",))
    return create_app(pool, limits=limits, keys=keys, hosts=hosts, metrics=metrics)


def test_the_committed_document_is_what_the_app_says() -> None:
    """`python -m tests.serve.test_openapi` writes it."""
    assert json.loads(DOCUMENT.read_text(encoding="utf-8")) == app().openapi()


def test_every_reference_in_it_leads_somewhere() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    schemas = json.loads(text)["components"]["schemas"]
    referred = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert referred <= set(schemas)
    assert {"TextRequest", "ImageById", "Problem", "MaskedImages"} <= referred


def test_without_a_worker_it_says_that_it_is_not_ready() -> None:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app())
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get("/health")

    found = asyncio.run(ask())
    assert (found.status_code, found.json()["status"]) == (503, "not ready")


def test_the_page_is_made_of_its_own_files_alone(client: httpx.Client) -> None:
    assert {name for name, _ in PAGE_FILES.values()} == {path.name for path in PAGE.iterdir()}
    assert sum(path.stat().st_size for path in PAGE.iterdir()) < 40_000
    for path in PAGE_FILES:
        response = client.get(path)
        assert response.status_code == 200
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        elsewhere = response.text.replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in elsewhere
        assert "https://" not in elsewhere


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_the_document_allows_is_answered_as_it_says(
    server: Running, client: httpx.Client
) -> None:
    """Schemathesis sends what the document allows, and what it does not: never a 5xx."""
    import schemathesis
    from hypothesis import HealthCheck, given, settings
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

    from tests.serve.conftest import KEY

    checks = [
        not_a_server_error,
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
    ]
    picture = (ROOT / "examples" / "images" / "dog.jpg").read_bytes()
    (stored,) = client.post("/v1/images", files={"image": picture}).json()["answers"]
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    operations = [each.ok() for each in schema.get_all_operations()]
    assert len(operations) == 8
    statuses: dict[str, set[int]] = defaultdict(set)
    for operation in operations:

        @settings(
            max_examples=100,
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def send(case: Any) -> None:
            if isinstance(case.body, dict) and case.media_type == "application/json":
                case.body["images"] = [{"id": stored["id"]}]  # else no picture would be one
            response = case.call(headers={"X-API-Key": KEY}, timeout=120)
            statuses[case.path].add(response.status_code)
            case.validate_response(response, checks=checks)

        send()
    answered = {path for path, found in statuses.items() if 200 in found}
    assert answered >= {"/v1/images", "/v1/text", "/v1/models", "/health"}


if __name__ == "__main__":
    DOCUMENT.write_text(json.dumps(app().openapi(), indent=1) + "\n", encoding="utf-8")
