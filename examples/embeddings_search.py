"""Searches a folder of images by words: `python examples/embeddings_search.py photos "a dog"`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from rich.progress import track

from samclip_sdk import ImageError, SamClip
from samclip_sdk.bundle import DEFAULT_MODEL

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("query")
    parser.add_argument("--count", type=int, default=3, help="how many images to list")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="bundle folder, .zip or name")
    parser.add_argument("--runtime", default="onnx")
    options = parser.parse_args()

    paths, rows = [], []
    with SamClip.load(options.runtime, model=options.model) as model:
        files = sorted(path for path in options.folder.iterdir() if path.suffix.lower() in SUFFIXES)
        for path in track(files, "images", transient=True, disable=not sys.stdout.isatty()):
            try:
                rows.append(np.ravel(model.embed_image(path)))
            except ImageError as error:
                print(f"left out: {error}")
            else:
                paths.append(path)
        query = np.ravel(model.embed_text([options.query]))
    if not rows:
        raise SystemExit(f"no image in {options.folder}")
    # Unit vectors: their product is the cosine. Save the rows to a file for faster searches later.
    cosines = np.stack(rows) @ query
    for index in np.argsort(-cosines)[: options.count]:
        print(f"{cosines[index]:.3f}  {paths[index]}")


if __name__ == "__main__":
    main()
