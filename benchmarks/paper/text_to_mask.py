"""From texts to masks: one model with one head, with both, and two models in a row.

The paper's tables 2, 5 and 7. All are asked the same questions about the same pictures. Two models
are SAM in everything-mode, and CLIP for each of its segments (appendix C.1). The mode is that of
segment-anything's automatic mask generator, over one grid of points and without crops. A segment is
shown to CLIP as the box around it, made square, as the student's training shows it regions.
Other rooms hold the two models against one on photographs of their own.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice, product
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from segment_anything.utils.amg import build_point_grid, calculate_stability_score
from torch import Tensor
from torchvision.ops import nms, roi_align

from benchmarks.given_embeddings import give_embeddings
from benchmarks.paper.inputs import Inputs
from benchmarks.paper.record import Everything, Method, TextToMasks
from benchmarks.public.detection import Detect, Found
from benchmarks.quality.behind_api import Teachers, find_teachers, open_teachers
from benchmarks.quality.scores import HEADS, TextTally
from benchmarks.record import timed
from benchmarks.report import track
from samclip_sdk import SamClip
from samclip_sdk.errors import BundleError
from samclip_sdk.results.prompt_masks import Masks
from training.asked_pictures import AskedPicture
from training.calibrate import CALIBRATION_NAME
from training.data_config import Photographs as SetSettings
from training.real.photograph_questions import AskedPhotographs
from training.real.photographs import Photographs
from training.teachers.captions import EMPTY_NAMES
from training.teachers.small import ClipTeacher

_PREDICTED_IOUS = (0.88, 0.7, 0.5, 0.3)  # to choose from; below, CLIP has hundreds to look at
_STABILITIES = (0.95, 0.8, 0.6, 0.3)
_CROPS = 8  # that CLIP sees at a time
_TUNING_PICTURES = 6
Name = Literal["clip_head", "both_heads", "two_models", "two_models_or_nothing"]

Given = tuple[Name, Sequence[np.ndarray], tuple[int, float]]
"""A method, the masks that it gave of a picture, and its cost: CLIP's passes, and milliseconds."""


def measure_text_to_mask(inputs: Inputs) -> TextToMasks:
    """Asks each held-out picture for its own labels and for absent ones, in four ways."""
    names, classes = inputs.asked.names, inputs.teachers.classes(inputs.asked.names)
    student = load_student(inputs.pair.runs / inputs.stages.shipped, nouns=names, classes=classes)
    tuning = inputs.asked.tuning(student.embed_text)
    two = TwoModels(inputs.teachers, tuning)
    tallies: dict[Name, TextTally] = defaultdict(TextTally)
    costs: dict[Name, list[tuple[int, float]]] = defaultdict(list)
    for asked in inputs.asked.questions(student.embed_text):
        every = (*ask_student(student, asked.image, asked.labels), *two.ask(asked))
        for name, masks, cost in every:
            tallies[name].add(masks, truth=asked.masks)
            costs[name].append(cost)
    methods = []
    for name, tally in tallies.items():
        figures = tally.row(heads=name, split=inputs.asked.split)
        passes, ms = np.mean(costs[name], axis=0).tolist()
        methods.append(Method(figures=figures, sam_passes=1, clip_passes=passes, milliseconds=ms))
    return TextToMasks(everything=two.settings, tuning_scenes=len(tuning), methods=tuple(methods))


def load_student(folder: Path, *, nouns: Sequence[str], classes: np.ndarray) -> SamClip:
    """Opens a checkpoint behind the public API, with the class embeddings [K,E] of K nouns."""
    if not (folder / CALIBRATION_NAME).is_file():
        raise BundleError(
            f"{folder} has no {CALIBRATION_NAME}, without which it cannot tell absent labels: "
            f"run `python -m training calibrate --runs {folder.parent.parent}` first"
        )
    student = SamClip.load("torch", model=folder)
    give_embeddings(student, nouns, classes)
    return student


def ask_student(student: SamClip, image: np.ndarray, names: Sequence[str]) -> Iterator[Given]:
    """Asks the student with one head and with both; each is charged for the backbone pass."""
    embedding, encoding = timed(lambda: student.encode_image(image))
    for heads, refine in HEADS.items():
        found, ms = timed(lambda on=refine: student.segment_text(embedding, names, refine=on))
        yield heads, [*map(found.mask, names)], (0, encoding + ms)


