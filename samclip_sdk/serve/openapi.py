"""The OpenAPI document: that of FastAPI, with the bodies, which FastAPI does not read here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from samclip_sdk import __version__
from samclip_sdk.serve.schema import ImagesRequest

DESCRIPTION = """Masks of texts, points and boxes, everything in an image, and how well labels
describe it, by one model. Coordinates are pixels of the upright image.

A body is JSON with `images`, or `multipart/form-data` with the images as files called `image`
and all else in a part `request`, as JSON. Where the server has keys, send
`Authorization: Bearer KEY`."""

_REFS = "#/components/schemas/{model}"


def describe(app: FastAPI, *, bodies: Mapping[str, type[ImagesRequest]]) -> dict[str, Any]:
    """The OpenAPI document of an app.

    Args:
        app: the app with its routes.
        bodies: path of a POST route -> the model of its body.
    """
    document = get_openapi(
        title="samclip", version=__version__, description=DESCRIPTION, routes=app.routes
    )
    kinds = [(kind, "validation") for kind in dict.fromkeys(bodies.values())]
    _, schemas = models_json_schema(kinds, ref_template=_REFS)  # type: ignore[arg-type]  # a list is invariant
    components = document["components"]
    components["schemas"] = dict(sorted((components["schemas"] | schemas["$defs"]).items()))
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    for path, kind in bodies.items():
        operation = document["paths"][path]["post"]
        operation["requestBody"] = _body(kind)
        operation["security"] = [{}, {"key": []}]
    return document


def _body(kind: type[ImagesRequest]) -> dict[str, Any]:
    reference = {"$ref": _REFS.format(model=kind.__name__)}
    parts = {
        "image": {"type": "array", "minItems": 1, "items": {"type": "string", "format": "binary"}},
        "request": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": reference,
        },
    }
    form = {"type": "object", "properties": parts, "required": ["image"]}
    return {
        "required": True,
        "content": {
            "application/json": {"schema": reference},
            "multipart/form-data": {"schema": {**form, "additionalProperties": False}},
        },
    }
