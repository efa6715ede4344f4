"""Encoding of results: the SDK's own dictionaries as JSON, with masks in one of three formats."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable
from typing import Any, Literal, TypeAlias

from PIL import Image

from samclip_sdk.image.packed_masks import PackedMask, PackedMasks
from samclip_sdk.results.result_base import MaskResult, coco_annotation

MaskFormat: TypeAlias = Literal["rle", "polygon", "png"]


def result_to_dict(result: MaskResult[Any], *, mask_format: MaskFormat) -> dict[str, Any]:
    """The dictionary of a result's `to_dict`, with its masks in a format.

    Args:
        result: the result for one image.
        mask_format: "rle" (COCO's RLE), "polygon" (COCO's polygons), or "png" (a PNG of the image's
            size, one bit a pixel, in base64).
    """
    found = result.to_dict()
    if mask_format != "rle":
        for annotation, mask in zip(found["annotations"], _packed(result), strict=True):
            annotation["segmentation"] = _segmentation(
                mask, size=result.size, mask_format=mask_format
            )
    return found


def to_line(content: dict[str, Any]) -> bytes:
    """One line of JSON, with its line feed."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def to_lines(found: dict[str, Any], *, image_index: int) -> bytes:
    """One line of JSON for each annotation of a result, and a last one for its other fields."""
    rest = {key: value for key, value in found.items() if key != "annotations"}
    rows: Iterable[dict[str, Any]] = found["annotations"]
    lines = [to_line({"image_index": image_index, **each}) for each in rows]
    closing = {"image_index": image_index, "found": len(lines), **rest}
    return b"".join([*lines, to_line(closing)])


def _packed(result: MaskResult[Any]) -> tuple[PackedMask, ...]:
    return result.masks.packed


def _segmentation(mask: PackedMask, *, size: tuple[int, int], mask_format: MaskFormat) -> Any:
    if mask_format == "polygon":
        return coco_annotation(mask, size=size, polygons=True)["segmentation"]
    content = io.BytesIO()
    Image.fromarray(PackedMasks(size, (mask,))[0]).save(content, format="PNG")
    return base64.b64encode(content.getvalue()).decode()
