"""Text-to-mask of many pictures: COCO JSON of a folder, resumable, in bounded memory."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from samclip_sdk.annotate.annotation_log import AnnotationSettings, log_path
from samclip_sdk.annotate.annotation_run import AnnotationReport, annotate_listing, check_output
from samclip_sdk.annotate.picture_files import check_still, find_pictures
from samclip_sdk.annotate.picture_sources import Listing, SourcePicture
from samclip_sdk.client import SamClip
from samclip_sdk.engine.options import MAX_INSTANCES, TextToMaskOptions
from samclip_sdk.errors import ImageError, PromptError
from samclip_sdk.picture.image import ImageSource
from samclip_sdk.results.image_embedding import PreparedImage
from samclip_sdk.results.result_base import coco_annotation
from samclip_sdk.system.arguments import check_flag, check_integer
from samclip_sdk.system.progress import OnProgress, no_progress
from samclip_sdk.system.reading_ahead import READERS, read_ahead
from samclip_sdk.text.tokenizer import check_labels


class Annotator:
    """Answers one picture after another with the masks of the same labels, embedded once.

    Args:
        model: opened by the caller, who closes it.
        labels: of the categories, in their order.
        threshold: as in `SamClip.segment_text`, the others too.
        mask_threshold: the logit a pixel must exceed.
        points_per_class: how many points the mask decoder is given for a label, at most; 3 by
            default.
        refine: let the mask decoder draw the masks, or the CLIP head alone.
        instances: an annotation for each object of a label, or one for each label.
        max_instances: with `instances`, how many objects of a picture are told, the best ones; 50
            by default.
        polygons: write masks as polygons, which labelling tools can edit, or as RLE. Both fill the
            same pixels.

    Attributes:
        settings: all that an answer depends on, besides the picture. What labels mean is noted
            here: teach them before.

    Raises:
        TextError: no label, an empty one, or one twice.
        PromptError: a threshold, or number of points or objects, that cannot be; `max_instances`
            without `instances`, or `instances` without `refine`.
    """

    def __init__(
        self,
        model: SamClip,
        labels: str | Sequence[str],
        *,
        threshold: float | None = None,
        mask_threshold: float | None = None,
        points_per_class: int | None = None,
        refine: bool = True,
        instances: bool = True,
        max_instances: int | None = None,
        polygons: bool = False,
    ) -> None:
        check_flag(instances, name="instances")
        if instances and not refine:
            raise PromptError("refine is False; the mask decoder draws the masks of instances")
        options = (
            TextToMaskOptions.of_objects(
                model.manifest,
                threshold=threshold,
                mask_threshold=mask_threshold,
                points_per_class=points_per_class,
            )
            if instances
            else TextToMaskOptions.of_text(
                model.manifest,
                threshold=threshold,
                mask_threshold=mask_threshold,
                points_per_class=points_per_class,
                refine=refine,
            )
        )
        check_flag(polygons, name="polygons")
        names = check_labels(labels)
        self._model = model
        self.settings = AnnotationSettings(
            model=model.manifest.name,
            model_id=model.source.id,
            revision=model.manifest.revision,
            runtime=model.source.runtime,
            precision=model.source.precision,
            labels=names,
            label_digests=model.label_digests(names),
            threshold=options.presence_threshold,
            mask_threshold=options.mask_threshold,
            points_per_class=options.points_per_class,
            refine=refine,
            max_instances=_most_objects(instances, max_instances=max_instances),
            polygons=polygons,
        )

    def prepare(self, source: str | os.PathLike[str] | bytes) -> PreparedImage:
        """Reads a still picture. Any thread may do so while another one calls this object.

        Args:
            source: its file's path, or what is in it.

        Raises:
            ImageError: it cannot be read, is empty, or is animated.
        """
        check_still(source if isinstance(source, bytes) else Path(source))
        return self._model.prepare_image(source)

    def __call__(self, image: ImageSource | PreparedImage) -> dict[str, Any]:
        """Finds the labels in a picture.

        Returns:
            width and height of the upright picture, and annotations as COCO has them: category_id
            (the label's place, from 1), bbox, area, segmentation, and scores. An object has the
            score, label_score, predicted_iou and stability_score of `Instances`; a label has its
            score (predicted IoU) and presence, and none of it if its mask is empty.

        Raises:
            ImageError: the image cannot be read or used.
        """
        if self.settings.max_instances is None:
            return self._labels(image)
        return self._objects(image, max_instances=self.settings.max_instances)

    def _objects(self, image: ImageSource | PreparedImage, *, max_instances: int) -> dict[str, Any]:
        settings = self.settings
        found = self._model.segment_instances(
            image,
            settings.labels,
            threshold=settings.threshold,
            mask_threshold=settings.mask_threshold,
            points_per_class=settings.points_per_class,
            max_instances=max_instances,
        )
        annotations = [
            {
                "category_id": place + 1,
                **coco_annotation(mask, size=found.size, polygons=settings.polygons),
                "score": each.score,
                "label_score": each.label_score,
                "predicted_iou": each.predicted_iou,
                "stability_score": each.stability_score,
            }
            for each, mask, place in zip(
                found, found.masks.packed, found.label_index.tolist(), strict=True
            )
        ]
        height, width = found.size
        return {"width": width, "height": height, "annotations": annotations}

    def _labels(self, image: ImageSource | PreparedImage) -> dict[str, Any]:
        settings = self.settings
        result = self._model.segment_text(
            image,
            settings.labels,
            threshold=settings.threshold,
            mask_threshold=settings.mask_threshold,
            points_per_class=settings.points_per_class,
            refine=settings.refine,
        )
        height, width = result.size
        annotations = [
            {
                "category_id": int(result.label_index[row]) + 1,
                **coco_annotation(mask, size=result.size, polygons=settings.polygons),
                "score": float(result.scores[row]),
                "presence": float(result.presence[row]),
            }
            for row, mask in enumerate(result.masks.packed)
            if not mask.empty
        ]
        return {"width": width, "height": height, "annotations": annotations}


def annotate_pictures(
    annotator: Annotator, pictures: Iterable[SourcePicture], *, readers: int = READERS
) -> Generator[tuple[SourcePicture, dict[str, Any] | ImageError], None, None]:
    """Annotates pictures in their order, while threads read those that come next.

    At most `2 * readers + 1` pictures are in memory, at the size of the model's input.

    Args:
        annotator: called in this thread only.
        pictures: read lazily.
        readers: threads that read, decode and letterbox.

    Yields:
        Each picture with its answer, or with the reason why it cannot be read.
    """

    def read(picture: SourcePicture) -> tuple[SourcePicture, PreparedImage | ImageError]:
        try:
            return picture, annotator.prepare(picture.content())
        except ImageError as error:
            return picture, error

    with closing(read_ahead(pictures, read, readers=readers)) as ahead:
        for picture, prepared in ahead:
            if isinstance(prepared, ImageError):
                yield picture, prepared
            else:
                yield picture, annotator(prepared)


def annotate_folder(
    annotator: Annotator,
    folder: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    readers: int = READERS,
    restart: bool = False,
    overwrite: bool = False,
    on_progress: OnProgress = no_progress,
) -> AnnotationReport:
    """Writes COCO JSON of all pictures of a folder and the folders below it.

    A progress file beside the output, `log_path`, has a line for each finished picture. A run that
    was stopped, by whatever, goes on from it; so does a later one, with what is new, was replaced,
    or could not be read.

    Args:
        annotator: with the labels.
        folder: whose pictures they are; see `find_pictures`.
        output: the COCO JSON, replaced whole at the end; `file_name` is relative to the folder.
        readers: see `annotate_pictures`.
        restart: forget what an earlier run did.
        overwrite: replace an output that has no progress file beside it, and so is not ours.
        on_progress: told after each picture how many are through, of how many.

    Raises:
        StorageError: there is no such folder; the output or its progress file cannot be written;
            the output is not ours; or the progress file was begun with other settings, or is in
            use.
        ImageError: nothing could be read; there is no output then.
    """
    target = Path(output)
    check_output(target, overwrite=overwrite)
    pictures, skipped = find_pictures(folder, leave_out=(target, log_path(target)))
    return annotate_listing(
        annotator.settings,
        Listing(os.fspath(folder), tuple(pictures), tuple(skipped)),
        target,
        answer=partial(annotate_pictures, annotator, readers=readers),
        restart=restart,
        overwrite=overwrite,
        on_progress=on_progress,
    )


def _most_objects(instances: bool, *, max_instances: int | None) -> int | None:
    """How many objects of a picture are told; None where each label has one annotation.

    Raises:
        PromptError: a number that cannot be, or one without `instances`.
    """
    if not instances:
        if max_instances is not None:
            raise PromptError(f"max_instances is {max_instances!r}; it needs instances=True")
        return None
    if max_instances is None:
        return MAX_INSTANCES
    check_integer(max_instances, name="max_instances", least=1)
    return int(max_instances)
