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
    SoughtLabel,
    draw_objects,
    find_objects,
    label_objects,
)
from samclip_sdk.engine.label_points import cell_points
from samclip_sdk.engine.label_search import presence_of, score_maps
from samclip_sdk.engine.object_candidates import Candidates
from samclip_sdk.engine.objects import (
    Detection,
    compose_rows,
    model_masks,
    upscale_and_pack,
)
from samclip_sdk.engine.one_pass import Pass
from samclip_sdk.engine.options import TextToMaskOptions, default_min_score
from samclip_sdk.engine.queries import StreamQuery
from samclip_sdk.engine.regions import pool_over_mask
from samclip_sdk.engine.video.footage import Footage, NamedImage
from samclip_sdk.engine.video.motion import Grey, Motion, find_motion, small_grey
from samclip_sdk.engine.video.tracks import SAME_OBJECT_IOU, FrameDetections, Track, Tracks
from samclip_sdk.engine.views import open_views
from samclip_sdk.errors import ImageError, one_line
from samclip_sdk.image.frame import Frame
from samclip_sdk.image.masks import mask_ious, mask_to_model
from samclip_sdk.image.model_prompts import assemble_prompts
from samclip_sdk.image.packed_masks import PackedMasks
from samclip_sdk.image.suppression import SAME_IOU, Planes, suppress
from samclip_sdk.image.tiles import Tiling
from samclip_sdk.image.upscale import sigmoid
from samclip_sdk.results.instances import Instances
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
    one: Pass
    grey: Grey


