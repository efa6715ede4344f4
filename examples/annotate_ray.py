"""Annotates a folder of pictures on many workers, with Ray Data; a killed run goes on.

`pip install "ray[data]"`, then `python examples/annotate_ray.py photos dog cat --workers 4`. On a
cluster, let every node see the folder under the same path and set RAY_ADDRESS.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import ray

from samclip_sdk import ImageError, SamClip
from samclip_sdk.annotate.annotation_log import AnnotationLog, log_path
from samclip_sdk.annotate.annotator import Annotator, annotate_pictures
from samclip_sdk.annotate.picture_files import PictureFile, find_pictures
from samclip_sdk.client import DEFAULT_MODEL


class Worker:
    """One model, its labels embedded once, for all batches that Ray sends here.

    On one thread: Ray counts on one CPU for each worker.
    """

    def __init__(self, labels: list[str], runtime: str, model: str) -> None:
        self.annotator = Annotator(SamClip.load(runtime, model=model, threads=1), labels)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, Any]:
        pictures = [
            to_picture(dict(zip(batch, row, strict=True)))
            for row in zip(*batch.values(), strict=True)
        ]
        answers = [
            {"reason": str(answer)} if isinstance(answer, ImageError) else answer
            for _, answer in annotate_pictures(self.annotator, pictures)
        ]
        return {**batch, "answer": [json.dumps(answer) for answer in answers]}


def to_row(picture: PictureFile) -> dict[str, Any]:
    return {**asdict(picture), "path": str(picture.path.absolute())}


def to_picture(row: dict[str, Any]) -> PictureFile:
    size_bytes, modified_ns = int(row["size_bytes"]), int(row["modified_ns"])
    return PictureFile(Path(row["path"]), str(row["name"]), size_bytes, modified_ns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("labels", nargs="+")
    parser.add_argument("--output", type=Path, default=Path("annotations.json"))
    parser.add_argument("--workers", type=int, default=2, help="each with a model of its own")
    parser.add_argument("--batch", type=int, default=16, help="pictures sent to a worker at once")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="bundle folder, .zip or name")
    parser.add_argument("--runtime", default="onnx")
    options = parser.parse_args()

    with SamClip.load(options.runtime, model=options.model) as model:
        settings = Annotator(model, options.labels).settings
    progress = log_path(options.output)
    pictures, skipped = find_pictures(options.folder, leave_out=(options.output, progress))
    with AnnotationLog(progress, settings=settings) as log:
        todo = [to_row(picture) for picture in pictures if picture not in log]
        if todo:
            ray.init(include_dashboard=False, log_to_driver=False)
            answers = ray.data.from_items(todo).map_batches(
                Worker,
                fn_constructor_args=(options.labels, options.runtime, options.model),
                compute=ray.data.ActorPoolStrategy(size=options.workers),
                batch_size=options.batch,
            )
            for row in answers.iter_rows():
                answer = json.loads(row["answer"])
                if "reason" in answer:
                    print(f"left out: {answer['reason']}")
                else:
                    log.append(to_picture(row), answer)
        for each in skipped:
            print(f"left out: {each.name}: {each.reason}")
        count = log.write_coco(options.output, pictures)
    print(f"{options.output}: {count} annotations, {len(todo)} pictures looked at")


if __name__ == "__main__":
    main()