class Candidates:
    """Every mask that SAM proposes in one picture; CLIP sees one when it is first chosen.

    Of what SAM `found`, masks that are empty are left out. `predicted_iou` has SAM's for each.
    """

    def __init__(
        self, image: np.ndarray, found: Masks, clip: ClipTeacher, *, stability_offset: float
    ) -> None:
        seen = found.masks.any(axis=(1, 2))
        self._masks, self._clip = found.masks[seen], clip
        self._picture = torch.from_numpy(image).permute(2, 0, 1)[None].float()
        self._boxes = torch.from_numpy(found.boxes[seen]).float()
        self.predicted_iou = torch.from_numpy(found.scores[seen])
        low_res_masks = torch.from_numpy(found.low_res_masks[seen])
        self._stability = calculate_stability_score(low_res_masks, 0, stability_offset)
        self._embeddings = torch.full((len(self._masks), clip.embed_dim), math.nan)

    def keep(self, settings: Everything) -> Tensor:
        """The places int64 [K] of those that `choose` keeps."""
        good = self.predicted_iou >= settings.predicted_iou
        good &= self._stability >= settings.stability
        rows = good.nonzero().squeeze(1)
        return rows[nms(self._boxes[rows], self.predicted_iou[rows], settings.nms_iou)]

    @torch.inference_mode()
    def choose(self, settings: Everything) -> tuple[np.ndarray, np.ndarray]:
        """Keeps what passes the filters, and of masks in nearly the same box the best.

        Returns:
            K masks, bool [K,H,W], and what CLIP makes of each, unit embeddings float32 [K,E].
        """
        rows = self.keep(settings)
        new = rows[self._embeddings[rows].isnan().any(dim=1)]
        # Few at a time: a hundred at once would need gigabytes, and take longer.
        for few in new.split(_CROPS) if len(new) else ():
            rois = torch.cat([torch.zeros(len(few), 1), self._boxes[few]], dim=1)
            crops = roi_align(self._picture, rois, self._clip.resolution, aligned=True)
            self._embeddings[few] = self._clip.embed_images(crops)
        return self._masks[rows.numpy()], self._embeddings[rows].numpy()


class TwoModels:
    """SAM and CLIP, one after the other, of both `teachers`.

    Of a CLIP are asked its `resolution`, the side S of a crop, the width `embed_dim` of an
    embedding, and `embed_images`: of crops [B,3,S,S], RGB 0..255. Thresholds, `settings`, are
    chosen on `tuning`, pictures that are not measured; without any they are as given.
    """

    def __init__(
        self,
        teachers: Teachers,
        tuning: Iterable[AskedPicture],
        *,
        settings: Everything = Everything(),  # noqa: B008, it is frozen
    ) -> None:
        self.settings, self._teachers = settings, teachers
        self._sam, self._clip = teachers.sam, teachers.clip
        self._nothing = teachers.classes(EMPTY_NAMES)
        self.settings = self._tune(tuning)

    def look(self, image: np.ndarray) -> Candidates:
        """Proposes segments of a picture, uint8 RGB [H,W,3], in one pass of SAM's backbone.

        What is chosen of them takes one of CLIP's each.
        """
        # SAM's coordinates name a pixel's corner; its prompt encoder adds the half pixel.
        size = image.shape[1::-1]
        points = build_point_grid(self.settings.points_per_side) * size - 0.5
        found = self._sam.segment(
            self._sam.encode_image(image), points=points[:, None], multimask_output=True
        )
        offset = self.settings.stability_offset
        return Candidates(image, found, self._clip, stability_offset=offset)

    def ask(self, asked: AskedPicture) -> Iterator[Given]:
        """Names segments among the labels alone, and among these and names for nothing.

        The paper does not say what its pipeline does with the background.
        """
        classes = self._teachers.classes(asked.labels)
        found, looking = timed(lambda: self.look(asked.image).choose(self.settings))
        for name, rivals in self._rivals(classes).items():
            named, ms = timed(
                lambda known=rivals: name_segments(*found, known, labels=len(classes))
            )
            yield name, named, (len(found[0]), looking + ms)

    def detect(self, pixels: np.ndarray, asked: Sequence[str], *, most: int) -> list[Found]:
        """So many objects at most, the surest first: predicted IoU times probability of the name.

        That is among the names asked and names for nothing.
        """
        candidates = self.look(pixels)
        masks, embeddings = candidates.choose(self.settings)
        ious = candidates.predicted_iou[candidates.keep(self.settings)].numpy()
        classes = np.concatenate([self._teachers.classes(asked), self._nothing])
        logits = self._sam.manifest.text.logit_scale * embeddings @ classes.T
        odds = torch.from_numpy(logits).softmax(dim=1).numpy()
        found = [
            (int(row.argmax()), float(row.max() * iou), mask)
            for row, iou, mask in zip(odds, ious, masks, strict=True)
            if row.argmax() < len(asked)
        ]
        return sorted(found, key=lambda each: -each[1])[:most]

    def _rivals(self, classes: np.ndarray) -> dict[Name, np.ndarray]:
        both = np.concatenate([classes, self._nothing])
        return {"two_models": classes, "two_models_or_nothing": both}

    def _tune(self, tuning: Iterable[AskedPicture]) -> Everything:
        """Finds the thresholds whose mIoU is best, in the better of both ways of naming segments.

        A small SAM rarely predicts an IoU of 0.88 for its own masks, so that with SAM's own
        thresholds the two models would find next to nothing. The student's thresholds are
        calibrated on pictures that are not measured; these are chosen on such pictures too.
        """
        tallies: dict[tuple[Everything, Name], TextTally] = defaultdict(TextTally)
        choices = [
            self.settings.model_copy(update={"predicted_iou": predicted, "stability": steady})
            for predicted, steady in product(_PREDICTED_IOUS, _STABILITIES)
        ]
        for asked in track(tuning, "choosing thresholds"):
            labels = self._teachers.classes(asked.labels)
            candidates = self.look(asked.image)
            for choice in choices:
                found = candidates.choose(choice)
                for name, rivals in self._rivals(labels).items():
                    masks = name_segments(*found, rivals, labels=len(labels))
                    tallies[choice, name].add(masks, truth=asked.masks)
        mious = {key: tally.row(heads=key[1], split="train").miou for key, tally in tallies.items()}
        best, _ = max(mious, key=mious.__getitem__, default=(self.settings, None))
        return best


