"""The page of the API: everything that the OpenAPI document tells, without a script."""

from __future__ import annotations

import html
import re

import httpx

from samclip_sdk.serve.api_page import api_page
from tests.serve.test_openapi import app


def test_every_route_field_and_error_is_told() -> None:
    document = app().openapi()
    page = api_page(document).decode()
    assert "<script" not in page
    text = html.unescape(re.sub(r"<[^>]*>", "", page))
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert f"{method.upper()} {path}" in text
            for status, answer in operation["responses"].items():
                assert status == "200" or answer["description"] in text
    for name in ("TextRequest", "SegmentRequest", "EverythingRequest", "MaskedImages", "Models"):
        assert name in text
        for field, each in document["components"]["schemas"][name]["properties"].items():
            assert field in text
            assert each.get("description", "") in text


def test_what_a_document_says_is_no_html() -> None:
    document = app().openapi()
    document["info"]["description"] = "<script>alert(1)</script>"
    assert "<script" not in api_page(document).decode()


def test_it_is_served(client: httpx.Client) -> None:
    answer = client.get("/docs", headers={"X-API-Key": ""})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert "/v1/text" in answer.text
