"""Follows objects from frame to frame: runs the model on some frames, and moves masks in others.

This is not SAM 2's memory: each graph sees one frame only. A frame passes to the next its score
maps, its masks, which become prompts, and one embedding for each object.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, fields, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from samclip_sdk.engine.engine import Engine
from samclip_sdk.engine.instances import (
    STABILITY_OFFSET,
    draw_objects,
    find_objects,
    judge_of_label,
    label_objects,
)
from samclip_sdk.engine.label_points import cell_points
from samclip_sdk.engine.label_search import presence_of, score_maps
from samclip_sdk.engine.object_candidates import Candidates
from samclip_sdk.engine.objects import (
    Detection,
    compose_instances,
    distinct_masks,
    model_masks,
    upscale_and_pack,
)
from samclip_sdk.engine.options import TextToMaskOptions
from samclip_sdk.engine.regions import pool_over_mask
from samclip_sdk.engine.video.footage import Footage, NamedPicture
from samclip_sdk.engine.video.motion import Grey, Motion, find_motion, small_grey
from samclip_sdk.engine.video.tracks import SAME_OBJECT_IOU, FrameDetections, Track, Tracks
from samclip_sdk.engine.views import open_views
from samclip_sdk.errors import ImageError, one_line
from samclip_sdk.picture.frame import Frame
from samclip_sdk.picture.masks import mask_ious, mask_to_model
from samclip_sdk.picture.model_prompts import assemble_prompts
from samclip_sdk.picture.packed_masks import PackedMasks
from samclip_sdk.picture.tiles import CONTAINED_SHARE, SAME_IOU, Tiling
from samclip_sdk.picture.upscale import sigmoid
from samclip_sdk.results.image_embedding import ImageEmbedding, PreparedImage
from samclip_sdk.results.tracked import TrackedInstances
from samclip_sdk.system.reading_ahead import read_ahead
from samclip_sdk.system.timing import Stopwatch

Array = NDArray[np.float32]

NEWEST = 0.6
"""The weight of a frame's own score maps, against the score maps of the frames before it."""

SURENESS = 20.0
"""The step from outside to inside of a mask, in logits, if the decoder's logits are not known."""


@dataclass(frozen=True)
class ReadFrame:
    """A frame that is ready for the backbone, with its small grey image for motion."""

    name: str
    prepared: PreparedImage
    grey: Grey
    clock: Stopwatch


