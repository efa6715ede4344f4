"""Masks of words: `python examples/text_to_mask.py photo.jpg dog grass`.

Writes an overlay (PNG) and the masks as COCO JSON.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from samclip_sdk import SamClip
from samclip_sdk.bundle import DEFAULT_MODEL


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image")
    parser.add_argument("labels", nargs="+")
    parser.add_argument("--threshold", type=float, help="presence from which a label counts")
    parser.add_argument("--output", type=Path, default=Path("."))
    parser.add_argument("--model", default=DEFAULT_MODEL, help="bundle folder, .zip or name")
    parser.add_argument("--runtime", default="onnx")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)

    with SamClip.load(options.runtime, model=options.model) as model:
        result = model.segment_text(options.image, options.labels, threshold=options.threshold)
    for found in result:
        share = found.mask.mean()
        print(f"{found.label}: presence {found.presence:.2f}, {share:.1%} of the image")
    for label, presence in result.absent.items():
        print(f"{label}: absent, presence {presence:.2f}")
    stem = options.output / Path(options.image).stem
    result.save(stem.with_suffix(".png"))
    result.save(stem.with_suffix(".json"))


if __name__ == "__main__":
    main()
