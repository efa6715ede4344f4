"""Masks of points and boxes, from one backbone pass.

`python examples/segment_points_boxes.py photo.jpg --point 320 240 --box 10 20 300 400`
"""

from __future__ import annotations

import argparse
from pathlib import Path

from samclip_sdk import SamClip
from samclip_sdk.bundle import DEFAULT_MODEL


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image")
    parser.add_argument("--point", type=float, nargs=2, metavar=("X", "Y"))
    parser.add_argument("--box", type=float, nargs=4, metavar=("X0", "Y0", "X1", "Y1"))
    parser.add_argument("--output", type=Path, default=Path("."))
    parser.add_argument("--model", default=DEFAULT_MODEL, help="bundle folder, .zip or name")
    parser.add_argument("--runtime", default="onnx")
    options = parser.parse_args()
    if not (options.point or options.box):
        parser.error("give --point, --box or both")
    options.output.mkdir(parents=True, exist_ok=True)

    with SamClip.load(options.runtime, model=options.model) as model:
        image = model.encode_image(options.image)  # the slow step, once for all prompts
        results = {}
        if options.point:
            # One point may mean a thing, a part or a part of the part: three masks, with scores.
            results["point"] = model.segment(image, points=[options.point], point_labels=[1])
        if options.box:
            results["box"] = model.segment(image, boxes=options.box)
    for name, result in results.items():
        for found in result:
            print(f"{name}: predicted IoU {found.score:.2f}, {found.area} pixels")
        best = options.output / f"{Path(options.image).stem}-{name}.png"
        result.save(best)
        print(f"wrote {best}")


if __name__ == "__main__":
    main()
