"""D_SAM from SA-1B's own files: letterboxed images with simulated prompts for their masks."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from samclip_sdk.bundle.manifest import PAD_COLOUR
from samclip_sdk.image.frame import Frame, letterbox
from training.batches import PATCH_PX, Batch
from training.composed.prompts import prompt_in_frame
from training.errors import TrainingError
from training.real.photograph_masks import decode_mask
from training.real.photograph_views import whole_view
from training.real.records import (
    BrokenRecord,
    Split,
    count_tensor,
    decode_image,
    explain_lack,
    in_split,
    key_hash,
    read_or_replace,
)

_ORDER_STREAM, _PROMPTS_STREAM, _REPLACEMENTS_STREAM = 11, 12, 13  # apart from others of a seed
_NAME = re.compile(r"sa_(0|[1-9]\d*)\.(jpg|json)")


class Sa1bPairs:
    """The pairs sa_N.jpg and sa_N.json below a folder, on one side of the split, in order of N.

    Attributes:
        unpaired: images without their JSON file, and the other way round.

    Raises:
        TrainingError: there is no pair, or none on this side of the split.
    """

    def __init__(self, folder: Path, *, split: Split) -> None:
        self.folders: list[Path] = []
        pairs: list[tuple[int, int]] = []
        self.unpaired = 0
        for path, _, names in os.walk(folder):
            images, texts = _numbers(names)
            pairs += [(number, len(self.folders)) for number in images & texts]
            self.unpaired += len(images ^ texts)
            self.folders.append(Path(path))
        if not pairs:
            raise TrainingError(f"no pair sa_N.jpg and sa_N.json below {folder}")
        both = np.array(sorted(pairs), np.int64)
        hashes = np.array([key_hash(f"sa_{number}") for number in both[:, 0]], np.uint64)
        self.pairs = both[in_split(hashes, split)]  # int64 [N,2]: number and folder
        if not len(self.pairs):
            raise TrainingError(
                f"none of {len(pairs)} pairs below {folder} is for {split}: {explain_lack(split)}"
            )

    def __len__(self) -> int:
        return len(self.pairs)

    def read(self, sample: int, suffix: str) -> bytes:
        """Reads one file of a pair: `jpg` or `json`; raises BrokenRecord if it cannot be read."""
        number, folder = self.pairs[sample]
        try:
            return Path(self.folders[folder], f"sa_{number}.{suffix}").read_bytes()
        except OSError as error:
            raise BrokenRecord("record", str(error)) from error


class Sa1bBatches(Dataset[Batch]):
    """D_SAM: images with K simulated prompts each, for K masks drawn from theirs.

    `images` uint8 [B,3,S,S]; `token_mask` float32 [B,g,g]; `point_coords` float32 [B*K,P,2];
    `point_labels` int32 [B*K,P]; `regions` float32 [0,4]; `broken` int64, the records found
    broken, in the order of `records.KINDS`. The masks themselves are not there: the student sees
    the teacher's only. A mask is drawn twice only if an image has fewer than K that can be used.

    Args:
        pairs: where the images are. Each epoch sees every one once.
    """

    def __init__(
        self, pairs: Sa1bPairs, *, resolution: int, batch: int, prompts: int, seed: int
    ) -> None:
        self.pairs = pairs
        self.resolution = resolution
        self.batch = batch
        self.prompts = prompts
        self.seed = seed
        self._epoch = -1
        self._order = np.empty(0, np.int64)

    def __getitem__(self, index: int) -> Batch:
        broken: Counter[str] = Counter()
        positions = range(index * self.batch, (index + 1) * self.batch)
        rows = [self._read(position, broken) for position in positions]
        columns = {key: [row[key] for row in rows] for key in rows[0]}
        return {
            "images": torch.from_numpy(np.stack(columns["images"])),
            "token_mask": torch.from_numpy(np.stack(columns["token_mask"])),
            "point_coords": torch.from_numpy(np.concatenate(columns["point_coords"])),
            "point_labels": torch.from_numpy(np.concatenate(columns["point_labels"])),
            "regions": torch.zeros(0, 4),
            "broken": count_tensor(broken),
        }

    def _read(self, index: int, broken: Counter[str]) -> dict[str, np.ndarray]:
        """The image at a place of the endless sequence, or its replacement, by a batch's keys."""
        epoch, within = divmod(index, len(self.pairs))
        if epoch != self._epoch:
            rng = np.random.default_rng([self.seed, _ORDER_STREAM, epoch])
            self._epoch, self._order = epoch, rng.permutation(len(self.pairs))

        def prompted(sample: int) -> dict[str, np.ndarray]:
            rng = np.random.default_rng([self.seed, _PROMPTS_STREAM, index])
            annotations = _annotations(self.pairs.read(sample, "json"))
            image = decode_image(self.pairs.read(sample, "jpg"))
            images, frame = letterbox(image, resolution=self.resolution, pad_colour=PAD_COLOUR)
            masks = self._draw_masks(annotations, frame, rng, broken)
            coords, labels = prompt_in_frame(masks, frame, rng)
            return {
                "images": images[0],
                "token_mask": frame.token_mask(patch_size=PATCH_PX)[0],
                "point_coords": coords,
                "point_labels": labels,
            }

        _, row = read_or_replace(
            int(self._order[within]),
            prompted,
            among=range(len(self.pairs)),
            rng=np.random.default_rng([self.seed, _REPLACEMENTS_STREAM, index]),
            broken=broken,
        )
        return row

    def _draw_masks(
        self, annotations: list[Any], frame: Frame, rng: np.random.Generator, broken: Counter[str]
    ) -> list[np.ndarray]:
        """K masks bool [S,S]; only these are decoded."""
        masks: list[np.ndarray] = []
        for number in rng.permutation(len(annotations)):
            try:
                masks.append(_decode_mask(annotations[number], frame))
            except BrokenRecord as error:
                broken[error.kind] += 1
            if len(masks) == self.prompts:
                return masks
        if not masks:
            raise BrokenRecord("annotations", "no mask can be used")
        again = rng.integers(len(masks), size=self.prompts - len(masks))
        return masks + [masks[number] for number in again]


def _numbers(names: list[str]) -> tuple[set[int], set[int]]:
    """The N of a folder's images, and of its JSON files."""
    found: dict[str, set[int]] = {"jpg": set(), "json": set()}
    for name in names:
        if match := _NAME.fullmatch(name):
            found[match[2]].add(int(match[1]))
    return found["jpg"], found["json"]


def _annotations(text: bytes) -> list[Any]:
    """The annotations of a JSON file, at least one."""
    try:
        annotations = json.loads(text)["annotations"]
    except (ValueError, KeyError, TypeError) as error:
        raise BrokenRecord("annotations", f"{type(error).__name__}: {error}") from error
    if not isinstance(annotations, list) or not annotations:
        raise BrokenRecord("annotations", "there are none")
    return annotations


def _decode_mask(annotation: Any, frame: Frame) -> np.ndarray:
    """An annotation's mask in the frame, bool [S,S]; raises BrokenRecord if it has none."""
    try:
        rle = annotation["segmentation"]
    except (KeyError, TypeError) as error:
        raise BrokenRecord("mask", f"{type(error).__name__}: {error}") from error
    size = frame.height_px, frame.width_px
    whole = decode_mask(rle, height_px=size[0], width_px=size[1])
    mask = whole_view(*size, resolution=frame.resolution).mask(whole)
    if not mask.any():
        raise BrokenRecord("mask", "it has no pixel")
    return mask