class Stream:
    """Follows the objects of labels through frames; memory does not grow with their number.

    Args:
        engine: runs the graphs.
        query: the labels, and how their objects are found.
    """

    def __init__(self, engine: Engine, query: StreamQuery) -> None:
        self._engine, self._query = engine, query
        self._options = engine.options(query)
        self._text = engine.texts.embed_labels(query.labels, clock=Stopwatch())
        self._read_as = engine.texts.told(query.labels, clock=Stopwatch())
        self._min_score = default_min_score(engine.manifest.calibration, min_score=query.min_score)
        self._tracks = Tracks()
        self._maps: Array | None = None  # score maps of the frame where the model last ran
        self._motion: Motion | None = None  # the motion since that frame
        self._last: ReadFrame | None = None
        self._index, self._looked = 0, -query.encode_every

    def read(self, named: NamedImage) -> ReadFrame:
        """Reads a frame; any thread may do so.

        Raises:
            ImageError: the frame cannot be read or used.
        """
        one = Pass(self._engine, named.image)
        prepared = self._engine.prepare(named.image, task=one.task, clock=one.clock)
        return ReadFrame(named.name, one.of(prepared), small_grey(prepared.square))

    def follow(self, read: ReadFrame) -> TrackedInstances:
        """Finds the objects in the next frame.

        Raises:
            ImageError: the frame has another size than the frame before it.
        """
        one, index = read.one, self._index
        self._check_size(read)
        with one.step("motion"):
            self._see_motion(read)
        encoded = index - self._looked >= self._query.encode_every
        if encoded:
            self._look(one, index=index)
        with one.step("postprocess"):
            tracks = self._tracks.in_sight if encoded else self._moved(one)
            tracks = sorted(tracks, key=lambda each: -each.found.score)
            found = compose_rows(
                Instances,
                [each.found for each in tracks],
                labels=self._query.labels,
                size=one.size,
            )
        self._index, self._last = index + 1, read
        given = {each.name: getattr(found, each.name) for each in fields(found)}
        return TrackedInstances(
            **given
            | {
                "speed": one.clock.ms,
                "origin": one.prepared.origin,
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
        now, before = read.one.size, self._last.one.size
        if now != before:
            raise ImageError(
                f"frame {one_line(read.name)} has {now[1]} x {now[0]} pixels, the frames before "
                f"it {before[1]} x {before[0]}: a video has one size"
            )

    def _see_motion(self, read: ReadFrame) -> None:
        """Adds up the motion since the model last ran; after a cut, forces it to run."""
        if self._last is None:
            return
        step = find_motion(read.grey, self._last.grey)
        self._motion = step if self._motion is None else step.after(self._motion)
        if step.cut:
            self._tracks.forget_positions()
            self._maps, self._motion, self._looked = None, None, -self._query.encode_every

    def _look(self, one: Pass, *, index: int) -> None:
        """Runs the graphs on a frame, and updates the tracks."""
        expected = self._expected(side=one.mask_side)
        if self._query.tiling is None:
            seen = self._detect(one, expected)
        else:
            seen = self._detect_in_tiles(one, self._query.tiling)
        small = self._small(expected, frame=one.frame)
        self._tracks.update(self._as_look(one, seen, expected=small, index=index))
        self._motion, self._looked = None, index

    def _detect(self, one: Pass, expected: Array) -> list[Detection]:
        """Finds the best objects in a frame, by score maps averaged over the frames before it.

        Args:
            one: the pass over the frame.
            expected: the masks in sight, moved to this frame, logits [n,4g,4g].
        """
        frame, patches = one.frame, one.patches
        with one.step("postprocess"):
            maps = self._averaged(score_maps(patches, text=self._text, calibration=one.calibration))
        small = self._small(expected, frame=frame)
        presence = presence_of(maps, frame=frame)
        seen: list[Detection] = []
        for index in np.flatnonzero(presence >= self._options.presence_threshold).tolist():
            options = self._options.of_label(index)
            label = SoughtLabel(one, self._text.one(index), index, options)
            fresh = label_objects(label, maps[index])
            with one.step("prompts"):
                own = self._tracks.of_label(index)
                missed = _missed(small[own], self._small_of(fresh, one))
                known = known_candidates(
                    expected[own][missed], score_map=maps[index], frame=frame, options=options
                )
            again = [] if known is None else draw_objects(label, known)
            distinct = self._distinct([*fresh, *again], one)
            seen += [each for each in distinct if each.found.score >= self._min_score]
        self._maps = maps
        seen.sort(key=lambda each: (-each.found.score, each.found.label_index))
        return seen[: self._query.max_instances]

    def _detect_in_tiles(self, one: Pass, tiling: Tiling) -> list[Detection]:
        """Finds the best objects in a frame and its tiles, as `segment_instances` does."""
        found = find_objects(
            open_views(one, tiling),
            self._text,
            self._options,
            max_instances=self._query.max_instances,
        )
        side = one.mask_side
        masks = PackedMasks(one.size, tuple(each.mask for each in found))
        seen = []
        with one.step("postprocess"):
            for each, mask in zip(found, masks, strict=True):
                if each.score < self._min_score:
                    continue
                shares = mask_to_model(mask, frame=one.frame)
                inside = cv2.resize(shares, (side, side), interpolation=cv2.INTER_AREA)
                logits = self._options.mask_threshold + SURENESS * (inside / inside.max() - 0.5)
                pooled = pool_over_mask(one.patches, mask_hw=shares)
                seen.append(Detection(each, logits.astype(np.float32), pooled))
        return seen

    def _as_look(
        self, one: Pass, seen: Sequence[Detection], *, expected: NDArray[np.bool_], index: int
    ) -> FrameDetections:
        """Adds masks and their motion to the objects found in a frame."""
        masks = self._small_of(seen, one)
        moved = np.zeros((len(seen), 2), dtype=np.float32)
        if self._motion is not None:
            for row, mask in enumerate(masks):
                moved[row] = self._motion.speed(mask) / (index - self._looked)
        return FrameDetections(seen, masks=masks, moved=moved, expected=expected, index=index)

    def _distinct(self, seen: Sequence[Detection], one: Pass) -> list[Detection]:
        """Drops a detection that shows the same object as an earlier one in the list."""
        masks = Planes(self._small_of(seen, one))
        return [seen[index] for index in suppress(masks, range(len(seen)), same_iou=SAME_IOU)]

    def _small(self, low_res: Array, *, frame: Frame) -> NDArray[np.bool_]:
        """Thresholds logits [n,4g,4g] at their own size."""
        return model_masks(low_res, frame=frame, mask_threshold=self._options.mask_threshold)

    def _small_of(self, seen: Sequence[Detection], one: Pass) -> NDArray[np.bool_]:
        low_res = np.array([each.low_res for each in seen], dtype=np.float32)
        return self._small(low_res.reshape(-1, one.mask_side, one.mask_side), frame=one.frame)

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

    def _moved(self, one: Pass) -> list[Track]:
        """The tracks in sight with their masks moved to this frame; empty masks are left out."""
        threshold = self._options.mask_threshold
        expected = self._expected(side=one.mask_side)
        moved = []
        for track, logits in zip(self._tracks.in_sight, expected, strict=True):
            mask, stability = upscale_and_pack(
                logits, frame=one.frame, mask_threshold=threshold, stability_offset=STABILITY_OFFSET
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
