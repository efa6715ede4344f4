"""What a model finds by itself in pictures: labels, their objects, and everything there is."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from functools import partial
from typing import Literal, overload

from samclip_sdk.engine.engine import AnyImage
from samclip_sdk.engine.everything import EverythingOptions
from samclip_sdk.engine.options import MAX_INSTANCES, Options, instance_limit
from samclip_sdk.engine.text_to_mask import MAX_LABELS
from samclip_sdk.engine.video.sources import VideoSource, open_footage
from samclip_sdk.engine.video.stream import Stream, follow_footage
from samclip_sdk.picture.tiles import Tiling
from samclip_sdk.picture_verbs import Answers, Images, Labels, OneImage, PictureVerbs, Several
from samclip_sdk.results.instances import Instances
from samclip_sdk.results.text_masks import TextMasks
from samclip_sdk.results.tracked import TrackedInstances
from samclip_sdk.system.arguments import check_integer
from samclip_sdk.text.tokenizer import check_labels


class ObjectVerbs(PictureVerbs):
    """The verbs that find things without being pointed at them; see `SamClip`."""

    @overload
    def segment_text(  # type: ignore[overload-overlap]
        self,
        image: AnyImage,
        labels: Labels,
        *,
        threshold: float | None = None,
        mask_threshold: float | None = None,
        points_per_class: int | None = None,
        refine: bool = True,
        instances: Literal[False] = False,
        tiles: tuple[int, int] | int | None = None,
        tile_overlap: float | None = None,
    ) -> TextMasks: ...
    @overload
    def segment_text(
        self,
        image: Several[OneImage],
        labels: Labels,
        *,
        threshold: float | None = None,
        mask_threshold: float | None = None,
        points_per_class: int | None = None,
        refine: bool = True,
        instances: Literal[False] = False,
        tiles: tuple[int, int] | int | None = None,
        tile_overlap: float | None = None,
    ) -> list[TextMasks]: ...
    @overload
    def segment_text(
        self,
        image: Iterator[AnyImage],
        labels: Labels,
        *,
        threshold: float | None = None,
        mask_threshold: float | None = None,
        points_per_class: int | None = None,
        refine: bool = True,
        instances: Literal[False] = False,
        tiles: tuple[int, int] | int | None = None,
        tile_overlap: float | None = None,
    ) -> Iterator[TextMasks]: ...
    @overload
    def segment_text(  # type: ignore[overload-overlap]
        self,
        image: AnyImage,
        labels: Labels,
        *,
        threshold: float | None = None,
        mask_threshold: float | None = None,
        instances: Literal[True],
        max_instances: int | None = None,
        tiles: tuple[int, int] | int | None = None,
        tile_overlap: float | None = None,
    ) -> Instances: ...
    @overload
    def segment_text(
        self,
        image: Several[OneImage],
        labels: Labels,
        *,
        threshold: float | None = None,
        mask_threshold: float | None = None,
        instances: Literal[True],
        max_instances: int | None = None,
        tiles: tuple[int, int] | int | None = None,
        tile_overlap: float | None = None,
    ) -> list[Instances]: ...
    @overload
    def segment_text(
        self,
        image: Iterator[AnyImage],
        labels: Labels,
        *,
        threshold: float | None = None,
        mask_threshold: float | None = None,
        instances: Literal[True],
        max_instances: int | None = None,
        tiles: tuple[int, int] | int | None = None,
        tile_overlap: float | None = None,
    ) -> Iterator[Instances]: ...
    def segment_text(
        self,
        image: Images,
        labels: Labels,
        *,
        threshold: float | None = None,
        mask_threshold: float | None = None,
        points_per_class: int | None = None,
        refine: bool = True,
        instances: bool = False,
        max_instances: int | None = None,
        tiles: tuple[int, int] | int | None = None,
        tile_overlap: float | None = None,
    ) -> Answers[TextMasks] | Answers[Instances]:
        """Finds each label in the image, and its mask if it is there (paper section 4.4).

        Nothing of a label's answer but the class map depends on which other labels are asked.

        With `instances`, the answer has a row for each object instead of one for each label: where
        a label scores highest there may be an object, the mask decoder draws it, and of masks that
        show the same object the best stays. Nothing of a label's objects but the cut at
        `max_instances` depends on which other labels are asked.

        With `tiles`, the same is done for the whole image and for parts of it that overlap, each as
        large to the model as the whole image is, which finds smaller things and takes as much time
        for each tile. What a tile cuts is put together with what its neighbour shows of it; what no
        tile can hold is as the whole image shows it. Of n tiles each is a chance to see what is not
        there: in a tile, the odds of a label's presence count for the root of n less.

        Args:
            image: one, or many.
            labels: nouns such as "dog"; each is put into the bundle's prompt templates.
            threshold: 0..1, the presence below which a label counts as absent and gets an empty
                mask; by default the bundle's calibrated one.
            mask_threshold: the logit a pixel must exceed; by default the bundle's, 0 with
                `refine`, the calibrated one of the CLIP head without.
            points_per_class: how many points the mask decoder is given for each connected part of a
                label, at most; 3 by default.
            refine: let the mask decoder draw the masks; else they are the CLIP head's score maps,
                upscaled, and a mask's score is its presence.
            instances: tell the objects of a label apart.
            max_instances: with `instances`, how many objects of the image are told, the best ones;
                50 by default.
            tiles: (rows, columns), or the longest side that a tile may have in pixels; None for the
                whole image alone. Of an image that was prepared or encoded before, the picture is
                read again for them.
            tile_overlap: with `tiles`, the share of a tile's side that neighbours have in common at
                least, 0.1 to 0.5; 0.25 by default.

        Returns:
            TextMasks, or with `instances` Instances.

        Raises:
            ImageError: the image cannot be read or used; with `tiles`, an embedding does not know
                its picture, or that has another size now.
            TextError: no label, an empty one, two that are the same to CLIP, or more than 32,767.
            PromptError: a threshold, or number of points or objects, that cannot be; tiles that are
                none, or larger than the image; `max_instances` without `instances`, `tile_overlap`
                without `tiles`; `instances` without `refine`, or with `points_per_class`.
            EmbeddingMismatchError: another model made the embedding.
        """
        names = check_labels(labels, at_most=MAX_LABELS)
        options = Options.from_manifest(
            self.manifest,
            threshold=threshold,
            mask_threshold=mask_threshold,
            points_per_class=points_per_class,
            refine=refine,
        )
        limit = instance_limit(
            instances,
            max_instances=max_instances,
            points_per_class=points_per_class,
            refine=refine,
        )
        tiling = Tiling.asked(tiles, overlap=tile_overlap)
        task = self.manifest.tasks.segmentation
        if limit is None:
            find = partial(self._engine.segment_text, labels=names, options=options)
            if tiling is not None:
                find = partial(
                    self._engine.segment_tiled_text, labels=names, options=options, tiling=tiling
                )
            masks: Answers[TextMasks] = self._answer(image, find, task=task)
            return masks
        tell_apart = partial(
            self._engine.segment_instances,
            labels=names,
            options=options,
            max_instances=limit,
            tiling=tiling,
        )
        objects: Answers[Instances] = self._answer(image, tell_apart, task=task)
        return objects

    @overload
    def segment_everything(  # type: ignore[overload-overlap]
        self,
        image: AnyImage,
        labels: Labels | None = None,
        *,
        points_per_side: int = 32,
        pred_iou_thresh: float | None = None,
        stability_score_thresh: float | None = None,
        stability_score_offset: float = 1.0,
        box_nms_thresh: float = 0.7,
        tiles: tuple[int, int] | int | None = None,
        tile_overlap: float | None = None,
    ) -> Instances: ...
    @overload
    def segment_everything(
        self,
        image: Several[OneImage],
        labels: Labels | None = None,
        *,
        points_per_side: int = 32,
        pred_iou_thresh: float | None = None,
        stability_score_thresh: float | None = None,
        stability_score_offset: float = 1.0,
        box_nms_thresh: float = 0.7,
        tiles: tuple[int, int] | int | None = None,
        tile_overlap: float | None = None,
    ) -> list[Instances]: ...
    @overload
    def segment_everything(
        self,
        image: Iterator[AnyImage],
        labels: Labels | None = None,
        *,
        points_per_side: int = 32,
        pred_iou_thresh: float | None = None,
        stability_score_thresh: float | None = None,
        stability_score_offset: float = 1.0,
        box_nms_thresh: float = 0.7,
        tiles: tuple[int, int] | int | None = None,
        tile_overlap: float | None = None,
    ) -> Iterator[Instances]: ...
    def segment_everything(
        self,
        image: Images,
        labels: Labels | None = None,
        *,
        points_per_side: int = 32,
        pred_iou_thresh: float | None = None,
        stability_score_thresh: float | None = None,
        stability_score_offset: float = 1.0,
        box_nms_thresh: float = 0.7,
        tiles: tuple[int, int] | int | None = None,
        tile_overlap: float | None = None,
    ) -> Answers[Instances]:
        """Segments everything that can be told apart, and names it.

        As segment-anything's SamAutomaticMaskGenerator with one crop, whose parameters these are:
        each point of a grid gets three masks; those stay that the model thinks good and that are
        stable; and of those whose boxes overlap, the best. Empty masks are left out.

        With `tiles`, the grid is laid over each of them too, as with more crops there: a mask that
        a tile cuts is left out, and of masks whose boxes overlap, a tile's stays.

        Args:
            image: one, or many.
            labels: what things may be called: nouns, or what `load_vocabulary` returned; by default
                the nouns that the bundle brings. Each mask gets the one that fits best what is
                inside of it, however little that is: see `label_scores`. Without labels, a bundle
                without nouns gives no names.
            points_per_side: of the grid; its square is the number of prompts. 1 to 1024.
            pred_iou_thresh: 0..1, what a mask's predicted IoU must exceed; 0 asks nothing; by
                default the bundle's calibrated one, or segment-anything's 0.88.
            stability_score_thresh: 0..1, what a mask's stability must reach: the IoU of the masks
                with the threshold moved up and down; 0 asks nothing; by default the bundle's
                calibrated one, or segment-anything's 0.95.
            stability_score_offset: by how much it is moved, a logit.
            box_nms_thresh: 0..1, the IoU with a better mask's box above which a mask is dropped.
            tiles: as in `segment_text`.
            tile_overlap: as in `segment_text`.

        Raises:
            ImageError: the image cannot be read or used.
            TextError: no label (in a list without any), an empty one, or two that are the same to
                CLIP.
            PromptError: a number that cannot be; tiles that are none, or larger than the image.
            EmbeddingMismatchError: another model made the embedding.
        """
        names = None if labels is None else check_labels(labels)
        options = EverythingOptions.from_calibration(
            self.manifest.calibration,
            points_per_side=points_per_side,
            pred_iou_thresh=pred_iou_thresh,
            stability_score_thresh=stability_score_thresh,
            stability_score_offset=stability_score_offset,
            box_nms_thresh=box_nms_thresh,
        )
        tiling = Tiling.asked(tiles, overlap=tile_overlap)
        return self._answer(
            image,
            partial(self._engine.segment_everything, labels=names, options=options, tiling=tiling),
            task=self.manifest.tasks.segmentation,
        )

    def stream(
        self,
        source: VideoSource,
        labels: Labels,
        *,
        threshold: float | None = None,
        mask_threshold: float | None = None,
        max_instances: int = MAX_INSTANCES,
        encode_every: int = 1,
    ) -> Generator[TrackedInstances, None, None]:
        """Finds the objects of labels in each frame of a video, and tells which is which.

        As `segment_text` with `instances`, with what the frames before can tell: score maps are
        averaged over time, the mask that an object had is a prompt for the one that it has, and
        objects keep their ids by the IoU of their masks and by what is inside them, also through a
        time in which they are hidden. It is not SAM 2's memory: no frame's pixels are seen by the
        model together with another's.

        What is in memory does not grow with the number of frames. A few of them are read ahead, of
        a camera none.

        Args:
            source: a film's file, a folder of pictures, in the order of the numbers in their names,
                the number of a camera, or an iterator of what every other verb takes as an image.
            labels: nouns such as "dog"; each is put into the bundle's prompt templates.
            threshold: as for `segment_text`.
            mask_threshold: likewise.
            max_instances: how many objects of a frame are told, the best ones.
            encode_every: 1 to look at each frame, 2 at every other one, and so on. In between,
                masks move as the picture moves, which takes next to no time; a new object is found
                at the next look. After a cut the model looks at once.

        Returns:
            What is in each frame, in their order. Closing it, if it is not taken to its end, closes
            the film or camera.

        Raises:
            ImageError: no such file or camera, a film without a frame, or a folder without
                pictures; later, a frame that cannot be read or has another size than the first.
            TextError: no label, an empty one, two that are the same to CLIP, or more than 32,767.
            PromptError: a threshold or number that cannot be.
        """
        names = check_labels(labels, at_most=MAX_LABELS)
        options = Options.from_manifest(
            self.manifest,
            threshold=threshold,
            mask_threshold=mask_threshold,
            points_per_class=1,
            refine=True,
        )
        check_integer(max_instances, name="max_instances", least=1)
        check_integer(encode_every, name="encode_every", least=1)
        footage = open_footage(source)
        stream = Stream(
            self._engine,
            labels=names,
            options=options,
            max_instances=int(max_instances),
            encode_every=int(encode_every),
        )
        return follow_footage(stream, footage)
