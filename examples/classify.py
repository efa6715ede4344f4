"""Ranks labels for an image: `python examples/classify.py photo.jpg dog cat car`."""

from __future__ import annotations

import argparse

from samclip_sdk import SamClip
from samclip_sdk.bundle import DEFAULT_MODEL


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image")
    parser.add_argument("labels", nargs="+")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="bundle folder, .zip or name")
    parser.add_argument("--runtime", default="onnx")
    options = parser.parse_args()

    with SamClip.load(options.runtime, model=options.model) as model:
        result = model.classify(options.image, options.labels)
    for label, prob in result.top(5):
        print(f"{prob:6.1%}  {label}")
    # probs always add up to 1, even if no label fits; `presence` tells whether a label fits.


if __name__ == "__main__":
    main()
