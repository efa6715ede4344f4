"""The fault of a request in one sentence: the field, its value, and the way out."""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic import ValidationError

from samclip_sdk.errors import one_line
from samclip_sdk.serve.schema import ImageById, ImageContent, ImagesRequest

_WANTED: Mapping[str, str] = {
    "model_type": "an object",
    "list_type": "a list",
    "string_type": "a text",
    "float_type": "a number",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "finite_number": "a finite number",
    "literal_error": "{expected}",
    "greater_than_equal": "{ge:g} or more",
    "less_than_equal": "{le:g} or less",
    "too_short": "a list of {min_length} or more",
    "too_long": "a list of {max_length} or fewer",
    "string_too_short": "a text that is not empty",
    "string_pattern_mismatch": "64 hex digits",
}
"""Pydantic's name of a fault -> what the value must be instead."""

_UNKNOWN, _MISSING = "extra_forbidden", "missing"
_OF_IMAGES = {*ImageById.model_fields, *ImageContent.model_fields}
_IMAGE = "an image is an object with base64, a file's content, or with id, from /v1/images"


def tell_wrong_field(error: ValidationError, *, of: type[ImagesRequest]) -> str:
    """The worst fault of a request, on one line of limited length.

    Args:
        error: its faults.
        of: the model of the request.
    """
    faults = error.errors(include_url=False)
    fault = min(faults, key=lambda each: (_rank(each["type"]), -len(each["loc"])))
    kind, told = fault["type"], fault.get("ctx", {})
    if kind == "json_invalid":
        return f"the request is no JSON that can be read, {told['error']}: send an object"
    location = [
        each
        for number, each in enumerate(fault["loc"], 1)
        if isinstance(each, int)  # and no branch of a union, which pydantic names, too
        or each in {*of.model_fields, *_OF_IMAGES}
        or (kind == _UNKNOWN and number == len(fault["loc"]))
    ]
    where = one_line(".".join(map(str, location)), limit=60) or "the request"
    field = of.model_fields.get(str(location[0])) if location else None
    about = _IMAGE if location[:1] == ["images"] else field and field.description
    if kind == _UNKNOWN:
        return f"{where} is not a field: {about or 'there are ' + ', '.join(of.model_fields)}"
    way_out = f": {about}" if about else ""
    if kind == _MISSING:
        return f"{where} is missing, give it{way_out}"
    value = one_line(json.dumps(fault["input"], ensure_ascii=False), limit=60)
    return f"{where} is {value}, and must be {_WANTED[kind].format_map(told)}{way_out}"


def _rank(kind: str) -> int:
    """A wrong value of the right type tells which branch of a union was meant; then wrong types.

    A field that is missing comes last: another may be its name, misspelt.
    """
    if kind in (_UNKNOWN, _MISSING):
        return 2 + (kind == _MISSING)
    return int(kind.endswith("_type"))
