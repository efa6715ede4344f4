"""The page of the API: everything that the OpenAPI document tells, without a script."""

from __future__ import annotations

from html.parser import HTMLParser

import httpx

from samclip_sdk.serve.api_page import api_page
from tests.serve.test_openapi import app


class Read(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags, self.text = set[str](), ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_every_route_field_and_error_is_told() -> None:
    document = app().openapi()
    read = Read(api_page(document).decode())
    assert read.open == []
    assert "script" not in read.tags
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert f"{method.upper()} {path}" in read.text
            for status, answer in operation["responses"].items():
                assert status == "200" or answer["description"] in read.text
    for name in ("TextRequest", "SegmentRequest", "EverythingRequest", "MaskedImages", "Models"):
        assert name in read.text
        for field, each in document["components"]["schemas"][name]["properties"].items():
            assert field in read.text
            assert each.get("description", "") in read.text


def test_what_a_document_says_is_no_html() -> None:
    document = app().openapi()
    document["info"]["description"] = "<script>alert(1)</script>"
    assert "script" not in Read(api_page(document).decode()).tags


def test_it_is_served(client: httpx.Client) -> None:
    answer = client.get("/docs", headers={"X-API-Key": ""})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert "/v1/text" in answer.text
