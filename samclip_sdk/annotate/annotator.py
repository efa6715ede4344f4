"""The annotator: labels that are embedded once and looked for in one image after another."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from samclip_sdk.annotate.annotation_log import AnnotationSettings, log_path
from samclip_sdk.annotate.annotation_run import (
    AnnotationOutput,
    AnnotationReport,
    annotate_listing,
)
from samclip_sdk.annotate.image_files import check_still, find_images
from samclip_sdk.annotate.image_sources import Listing, SourceImage
from samclip_sdk.client import SamClip
from samclip_sdk.engine.options import TextToMaskOptions, default_min_score
from samclip_sdk.engine.queries import InstanceQuery, TextQuery
from samclip_sdk.errors import ImageError, PromptError
from samclip_sdk.image.frame import Frame
from samclip_sdk.image.loading import ImageSource
from samclip_sdk.results.image_embedding import PreparedImage
from samclip_sdk.results.instances import Instances
from samclip_sdk.results.result_base import coco_annotation
from samclip_sdk.results.text_masks import TextMasks
from samclip_sdk.system.arguments import check_flag
from samclip_sdk.system.progress import OnProgress, no_progress
from samclip_sdk.system.reading_ahead import READERS, read_ahead


class Annotator:
    """Finds the same labels in one image after another; the labels are embedded once.

    Args:
        model: the model; the caller opens and closes it.
        query: the labels of the categories, in the order of their ids: alone, or with the options
            of `SamClip.segment_instances` or `SamClip.segment_text`. With an `InstanceQuery`, or
            labels alone, each object of a label is an annotation; with a `TextQuery`, each label.
            An image that is too small for the query's tiles is looked at as a whole.
        polygons: whether masks are written as polygons, which labelling tools can edit, or as RLE.
            Both fill the same pixels.

    Attributes:
        settings: all that an annotation depends on, besides the image. It holds what the labels
            mean now, so teach them before.

    Raises:
        TextError: there is no label, or one is empty or given twice.
        PromptError: `polygons` is no flag.
    """

    def __init__(
        self,
        model: SamClip,
        query: str | Sequence[str] | InstanceQuery | TextQuery,
        *,
        polygons: bool = False,
    ) -> None:
        if not isinstance(query, (InstanceQuery, TextQuery)):
            query = InstanceQuery(labels=query)
        self._query = query
        self._model = model
        polygons = check_flag(polygons, name="polygons")
        self.settings = settings_of(model, self._query, polygons=polygons)

    def prepare(self, source: str | os.PathLike[str] | bytes) -> PreparedImage:
        """Reads a still image. Any thread may call this while another one calls the object.

        Args:
            source: the path of an image file, or its content.

        Raises:
            ImageError: it cannot be read, is empty, or is animated.
        """
        check_still(source if isinstance(source, bytes) else Path(source))
        return self._model.prepare_image(source)

    def __call__(self, image: ImageSource | PreparedImage) -> dict[str, Any]:
        """Finds the labels in an image.

        Returns:
            width and height of the upright image in pixels, and COCO annotations: category_id
            (the label's index, from 1), bbox, area, segmentation, and scores. An object has the
            score, label_score, predicted_iou and stability_score of `Instances`. A label has its
            score (the predicted IoU) and presence; a label with an empty mask has no annotation.

        Raises:
            ImageError: the image cannot be read or used.
        """
        if not isinstance(image, PreparedImage):
            image = self._model.prepare_image(image)
        asked = {**self._query.asked(), **self._tiles(image.frame)}
        if isinstance(self._query, TextQuery):
            return self._labels(self._model.segment_text(image, **asked))
        return self._objects(self._model.segment_instances(image, **asked))

    def _tiles(self, frame: Frame) -> dict[str, None]:
        """No tiles, if they are asked for and an image is too small for them."""
        try:
            if self._query.tiling is not None:
                self._query.tiling.windows(frame.height_px, frame.width_px)
        except PromptError:
            return {"tiles": None, "tile_overlap": None}
        return {}

    def _objects(self, found: Instances) -> dict[str, Any]:
        annotations = [
            {
                "category_id": index + 1,
                **coco_annotation(mask, size=found.size, polygons=self.settings.polygons),
                "score": each.score,
                "label_score": each.label_score,
                "predicted_iou": each.predicted_iou,
                "stability_score": each.stability_score,
            }
            for each, mask, index in zip(
                found, found.masks.packed, found.label_index.tolist(), strict=True
            )
        ]
        height, width = found.size
        return {"width": width, "height": height, "annotations": annotations}

    def _labels(self, found: TextMasks) -> dict[str, Any]:
        height, width = found.size
        annotations = [
            {
                "category_id": int(found.label_index[row]) + 1,
                **coco_annotation(mask, size=found.size, polygons=self.settings.polygons),
                "score": float(found.scores[row]),
                "presence": float(found.presence[row]),
            }
            for row, mask in enumerate(found.masks.packed)
            if not mask.empty
        ]
        return {"width": width, "height": height, "annotations": annotations}


def annotate_images(
    annotator: Annotator,
    images: Iterable[SourceImage],
    *,
    readers: int = READERS,
    at_once: int = 1,
) -> Generator[tuple[SourceImage, dict[str, Any] | ImageError], None, None]:
    """Annotates images in their order, while threads read the next ones.

    At most `2 * readers + 1` images are in memory, at the size of the model's input; and with
    `at_once` above 1, `2 * at_once + 1` images or answers more.

    Args:
        annotator: the annotator; it is called in this thread only, unless `at_once` is above 1.
        images: the images; they are read lazily.
        readers: the number of threads that read, decode and letterbox.
        at_once: how many images are annotated at the same time. With a model of `threads=1`, as
            many as there are cores give the most images a second. onnxruntime and torch compute
            them side by side, other runtimes one after the other.

    Yields:
        Each image with its answer, or with the reason why it cannot be read.
    """

    def read(image: SourceImage) -> tuple[SourceImage, PreparedImage | ImageError]:
        try:
            return image, annotator.prepare(image.content())
        except ImageError as error:
            return image, error

    def answer(
        ready: tuple[SourceImage, PreparedImage | ImageError],
    ) -> tuple[SourceImage, dict[str, Any] | ImageError]:
        image, prepared = ready
        return image, prepared if isinstance(prepared, ImageError) else annotator(prepared)

    with closing(read_ahead(images, read, readers=readers)) as ahead:
        if at_once == 1:
            yield from map(answer, ahead)
            return
        with closing(read_ahead(ahead, answer, readers=at_once)) as answered:
            yield from answered


def annotate_folder(
    annotator: Annotator,
    folder: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    at_once: int = 1,
    restart: bool = False,
    overwrite: bool = False,
    discard_progress: bool = False,
    on_progress: OnProgress = no_progress,
) -> AnnotationReport:
    """Writes COCO JSON of all images of a folder and the folders below it.

    A progress file beside the output, `log_path`, has a line for each finished image. A run that
    was stopped goes on from it. A later run does the images that are new, that were replaced, or
    that could not be read before.

    Args:
        annotator: the annotator, which has the labels.
        folder: the folder; see `find_images`.
        output: the COCO JSON, replaced whole at the end; `file_name` is relative to the folder.
        at_once: how many images are annotated at the same time; see `annotate_images`.
        restart: whether to forget the progress of an earlier run.
        overwrite: whether to replace an output that has no progress file beside it, and so was not
            written by this function.
        discard_progress: whether the progress file goes once the output is written. A later run
            then begins anew.
        on_progress: called after each image with a message, the number of finished images, and
            the number of all.

    Raises:
        StorageError: there is no such folder; the output or its progress file cannot be written;
            there is an output of another origin; or the progress file was begun with other
            settings, or is in use.
        ImageError: no image can be read; there is no output then.
    """
    target = AnnotationOutput(Path(output))
    target.check(overwrite=overwrite)
    images, skipped = find_images(folder, leave_out=(target.path, log_path(target.path)))
    return annotate_listing(
        annotator.settings,
        Listing(os.fspath(folder), tuple(images), tuple(skipped)),
        target,
        answer=partial(annotate_images, annotator, at_once=at_once),
        restart=restart,
        overwrite=overwrite,
        discard_progress=discard_progress,
        on_progress=on_progress,
    )


def settings_of(
    model: SamClip, query: InstanceQuery | TextQuery, *, polygons: bool
) -> AnnotationSettings:
    """All that the answers to a query depend on, besides the image."""
    readings = model.read_labels(query.labels)
    own = model.label_thresholds(query.labels)
    drawn = TextToMaskOptions.of_query(query, manifest=model.manifest, presence=0.0)
    objects = query if isinstance(query, InstanceQuery) else None
    return AnnotationSettings(
        model=model.manifest.name,
        model_id=model.source.id,
        revision=model.manifest.revision,
        runtime=model.runtime,
        precision=model.precision,
        labels=tuple(query.labels),
        label_digests=model.label_digests(query.labels),
        read_as={label: each.to_dict() for label, each in readings.items() if each.told},
        thresholds=own if query.threshold is None else (query.threshold,) * len(query.labels),
        allow_unknown=query.allow_unknown,
        mask_threshold=drawn.mask_threshold,
        points_per_class=drawn.points_per_class,
        refine=query.refine,
        max_instances=objects and objects.max_instances,
        min_score=objects
        and default_min_score(model.manifest.calibration, min_score=objects.min_score),
        exclusive=query.exclusive,
        polygons=polygons,
        tiles=query.tiling and query.tiling.tiles,
        tile_overlap=query.tiling and query.tiling.overlap,
    )