class Stream:
    """Follows the objects of labels through frames; memory does not grow with their number.

    Args:
        engine: runs the graphs.
        labels: from `check_labels`.
        options: how score maps become masks.
        max_instances: the most objects of a frame.
        min_score: 0..1, the least score of an object.
        encode_every: 1 runs the model on each frame, 2 on every other one, ... In between, masks
            follow the optical flow. After a cut, the model runs at once.
        tiling: how frames are cut into tiles; None for whole frames alone.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        labels: Sequence[str],
        options: TextToMaskOptions,
        max_instances: int,
        min_score: float,
        encode_every: int,
        tiling: Tiling | None = None,
    ) -> None:
        self._engine, self._labels, self._options = engine, labels, options
        self._max_instances, self._encode_every = max_instances, encode_every
        self._min_score = min_score
        self._tiling = tiling
        self._text = engine.texts.embed_labels(labels, clock=Stopwatch())
        self._read_as = engine.texts.told(labels, clock=Stopwatch())
        self._tracks = Tracks()
        self._maps: Array | None = None  # score maps of the frame where the model last ran
        self._motion: Motion | None = None  # the motion since that frame
        self._last: ReadFrame | None = None
        self._index, self._looked = 0, -encode_every

    def read(self, named: NamedPicture) -> ReadFrame:
        """Reads a frame; any thread may do so.

        Raises:
            ImageError: the frame cannot be read or used.
        """
        clock = Stopwatch()
        task = self._engine.manifest.tasks.segmentation
        prepared = self._engine.prepare(named.picture, task=task, clock=clock)
        return ReadFrame(named.name, prepared, small_grey(prepared.square), clock)

    def follow(self, read: ReadFrame) -> TrackedInstances:
        """Finds the objects in the next frame.

        Raises:
            ImageError: the frame has another size than the frame before it.
        """
        clock, index = read.clock, self._index
        self._check_size(read)
        with clock.step("motion"):
            self._see_motion(read)
        encoded = index - self._looked >= self._encode_every
        if encoded:
            self._look(read.prepared, index=index, clock=clock)
        with clock.step("postprocess"):
            tracks = self._tracks.in_sight if encoded else self._moved(read.prepared.frame)
            tracks = sorted(tracks, key=lambda each: -each.found.score)
            found = compose_instances(
                [each.found for each in tracks],
                labels=self._labels,
                size=(read.prepared.frame.height_px, read.prepared.frame.width_px),
            )
        self._index, self._last = index + 1, read
        given = {each.name: getattr(found, each.name) for each in fields(found)}
        return TrackedInstances(
            **given
            | {
                "speed": clock.ms,
                "origin": read.prepared.origin,
                "read_as": self._read_as,
            },
            ids=np.array([each.id for each in tracks], dtype=np.int32),
            frame_index=index,
            frame_name=read.name,
            encoded=encoded,
        )

    def _check_size(self, read: ReadFrame) -> None:
        if self._last is None:
            return
        frames = (read.prepared.frame, self._last.prepared.frame)
        now, before = ((each.width_px, each.height_px) for each in frames)
        if now != before:
            raise ImageError(
                f"frame {one_line(read.name)} has {now[0]} x {now[1]} pixels, the frames before "
                f"it {before[0]} x {before[1]}: a video has one size"
            )

    def _see_motion(self, read: ReadFrame) -> None:
        """Adds up the motion since the model last ran; after a cut, forces it to run."""
        if self._last is None:
            return
        step = find_motion(read.grey, self._last.grey)
        self._motion = step if self._motion is None else step.after(self._motion)
        if step.cut:
            self._tracks.forget_places()
            self._maps, self._motion, self._looked = None, None, -self._encode_every

    def _look(self, prepared: PreparedImage, *, index: int, clock: Stopwatch) -> None:
        """Runs the graphs on a frame, and updates the tracks."""
        engine, frame = self._engine, prepared.frame
        embedding = engine.encode(prepared, task=engine.manifest.tasks.segmentation, clock=clock)
        expected = self._expected(side=engine.mask_side(frame))
        if self._tiling is None:
            seen = self._detect(embedding, expected=expected, clock=clock)
        else:
            seen = self._detect_in_tiles(embedding, tiling=self._tiling, clock=clock)
        small = self._small(expected, frame=frame)
        self._tracks.update(self._as_look(seen, expected=small, index=index, frame=frame))
        self._motion, self._looked = None, index

    def _detect(
        self, embedding: ImageEmbedding, *, expected: Array, clock: Stopwatch
    ) -> list[Detection]:
        """Finds the best objects in a frame, by score maps averaged over the frames before it.

        Args:
            embedding: the frame's embedding.
            expected: the masks in sight, moved to this frame, logits [n,4g,4g].
            clock: records how long each step took.
        """
        engine, options, frame = self._engine, self._options, embedding.frame
        patches = engine.patch_embeddings(embedding, clock=clock)
        with clock.step("postprocess"):
            maps = self._averaged(
                score_maps(
                    patches,
                    text=self._text,
                    calibration=engine.manifest.calibration,
                )
            )
        small = self._small(expected, frame=frame)
        presence = presence_of(maps, frame=frame)
        seen: list[Detection] = []
        for label in np.flatnonzero(presence >= options.presence_threshold).tolist():
            own_options = options.of_label(label)
            judge = judge_of_label(
                engine,
                embedding,
                text=self._text,
                label_index=label,
                options=own_options,
                clock=clock,
            )
            scores = maps[label]
            fresh = label_objects(
                engine, scores, embedding=embedding, judge=judge, options=own_options, clock=clock
            )
            with clock.step("prompts"):
                own = self._tracks.of_label(label)
                missed = _missed(small[own], self._small_of(fresh, frame=frame))
                known = known_candidates(
                    expected[own][missed], score_map=scores, frame=frame, options=own_options
                )
            again = []
            if known is not None:
                again = draw_objects(engine, known, embedding=embedding, judge=judge, clock=clock)
            distinct = self._distinct([*fresh, *again], frame=frame)
            seen += [each for each in distinct if each.found.score >= self._min_score]
        self._maps = maps
        seen.sort(key=lambda each: (-each.found.score, each.found.label_index))
        return seen[: self._max_instances]

    def _detect_in_tiles(
        self, embedding: ImageEmbedding, *, tiling: Tiling, clock: Stopwatch
    ) -> list[Detection]:
        """Finds the best objects in a frame and its tiles, as `segment_instances` does."""
        engine, frame = self._engine, embedding.frame
        found = find_objects(
            engine,
            open_views(engine, embedding, tiling=tiling, clock=clock),
            text=self._text,
            options=self._options,
            max_instances=self._max_instances,
            clock=clock,
        )
        patches = engine.patch_embeddings(embedding, clock=clock)
        side = engine.mask_side(frame)
        masks = PackedMasks((frame.height_px, frame.width_px), tuple(each.mask for each in found))
        seen = []
        with clock.step("postprocess"):
            for each, mask in zip(found, masks, strict=True):
                if each.score < self._min_score:
                    continue
                shares = mask_to_model(mask, frame=frame)
                inside = cv2.resize(shares, (side, side), interpolation=cv2.INTER_AREA)
                logits = self._options.mask_threshold + SURENESS * (inside / inside.max() - 0.5)
                pooled = pool_over_mask(patches, mask=shares)
                seen.append(Detection(each, logits.astype(np.float32), pooled))
        return seen

    def _as_look(
        self,
        seen: Sequence[Detection],
        *,
        expected: NDArray[np.bool_],
        index: int,
        frame: Frame,
    ) -> FrameDetections:
        """Adds masks and their motion to the objects found in a frame."""
        masks = self._small_of(seen, frame=frame)
        moved = np.zeros((len(seen), 2), dtype=np.float32)
        if self._motion is not None:
            for place, mask in enumerate(masks):
                moved[place] = self._motion.speed(mask) / (index - self._looked)
        return FrameDetections(seen, masks=masks, moved=moved, expected=expected, index=index)

    def _distinct(self, seen: Sequence[Detection], *, frame: Frame) -> list[Detection]:
        """Drops a detection that shows the same object as an earlier one in the list."""
        kept = distinct_masks(
            self._small_of(seen, frame=frame),
            scores=-np.arange(len(seen), dtype=np.float32),
            iou_threshold=SAME_IOU,
            contained_share=CONTAINED_SHARE,
        )
        return [seen[place] for place in kept.tolist()]

    def _small(self, low_res: Array, *, frame: Frame) -> NDArray[np.bool_]:
        """Thresholds logits [n,4g,4g] at their own size."""
        return model_masks(low_res, frame=frame, mask_threshold=self._options.mask_threshold)

    def _small_of(self, seen: Sequence[Detection], *, frame: Frame) -> NDArray[np.bool_]:
        side = self._engine.mask_side(frame)
        low_res = np.array([each.low_res for each in seen], dtype=np.float32)
        return self._small(low_res.reshape(-1, side, side), frame=frame)

    def _averaged(self, maps: Array) -> Array:
        """Averages a frame's score maps [K,h,h] with the earlier ones, moved to this frame."""
        if self._maps is None or self._motion is None:
            return maps
        return NEWEST * maps + (1 - NEWEST) * self._motion.move(self._maps)

    def _expected(self, *, side: int) -> Array:
        """The masks in sight, moved from the last encoded frame: logits [n,side,side]."""
        masks = np.array([each.low_res for each in self._tracks.in_sight], dtype=np.float32)
        masks = masks.reshape(-1, side, side)
        return masks if self._motion is None else self._motion.move(masks)

    def _moved(self, frame: Frame) -> list[Track]:
        """The tracks in sight with their masks moved to this frame; empty masks are left out."""
        threshold = self._options.mask_threshold
        expected = self._expected(side=self._engine.mask_side(frame))
        moved = []
        for track, logits in zip(self._tracks.in_sight, expected, strict=True):
            mask, stability = upscale_and_pack(
                logits, frame=frame, mask_threshold=threshold, stability_offset=STABILITY_OFFSET
            )
            if not mask.empty:
                found = replace(track.found, mask=mask, stability_score=stability)
                moved.append(replace(track, found=found))
        return moved