def name_segments(
    masks: np.ndarray, embeddings: np.ndarray, classes: np.ndarray, *, labels: int
) -> np.ndarray:
    """Names each mask by its nearest class, and paints it: large ones first, small ones over.

    Masks and embeddings are `Candidates.choose`'s. Of the classes, float32 [L,E] of unit length,
    the first are the labels that were asked; a mask of a later one is painted as background. The
    answer is the mask of each label, bool [labels,H,W]; no two overlap.
    """
    class_map = np.full(masks.shape[1:], len(classes), np.int16)
    nearest = (embeddings @ classes.T).argmax(axis=1)
    areas = masks.sum(axis=(1, 2))
    for index in np.argsort(-areas, kind="stable"):
        class_map[masks[index]] = nearest[index]
    return class_map == np.arange(labels)[:, None, None]


class OwnClip:
    """The CLIP in a merged model, a `ClipTeacher`: a backbone pass for each crop."""

    def __init__(self, model: SamClip) -> None:
        self._model = model
        self.resolution = model.manifest.tasks.classification.resolution
        self.embed_dim = model.manifest.model.embed_dim

    def embed_images(self, images: Tensor) -> Tensor:
        """Unit embeddings [B,E] of crops [B,3,S,S], RGB 0..255."""
        pixels = images.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
        found = [self._model.embed_image(np.ascontiguousarray(each)) for each in pixels]
        return torch.from_numpy(np.stack(found))


def by_two_models(
    model: SamClip, root: Path, *, names: Sequence[str], teachers: Path | None, most: int
) -> Detect:
    """The pipeline: of RUNS/CONFIG's teachers, or of the model's own two halves without any.

    `root` holds the sets, whose split "calibration" chooses thresholds. All `names` that will be
    asked are embedded now.
    """
    pair = open_teachers(find_teachers(teachers)) if teachers else Teachers(OwnClip(model), model)
    pair.classes(names)
    return partial(TwoModels(pair, tuning_pictures(root, seed=0)).detect, most=most)


def tuning_pictures(root: Path, *, seed: int) -> list[AskedPicture]:
    """A few pictures of complete sets that show something, to choose thresholds by."""
    settings = SetSettings(source="photographs", root=root)
    asked = AskedPhotographs(Photographs(settings, split="calibration"), seed=seed)
    return list(islice((each for each in asked.ask(Counter()) if each.present), _TUNING_PICTURES))
