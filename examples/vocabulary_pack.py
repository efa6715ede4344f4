"""An app with fixed labels: embed them once, ship the file, run no text encoder.

`python examples/vocabulary_pack.py photo.jpg boat duck whale --pack sea.safetensors`
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
    parser.add_argument("--pack", type=Path, default=Path("vocabulary.safetensors"))
    parser.add_argument("--model", default=DEFAULT_MODEL, help="bundle folder, .zip or name")
    parser.add_argument("--runtime", default="onnx")
    options = parser.parse_args()
    options.pack.parent.mkdir(parents=True, exist_ok=True)

    # On your machine, once. Any language can read the file.
    with SamClip.load(options.runtime, model=options.model) as model:
        model.save_vocabulary(options.pack, options.labels)

    # In the app. A pack of another model is refused: its numbers would have no meaning.
    with SamClip.load(options.runtime, model=options.model) as model:
        labels = model.load_vocabulary(options.pack)
        image = model.encode_image(options.image)
        classes = model.classify(image, labels)
        masks = model.segment_text(image, labels)
    print(f"{options.pack} holds {len(labels)} labels in {options.pack.stat().st_size} bytes")
    for label, prob, presence in zip(labels, classes.probs, masks.asked.presence, strict=True):
        print(f"{label}: {prob:.1%}, presence {presence:.2f}")


if __name__ == "__main__":
    main()
