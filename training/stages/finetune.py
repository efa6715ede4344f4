"""The stage that teaches a finished model one's own things, from a COCO file."""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from samclip_sdk.bundle.manifest import WORDS_NAME
from samclip_sdk.engine.engine import Engine
from samclip_sdk.engine.learning import (
    COMPARED,
    LabelledImages,
    LabelQuality,
    compare,
    fit_thresholds,
    measure_labels,
    read_coco,
)
from samclip_sdk.engine.learning.label_quality import encode_labelled, true_mask
from samclip_sdk.image.masks import mask_to_box, mask_to_rle
from samclip_sdk.image.packed_masks import PackedMask
from samclip_sdk.modeling.checkpoint import load_checkpoint, read_provenance
from samclip_sdk.runtimes.torch.session import Checkpoint
from samclip_sdk.system.atomic_file import atomic_file
from samclip_sdk.system.progress import OnProgress
from samclip_sdk.system.timing import Stopwatch
from training.calibrate import CALIBRATION_NAME
from training.data_config import JointPhotographs
from training.errors import TrainingError
from training.files import check_trained, write_json
from training.real.coco_layout import IMAGES_FOLDER, INSTANCES_NAME, clean_name
from training.real.joint_batches import JointBatches
from training.real.photographs import Photographs
from training.stage import Job, Stage, TrainedSettings
from training.student_file import (
    NOUNS_NAME,
    PACKAGES,
    THRESHOLDS_NAME,
    embed_names,
    read_nouns,
    write_student,
)
from training.tasks.part import FinetuneTask

_REPORT = "report.json"
_KIN_COSINE = 0.75  # of names of one thing: couch and sofa .92, goat and sheep .54
_NO_NOUNS = (
    f"the model has no {NOUNS_NAME}, and so its bundle no place for thresholds of labels: give "
    "--threshold with each command"
)


