"""The walks from a picture to its objects: named, of labels, or everything; each step timed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.engine import AnyImage, Array, Engine
from samclip_sdk.errors import PromptError
from samclip_sdk.everything import (
    EverythingOptions,
    GoodMask,
    distinct_things,
    good_masks,
    grid_prompts,
)
from samclip_sdk.found_objects import FoundObject, Sighting, compose_instances
from samclip_sdk.image import Frame
from samclip_sdk.image_embedding import ImageEmbedding
from samclip_sdk.image_prompts import ImagePrompts
from samclip_sdk.instances import (
    Candidates,
    best_objects,
    chosen_masks,
    distinct_objects,
    find_candidates,
)
from samclip_sdk.mask_pooling import pool_over_mask
from samclip_sdk.mask_selection import in_image
from samclip_sdk.masks import mask_to_model
from samclip_sdk.prompts import Prompts
from samclip_sdk.regions import Region
from samclip_sdk.results.instances import Instances
from samclip_sdk.text_options import Options
from samclip_sdk.text_to_mask import find_labels
from samclip_sdk.timing import Stopwatch


class ObjectEngine(Engine):
    """An engine that tells objects apart; see `Engine`."""

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
        clock: Stopwatch,
    ) -> Instances:
        """Finds the objects of labels, from `check_labels`, one label after the other.

        The mask decoder is not asked about two labels at once: its last bits may depend on that.
        """
        text = self.texts.embed_labels(labels, clock=clock)
        embedding = self.encode(image, task=self.manifest.tasks.segmentation, clock=clock)
        patches, best = self.patch_embeddings(embedding, clock=clock), list[FoundObject]()
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
            best = best_objects([*best, *(each.found for each in seen)], at_most=max_instances)
        with clock.step("postprocess"):
            result = compose_instances(best, labels=labels, frame=embedding.frame)
        return replace(result, speed=clock.ms, picture=embedding.picture)

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
        labels: Sequence[str],
        options: EverythingOptions,
        clock: Stopwatch,
    ) -> Instances:
        """Finds what there is, and names it by labels, from `check_labels`, if there are any."""
        text = self.texts.embed_labels(labels, clock=clock) if labels else None
        embedding = self.encode(image, task=self.manifest.tasks.segmentation, clock=clock)
        frame = embedding.frame
        patches = self._clip_head(embedding, clock=clock).patch_embeddings if labels else None
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
        with clock.step("postprocess"):
            things = distinct_things(
                found,
                texts=text,
                calibration=self.manifest.calibration,
                box_nms_thresh=options.box_nms_thresh,
            )
            result = compose_instances(things, labels=labels, frame=frame)
        return replace(result, speed=clock.ms, picture=embedding.picture)
