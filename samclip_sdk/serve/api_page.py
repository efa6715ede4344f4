"""The page /docs: all routes, their fields and their errors, as plain HTML without scripts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

Schema = Mapping[str, Any]

_HEAD = """<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>samclip: the API of this server</title>
    <link rel="stylesheet" href="style.css">
  </head>
  <body class="api">
"""


def api_page(document: Mapping[str, Any]) -> bytes:
    """Renders an OpenAPI document, as `openapi.describe` makes it."""
    schemas: Mapping[str, Schema] = document["components"]["schemas"]
    parts = [
        _HEAD,
        f"<h1>samclip {escape(document['info']['version'])}</h1>",
        *(f"<p>{escape(each)}</p>" for each in document["info"]["description"].split("\n\n")),
        '<p>The same for programs: <a href="openapi.json">openapi.json</a>.</p>',
    ]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            parts.append(_route(f"{method.upper()} {path}", operation, schemas=schemas))
    return "\n".join([*parts, "</body></html>\n"]).encode()


def _route(title: str, operation: Schema, *, schemas: Mapping[str, Schema]) -> str:
    parts = [f"<h2><code>{escape(title)}</code></h2>", f"<p>{escape(operation['description'])}</p>"]
    body = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if body is not None:
        parts.append(_fields("Body", body["schema"], schemas=schemas))
    answers = operation["responses"]["200"].get("content", {}).get("application/json", {})
    parts.append(_fields("Answer", answers.get("schema", {}), schemas=schemas))
    errors = [
        (status, each["description"])
        for status, each in operation["responses"].items()
        if status != "200"
    ]
    parts += ["<h3>Errors</h3>", _table(("status", "where"), errors)]
    return "\n".join(parts)


def _fields(title: str, schema: Schema, *, schemas: Mapping[str, Schema]) -> str:
    """The fields of an object, and below it those of the objects in it."""
    parts, left, seen = list[str](), _names(schema), set[str]()
    while left:
        name = left.pop(0)
        if name in seen:
            continue
        seen.add(name)
        found = schemas[name]
        required = found.get("required", ())
        rows = []
        for field, each in found.get("properties", {}).items():
            default = "" if field in required else json.dumps(each.get("default"))
            rows.append((field, _kind(each), default, each.get("description", "")))
            left += _names(each)
        parts.append(f"<h3>{escape(title)}: <code>{escape(name)}</code></h3>")
        parts.append(_table(("field", "type", "by default", "meaning"), rows))
    return "\n".join(parts)


def _names(schema: Any) -> list[str]:
    """The names of the objects that a schema refers to."""
    if isinstance(schema, Mapping):
        own = [schema["$ref"].rpartition("/")[2]] if "$ref" in schema else []
        return own + [name for each in schema.values() for name in _names(each)]
    return [name for each in schema for name in _names(each)] if isinstance(schema, list) else []


def _kind(schema: Schema) -> str:
    """The type of a field, in a few words."""
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        return " or ".join(_kind(each) for each in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(json.dumps(each) for each in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    bounds = [f"{word} {schema[key]}" for key, word in _BOUNDS.items() if key in schema]
    return " ".join([str(schema.get("type", "any")), *bounds])


_BOUNDS = {"minimum": "from", "maximum": "to"}


def _table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = "".join(f"<th>{escape(each)}</th>" for each in columns)
    lines = (
        "".join(f"<td>{escape(str(cell))}</td>" for cell in row).join(("<tr>", "</tr>"))
        for row in rows
    )
    return f"<table><tr>{head}</tr>{''.join(lines)}</table>"