class FinetuneConfig(TrainedSettings):
    """A short training of the heads on the images of a COCO file; the backbone stays.

    Args:
        coco: the COCO file; every object of its categories is labelled in every image.
        images: the folder of its images.
        checkpoint: the finished model, a folder.
        held_out: share of each category's images that are not learnt from, but measured.
        seed: of the choice of held-out images.
        batch: images in a batch.
    """

    one_process = True

    task: Literal["finetune"]
    coco: Path
    images: Path
    checkpoint: Path
    held_out: float = Field(default=0.2, gt=0, lt=1)
    seed: int = Field(default=0, ge=0)
    batch: int = Field(default=4, gt=0)

    @property
    def images_in_batch(self) -> int:
        """The number of images in a batch."""
        return self.batch

    def check(self, *, runs: Path) -> None:
        """Looks for the checkpoint and the images; raises TrainingError if one is missing."""
        if not self.checkpoint.is_dir():
            raise TrainingError(
                f"there is no folder {self.checkpoint} in {Path.cwd()}: run this in a checkout, or "
                "give the folder of a finished model by --set 'checkpoint=\"FOLDER\"'"
            )
        check_trained(self.checkpoint)
        if not any(each.objects for each in self._labelled().images):
            raise TrainingError(f"{self.coco} labels no object: there is nothing to learn from")

    def prepare(self, stage: Stage) -> Job:
        """Builds the student and its data."""
        labelled = self._labelled()
        lessons, _ = labelled.split(held_out=self.held_out, seed=self.seed)
        student = load_checkpoint(self.checkpoint)
        engine = Engine(Checkpoint(self.checkpoint))
        with tempfile.TemporaryDirectory() as root:
            _write_set(engine, lessons, Path(root, "own"), on_progress=stage.tell)
            resolution = engine.manifest.tasks.segmentation.resolution
            settings = JointPhotographs(
                source="photographs",
                root=Path(root),
                resolution=resolution,
                late_resolution=resolution,
                batch=self.batch,
                prompts=4,
                labels=2,
            )
            photographs = Photographs(settings, split="train")
        dataset = JointBatches(photographs, settings, seed=self.optimisation.seed, augment=False)
        nouns = [each for each in read_nouns(self.checkpoint) if each not in dataset.names]
        names = embed_names(student, [*dataset.names, *nouns], folder=self.checkpoint)
        task = FinetuneTask(student, dataset, names=names, kin=names @ names.T >= _KIN_COSINE)
        calibration = engine.manifest.calibration
        task.presence.start(scale=calibration.scale, bias=calibration.bias)
        provenance = self.provenance(stage, PACKAGES)
        provenance["starts_from"] = read_provenance(self.checkpoint)

        def write() -> None:
            write_student(student, stage.run, start=self.checkpoint, provenance=provenance)
            self._write_beside(stage.run, dataset.names)

        return Job(task, self.optimisation, write)

    def run(self, stage: Stage) -> Path:
        """Trains, fits thresholds, and measures the held-out images before and after."""
        folder = super().run(stage)
        labelled = self._labelled()
        lessons, kept = labelled.split(held_out=self.held_out, seed=self.seed)
        before, after = (Engine(Checkpoint(each)) for each in (self.checkpoint, folder))
        thresholds = fit_thresholds(after, lessons, on_progress=stage.tell)
        own = [thresholds.get(label) for label in labelled.labels]
        words = after.texts.own_embeddings(labelled.labels, clock=Stopwatch())
        after.texts.learn(labelled.labels, words, thresholds=own)
        report: dict[str, Any] = {"thresholds": thresholds}
        for when, engine in (("before", before), ("after", after)):
            measured = measure_labels(
                engine,
                kept,
                labels=labelled.labels,
                message=f"measuring {when}",
                on_progress=stage.tell,
            )
            report[when] = {label: quality.to_dict() for label, quality in measured.items()}
        write_json(folder / _REPORT, report)
        nouns = read_nouns(folder)
        named = {clean_name(label): threshold for label, threshold in thresholds.items()}
        write_json(folder / THRESHOLDS_NAME, {n: t for n, t in named.items() if n in nouns})
        return folder

    def told(self, folder: Path) -> str:
        """The report: how well each category is found in held-out images, before and after."""
        report: dict[str, dict[str, Any]] = json.loads((folder / _REPORT).read_bytes())
        before, after = (
            {
                label: LabelQuality(**each | {k: math.nan for k, x in each.items() if x is None})
                for label, each in report[when].items()
            }
            for when in ("before", "after")
        )
        rows: list[tuple[str, ...]] = [(*COMPARED, "threshold")]
        for row in compare(before, after):
            own = report["thresholds"].get(row[0])
            rows.append((*row, "-" if own is None else f"{own:.2f}"))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = (
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            for row in rows
        )
        note = "" if read_nouns(folder) else f"{_NO_NOUNS}\n"
        return "".join(f"{line.rstrip()}\n" for line in lines) + note

    def _labelled(self) -> LabelledImages:
        return read_coco(self.coco, images=self.images)

    def _write_beside(self, run: Path, names: tuple[str, ...]) -> None:
        """Writes what still holds, and the nouns with those that are new."""
        for name in (CALIBRATION_NAME, WORDS_NAME):
            if (self.checkpoint / name).is_file():
                shutil.copyfile(self.checkpoint / name, run / name)
        nouns = read_nouns(self.checkpoint)
        if nouns:
            nouns += [each for each in names if each not in nouns]
            with atomic_file(run / NOUNS_NAME) as file:
                file.write("".join(f"{noun}\n" for noun in nouns).encode())


def _write_set(
    engine: Engine, lessons: LabelledImages, folder: Path, *, on_progress: OnProgress
) -> None:
    """Writes images as a set of photographs; the mask decoder draws what has a box only."""
    names = list(lessons.labels)
    images, annotations = list[dict[str, Any]](), list[dict[str, Any]]()
    for number, image in enumerate(lessons.images):
        on_progress("reading the images", number, len(lessons.images))
        height, width = image.size
        entry = {"id": number, "file_name": str(image.path.resolve()), "split": "train"}
        images.append({**entry, "height": height, "width": width})
        for label, own in image.objects.items():
            masks = list(own.masks)
            if own.boxes:
                masks = [PackedMask.pack(true_mask(encode_labelled(engine, image), own))]
            for mask in masks:
                whole = np.zeros(image.size, dtype=bool)
                mask.draw(whole)
                x0, y0, x1, y1 = mask_to_box(whole).tolist()
                annotations.append(
                    {
                        "id": len(annotations),
                        "image_id": number,
                        "category_id": names.index(label),
                        "bbox": [x0, y0, x1 - x0, y1 - y0],
                        "area": int(whole.sum()),
                        "segmentation": mask_to_rle(whole),
                        "semantic": bool(own.boxes),
                    }
                )
    content = {
        "info": {"complete": True, "terms": "one's own", "open": True},
        "images": images,
        "categories": [{"id": index, "name": clean_name(name)} for index, name in enumerate(names)],
        "annotations": annotations,
    }
    (folder / IMAGES_FOLDER).mkdir(parents=True)
    (folder / INSTANCES_NAME).write_text(json.dumps(content), encoding="utf-8")
