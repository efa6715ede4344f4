"""The walks from a picture to its objects: named, of labels, or everything; each step timed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.engine.engine import AnyImage, Array, Engine
from samclip_sdk.engine.everything import (
    EverythingOptions,
    GoodMask,
    clear_in_tile,
    distinct_things,
    good_masks,
    grid_prompts,
)
from samclip_sdk.engine.found_objects import (
    FoundObject,
    Sighting,
    compose_instances,
    in_whole,
    merge_objects,
)
from samclip_sdk.engine.instances import (
    Candidates,
    best_objects,
    chosen_masks,
    distinct_objects,
    find_candidates,
)
from samclip_sdk.engine.mask_pooling import pool_over_mask
from samclip_sdk.engine.mask_selection import in_image
from samclip_sdk.engine.opened_picture import OpenedPicture
from samclip_sdk.engine.options import Options
from samclip_sdk.engine.regions import Region
from samclip_sdk.engine.text_to_mask import find_labels
from samclip_sdk.engine.tiled_labels import SeenLabel, compose_seen, see_labels
from samclip_sdk.errors import ImageError, PromptError
from samclip_sdk.picture.frame import Frame
from samclip_sdk.picture.image import load_image, load_picture
from samclip_sdk.picture.image_prompts import ImagePrompts
from samclip_sdk.picture.masks import mask_to_model
from samclip_sdk.picture.prompts import Prompts
from samclip_sdk.picture.tiles import Tiling, Window
from samclip_sdk.results.image_embedding import ImageEmbedding, PreparedImage
from samclip_sdk.results.instances import Instances
from samclip_sdk.results.text_masks import TextMasks
from samclip_sdk.system.timing import Stopwatch
from samclip_sdk.text.vocabulary import read_vocabulary


class ObjectEngine(Engine):
    """An engine that tells objects apart, in a picture and its tiles; see `Engine`."""

    def embed_region(self, image: AnyImage, *, region: Region, clock: Stopwatch) -> Array:
        """What is in a region, in CLIP's joint space: [E], of unit length; see `encode`.

        Raises:
            PromptError: the region does not fit the image, and the backbone has not run then; or
                the mask decoder draws nothing for its prompt.
        """
        task = self.manifest.tasks.segmentation
        admitted = self.admit(image, task=task, clock=clock)
        frame = admitted.frame
        region.check_size(frame)
        mask: NDArray[np.bool_] | Array
        if isinstance(region.asked, ImagePrompts):
            prompts = region.asked.in_model(frame, mask_side=self.mask_side(frame))
            embedding = self.encode(admitted, task=task, clock=clock)
            mask = self._draw(embedding, prompts, ambiguous=region.ambiguous, clock=clock)
        else:
            embedding = self.encode(admitted, task=task, clock=clock)
            mask = mask_to_model(region.asked, frame=frame)
        patches = self._clip_head(embedding, clock=clock).patch_embeddings
        return pool_over_mask(patches, mask=mask)

    def _draw(
        self, embedding: ImageEmbedding, prompts: Prompts, *, ambiguous: bool, clock: Stopwatch
    ) -> NDArray[np.bool_]:
        """The mask [4g,4g] of one prompt: of an ambiguous one, the best of three."""
        tokens = slice(1, 4) if ambiguous else slice(0, 1)
        low_res, scores = self.decode(embedding, prompts=prompts, tokens=tokens, clock=clock)
        mask = in_image(
            low_res[0, int(scores[0].argmax())],
            frame=embedding.frame,
            mask_threshold=self.manifest.masks.mask_threshold,
        )
        if not mask.any():
            raise PromptError("the mask decoder draws nothing there: give another box, or a mask")
        return mask

    def segment_instances(
        self,
        image: AnyImage,
        *,
        labels: Sequence[str],
        options: Options,
        max_instances: int,
        tiling: Tiling | None,
        clock: Stopwatch,
    ) -> Instances:
        """Finds the objects of labels, from `check_labels`, in the whole image and in its tiles."""
        text = self.texts.embed_labels(labels, clock=clock)
        opened = self._open(image, tiling=tiling, clock=clock)
        found: list[list[tuple[FoundObject, Window]]] = [[] for _ in labels]
        best = list[FoundObject]()
        for view, embedding in self._views(opened, clock=clock):
            own = opened.options_in(view, options)
            for objects in self._objects(embedding, text=text, options=own, clock=clock):
                if tiling is None:
                    best = best_objects([*best, *objects], at_most=max_instances)
                for each in objects if tiling else ():
                    found[each.label_index].append((in_whole(each, view=view), view))
        with clock.step("postprocess"):
            for of_label in found:
                merged = merge_objects(of_label, size=opened.size)
                best = best_objects([*best, *merged], at_most=max_instances)
            result = compose_instances(best, labels=labels, size=opened.size)
        return replace(result, speed=clock.ms, picture=opened.whole.picture)

    def _objects(
        self, embedding: ImageEmbedding, *, text: Array, options: Options, clock: Stopwatch
    ) -> Iterator[list[FoundObject]]:
        """The objects of each label that is in an image, one label after the other.

        The mask decoder is not asked about two labels at once: its last bits may depend on that.
        """
        patches = self.patch_embeddings(embedding, clock=clock)
        found = find_labels(
            patches,
            text_embeddings=text,
            frame=embedding.frame,
            calibration=self.manifest.calibration,
            threshold=options.presence_threshold,
        )
        for index in found.present.tolist():
            seen = self.objects_of(
                self.candidates(
                    found.score_maps[index], frame=embedding.frame, options=options, clock=clock
                ),
                embedding=embedding,
                patches=patches,
                text_embedding=text[index],
                label_index=index,
                mask_threshold=options.mask_threshold,
                clock=clock,
            )
            yield [each.found for each in seen]

    def segment_tiled_text(
        self,
        image: AnyImage,
        *,
        labels: Sequence[str],
        options: Options,
        tiling: Tiling,
        clock: Stopwatch,
    ) -> TextMasks:
        """Finds labels, from `check_labels`, and their masks, in the whole image and its tiles."""
        text = self.texts.embed_labels(labels, clock=clock)
        opened = self._open(image, tiling=tiling, clock=clock)
        seen: list[list[SeenLabel]] = [[] for _ in labels]
        presence, score_maps = list[Array](), list[Array]()
        for view, embedding in self._views(opened, clock=clock):
            own = opened.options_in(view, options)
            found, drafts = self._draft(embedding, text=text, options=own, clock=clock)
            presence.append(opened.presence_in(view, found.presence))
            score_maps = score_maps or [found.score_maps]  # of the whole image, the first view
            with clock.step("postprocess"):
                parts = see_labels(
                    drafts,
                    found=found,
                    presence=presence[-1],
                    frame=embedding.frame,
                    view=view,
                    mask_threshold=options.mask_threshold,
                )
            for index, each in parts.items():
                seen[index].append(each)
        with clock.step("postprocess"):
            result = compose_seen(
                seen,
                presence=np.max(presence, axis=0),
                score_maps=score_maps[0],
                labels=labels,
                size=opened.size,
            )
        return replace(result, speed=clock.ms, picture=opened.whole.picture)

    def patch_embeddings(self, embedding: ImageEmbedding, *, clock: Stopwatch) -> Array:
        """What the CLIP head says of each patch: [1,h*h,E], unit length."""
        return self._clip_head(embedding, clock=clock).patch_embeddings

    def candidates(
        self, score_map: Array, *, frame: Frame, options: Options, clock: Stopwatch
    ) -> Candidates:
        """Where a label that is in the image may have objects: in its score map [h,h]."""
        with clock.step("prompts"):
            return find_candidates(
                score_map,
                frame=frame,
                threshold=self.manifest.calibration.head_only_threshold,
                presence_threshold=options.presence_threshold,
                mask_side=self.mask_side(frame),
            )

    def objects_of(
        self,
        candidates: Candidates,
        *,
        embedding: ImageEmbedding,
        patches: Array,
        text_embedding: Array,
        label_index: int,
        mask_threshold: float,
        clock: Stopwatch,
    ) -> list[Sighting]:
        """Draws the masks of a label's candidates, and keeps one of each object, the best first.

        Args:
            candidates: of the label.
            embedding: of the image.
            patches: of the image, from `patch_embeddings`.
            text_embedding: of the label, [E].
            label_index: the place of the label among those asked.
            mask_threshold: the logit that a pixel must exceed.
            clock: told how long each step took.
        """
        decoded = self.decode(
            embedding, prompts=candidates.prompts, tokens=slice(0, 4), clock=clock
        )
        with clock.step("postprocess"):
            return distinct_objects(
                *chosen_masks(*decoded, maps=candidates.maps, frame=embedding.frame),
                patch_embeddings=patches,
                text_embedding=text_embedding,
                label_index=label_index,
                frame=embedding.frame,
                calibration=self.manifest.calibration,
                mask_threshold=mask_threshold,
            )

    def segment_everything(
        self,
        image: AnyImage,
        *,
        labels: Sequence[str] | None,
        options: EverythingOptions,
        tiling: Tiling | None,
        clock: Stopwatch,
    ) -> Instances:
        """Finds what there is, and names it by labels, from `check_labels`.

        Without labels they are the model's own nouns; without these, nothing has a name.
        """
        text: Array | None
        if labels is None:
            labels, text = self._nouns
        else:
            text = self.texts.embed_labels(labels, clock=clock)
        opened = self._open(image, tiling=tiling, clock=clock)
        found: list[GoodMask] = []
        for view, embedding in self._views(opened, clock=clock):
            good = self._good_masks(embedding, named=text is not None, options=options, clock=clock)
            found += (
                good
                if view.size == opened.size
                else clear_in_tile(good, view=view, size=opened.size)
            )
        with clock.step("postprocess"):
            things = distinct_things(
                found,
                texts=text,
                calibration=self.manifest.calibration,
                box_nms_thresh=options.box_nms_thresh,
            )
            result = compose_instances(things, labels=labels, size=opened.size)
        return replace(result, speed=clock.ms, picture=opened.whole.picture)

    def _good_masks(
        self,
        embedding: ImageEmbedding,
        *,
        named: bool,
        options: EverythingOptions,
        clock: Stopwatch,
    ) -> list[GoodMask]:
        """The masks of a grid of points over an image that are good by themselves."""
        frame = embedding.frame
        patches = self._clip_head(embedding, clock=clock).patch_embeddings if named else None
        prompts = grid_prompts(
            points_per_side=options.points_per_side,
            frame=frame,
            mask_side=self.mask_side(frame),
        )
        found: list[GoodMask] = []
        for low_res, iou_predictions in self._decode_in_turn(embedding, prompts, clock=clock):
            with clock.step("postprocess"):
                found += good_masks(
                    low_res[:, 1:],
                    iou_predictions=iou_predictions[:, 1:],
                    patch_embeddings=patches,
                    frame=frame,
                    mask_threshold=self.manifest.masks.mask_threshold,
                    options=options,
                )
        return found

    def _open(self, image: AnyImage, *, tiling: Tiling | None, clock: Stopwatch) -> OpenedPicture:
        """Admits an image, with the pixels of its tiles if there are to be any.

        Raises:
            PromptError: the tiles do not fit the image.
            ImageError: of an image that was prepared or encoded before, the picture that the tiles
                are cut from is not known, cannot be read any more, or has another size now.
        """
        task = self.manifest.tasks.segmentation
        if tiling is None:
            return OpenedPicture(self.admit(image, task=task, clock=clock))
        if isinstance(image, (PreparedImage, ImageEmbedding)):
            whole = self.admit(image, task=task, clock=clock)
            tiles = tiling.place(whole.frame.height_px, whole.frame.width_px)
            if whole.picture is None:
                raise ImageError(
                    "tiles are cut from the picture, and this embedding or prepared image does not "
                    "know its own: give the picture itself"
                )
            with clock.step("load_image"):
                pixels = load_image(whole.picture)
            height, width = pixels.shape[:2]
            if (height, width) != (whole.frame.height_px, whole.frame.width_px):
                raise ImageError(
                    f"the picture has {width} x {height} pixels now, and had "
                    f"{whole.frame.width_px} x {whole.frame.height_px}: encode it again"
                )
            return OpenedPicture(whole, pixels, tiles)
        with clock.step("load_image"):
            pixels, picture = load_picture(image)
        tiles = tiling.place(*pixels.shape[:2])
        whole = self.fit(pixels, picture=picture, task=task, clock=clock)
        return OpenedPicture(whole, pixels, tiles)

    def _views(
        self, opened: OpenedPicture, *, clock: Stopwatch
    ) -> Iterator[tuple[Window, ImageEmbedding]]:
        """The whole image, then each tile; one embedding is alive at a time."""
        task, (height, width) = self.manifest.tasks.segmentation, opened.size
        yield (
            Window(slice(0, height), slice(0, width)),
            self.encode(opened.whole, task=task, clock=clock),
        )
        for tile in opened.tiles:
            fitted = self.fit(tile.of(opened.pixels), picture=None, task=task, clock=clock)
            yield tile, self.encode(fitted, task=task, clock=clock)

    @cached_property
    def _nouns(self) -> tuple[tuple[str, ...], Array | None]:
        """What the model itself knows names for, and their embeddings; nothing, None without."""
        path = self.source.nouns_path
        if path is None:
            return (), None
        pack = read_vocabulary(path, manifest=self.manifest)
        return pack.labels, pack.matrix