def _missed(expected: NDArray[np.bool_], found: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tells which of n expected masks overlap none of m found ones: bool [n]."""
    missed: NDArray[np.bool_] = np.all(mask_ious(expected, found) < SAME_OBJECT_IOU, axis=1)
    return missed


def known_candidates(
    expected: Array, *, score_map: Array, frame: Frame, options: TextToMaskOptions
) -> Candidates | None:
    """Makes prompts for known objects of a label that were not found in this frame.

    The object's expected mask is the mask prompt, and the best cell inside it is a foreground
    point. An object has no prompt if the label's score is too low there: it may be hidden.

    Args:
        expected: logits [n,4g,4g].
        score_map: the label's score map, [h,h].
        frame: where the image lies.
        options: the threshold of a score.

    Returns:
        The candidates; None if there are none.
    """
    side = score_map.shape[-1]
    points, masks = [], []
    inside = model_masks(expected, frame=frame, mask_threshold=options.mask_threshold)
    for logits, mask in zip(expected, inside, strict=True):
        shares = cv2.resize(mask.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)
        scores = np.where(shares >= min(0.5, shares.max()), sigmoid(score_map), -1)
        row, column = np.unravel_index(int(scores.argmax()), scores.shape)
        if mask.any() and scores[row, column] >= options.presence_threshold:
            cell = (np.array([row]), np.array([column]))
            points.append(cell_points(*cell, frame=frame, side=side))
            masks.append(logits)
    if not points:
        return None
    maps = np.stack(masks)
    prompts = assemble_prompts(
        np.stack(points),
        np.ones((len(points), 1), dtype=np.int32),
        corners=None,
        mask_input=maps[:, None],
        has_mask=True,
    )
    return Candidates(prompts, maps)


def follow_footage(stream: Stream, footage: Footage) -> Generator[TrackedInstances, None, None]:
    """Yields the objects in each frame, in order, while threads read the next frames.

    A camera's frames are not read ahead: they would be old when their turn comes.

    Raises:
        ImageError: a frame cannot be read, or has another size than the first.
    """
    if footage.live:
        for named in footage.frames:
            yield stream.follow(stream.read(named))
        return
    with closing(read_ahead(footage.frames, stream.read)) as ahead:
        for read in ahead:
            yield stream.follow(read)
