"""Masks of labels for a `datasets.Dataset`, by one `map` over its column of images.

    pip install 'samclip-sdk[onnx]' datasets
    python examples/integrations/datasets_map.py photos dog cat --output found.parquet

In your own program:

    find = FindObjects(("dog", "cat"))
    found = dataset.map(find, features=find.features(dataset))

Each row gets `objects`, a list of {label, score, bbox, segmentation}: boxes are [x, y, width,
height] in pixels of the upright image, and masks are COCO's compressed RLE, which pycocotools and
`samclip_sdk.image.rle_to_mask` decode. With `num_proc`, each process loads its own model.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from datasets import Dataset, Features, List, Value, load_dataset

from samclip_sdk import SamClip
from samclip_sdk.bundle import DEFAULT_MODEL

OBJECT = {
    "label": Value("string"),
    "score": Value("float32"),
    "bbox": List(Value("float32"), length=4),
    "segmentation": {"size": List(Value("int32"), length=2), "counts": Value("string")},
}


@lru_cache(maxsize=1)
def load_model(runtime: str, model: str, process: int) -> SamClip:
    """The model of a process; a forked child cannot use the one that its parent cached."""
    return SamClip.load(runtime, model=model)


@dataclass(frozen=True)
class FindObjects:
    """Finds the objects of labels in the image of a row.

    It holds no model, so that `map` can send it to other processes and cache its answers.

    Attributes:
        labels: nouns such as "dog".
        column: the column of images, which `datasets` decodes.
        runtime: as for `SamClip.load`.
        model: as for `SamClip.load`.
    """

    labels: tuple[str, ...]
    column: str = "image"
    runtime: str = "onnx"
    model: str = DEFAULT_MODEL

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        image = row[self.column]
        if image is None:
            return {"objects": []}
        model = load_model(self.runtime, self.model, os.getpid())
        found = model.segment_instances(image, self.labels).to_dict()
        return {"objects": [{name: each[name] for name in OBJECT} for each in found["annotations"]]}

    def features(self, dataset: Dataset) -> Features:
        """The columns of the result; without them, `map` guesses from the first rows."""
        return Features({**dataset.features, "objects": List(OBJECT)})


def main() -> None:
    parser = argparse.ArgumentParser(description="objects of labels in a folder, as Parquet")
    parser.add_argument("folder")
    parser.add_argument("labels", nargs="+")
    parser.add_argument("--output", default="found.parquet")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="bundle folder, .zip or name")
    parser.add_argument("--runtime", default="onnx")
    options = parser.parse_args()
    dataset = load_dataset("imagefolder", data_dir=options.folder, split="train")
    find = FindObjects(tuple(options.labels), runtime=options.runtime, model=options.model)
    found = dataset.map(find, features=find.features(dataset))
    found.to_parquet(options.output)
    print(f"{options.output}: {sum(map(len, found['objects']))} objects in {len(found)} images")


if __name__ == "__main__":
    main()
