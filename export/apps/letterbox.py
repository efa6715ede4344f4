"""Makes the graph `letterbox@S`: an image to the model's input, as `image.frame.letterbox`."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
import onnx_ir as ir

from export.to_onnx import IR_VERSION, OPSET

_TEXT = """
<ir_version: {ir_version}, opset_import: ["" : {opset}]>
letterbox (uint8[height, width, 3] picture)
    => (uint8[1, 3, {side}, {side}] image, float[2] extent)
    <int64[2] one_image = {{1, 3}}, int64[1] one = {{1}}, int64[1] two = {{2}},
     int64[1] side = {{{side}}}, int64[1] first = {{0}},
     int64[2] inside = {{2, 3}}, float nothing = {{0}}, float[1, 3, 1, 1] pad_colour = {pad_colour}>
{{
    planar = Transpose <perm = [2, 0, 1]> (picture)
    pixels = Unsqueeze (planar, first)
    size = Shape <start = 0, end = 2> (picture)
    longer = ReduceMax (size)
    twice = Mul (size, two)
    scaled = Mul (twice, side)
    halves = Add (scaled, longer)
    divisor = Mul (longer, two)
    rounded = Div (halves, divisor)
    resized_size = Max (rounded, one)
    sizes = Concat <axis = 0> (one_image, resized_size)
    resized = Resize <mode = "linear", antialias = 1, exclude_outside = 1,
                      coordinate_transformation_mode = "half_pixel"> (pixels, , , sizes)
    levels = Cast <to = {float}> (resized)
    above_colour = Sub (levels, pad_colour)
    padding = Sub (side, resized_size)
    pads = Concat <axis = 0> (first, first, padding)
    square = Pad (above_colour, pads, nothing, inside)
    coloured = Add (square, pad_colour)
    image = Cast <to = {uint8}> (coloured)
    extent = Cast <to = {float}> (resized_size)
}}
"""
"""The size is computed in integers and equals int(side * S / longer + 0.5) in float64. The image is
resized as bytes, as in Pillow; a resize of floats differs by up to 6 levels."""


def letterbox_graph(resolution: int, *, pad_colour: Sequence[int]) -> ir.Model:
    """Makes the graph for a side of `resolution` pixels, within one level of Pillow.

    Where the ratio has ties that the two break otherwise, such as 2.25, a few values in a million
    are two levels off.
    """
    colour = "{" + ", ".join(f"{float(level)}" for level in pad_colour) + "}"
    text = _TEXT.format(
        ir_version=IR_VERSION,
        opset=OPSET,
        side=resolution,
        pad_colour=colour,
        float=onnx.TensorProto.FLOAT,
        uint8=onnx.TensorProto.UINT8,
    )
    model = onnx.parser.parse_model(text)
    onnx.checker.check_model(model, full_check=True)
    return ir.from_proto(model)
