"""The settings of every kind of pictures and scenes to train on; unknown keys fail."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """A table of settings: frozen, and without keys that nobody knows."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Pictures(Settings):
    """Composed D_CLIP: pictures of a few objects at one of `resolutions`, a pixel budget a batch.

    `none`, `few` and `plain` are the shares of pictures with no object, with two or three, and
    with one over a flat colour; the rest have one over any backdrop.
    """

    source: Literal["composed"] = "composed"
    resolutions: tuple[int, ...]
    pixels_per_batch: int = Field(gt=0)
    none: float = 0.08
    few: float = 0.22
    plain: float = 0.0

    def size(self, resolution: int) -> int:
        """Pictures in a batch at `resolution`."""
        return max(1, self.pixels_per_batch // resolution**2)


class Scenes(Settings):
    """Composed D_SAM: scenes with simulated prompts, and regions for the CLIP head."""

    source: Literal["composed"] = "composed"
    resolution: int = Field(gt=0)
    batch: int = Field(gt=0)
    prompts: int = Field(gt=0)
    random_regions: int = Field(default=0, ge=0)


class ShardSource(Settings):
    """One data set of `Shards`: a glob of its tar files, and its share beside the others'."""

    shards: str
    weight: float = Field(default=1.0, gt=0)


class Shards(Settings):
    """D_CLIP from tar shards in img2dataset's layout, at one of `resolutions` a step.

    `index` is a folder for tables of what the shards hold; `embeddings`, that of the CLIP
    teacher's embeddings, if they were computed before. `zero_shot` is an ImageNet-style folder
    of labelled pictures that validations look at.
    """

    source: Literal["shards"]
    sources: tuple[ShardSource, ...] = Field(min_length=1)
    resolutions: tuple[int, ...] = Field(min_length=1)
    pixels_per_batch: int = Field(gt=0)
    index: Path
    embeddings: Path | None = None
    zero_shot: Path | None = None


class Sa1b(Settings):
    """D_SAM from SA-1B's own files: `prompts` masks of each of `batch` pictures."""

    source: Literal["sa1b"]
    folder: Path
    resolution: int = Field(gt=0)
    batch: int = Field(gt=0)
    prompts: int = Field(gt=0)


class PhotographSettings(Settings):
    """What differs for one set of `Photographs`.

    Args:
        weight: on how often its pictures are drawn; 0 leaves the set out.
        cap: that many pictures of it count, where it has more: a set of n is drawn as seldom as
            if it had `cap`.
        pictures: folder of its pictures.
        complete: whether all that its categories name is labelled; if not given, it is as the set
            says.
        open: whether anybody may use its pictures; likewise.
    """

    weight: float = Field(default=1.0, ge=0)
    cap: int | None = Field(default=None, gt=0)
    pictures: str = "images"
    complete: bool | None = None
    open: bool | None = None


class Photographs(Settings):
    """Sets of photographs in COCO's layout, each a folder below `root`.

    Args:
        root: every folder in it with an `instances.json` is a set.
        sets: what differs for some of them, by name.
        terms: `open` leaves out the sets that not anybody may use.
        held_out: a text file of nouns, a line each, whose names are never used: neither a label
            nor a mask's name nor a caption that holds one as a whole word. The pictures serve
            without them, and the masks serve SAM.
        balance: what a concept that n pictures show weighs in each of them is n to the power of
            minus this: 0 draws pictures evenly, 1 concepts.
    """

    source: Literal["photographs"]
    root: Path
    sets: dict[str, PhotographSettings] = {}
    terms: Literal["open", "all"] = "all"
    held_out: Path | None = None
    balance: float = Field(default=0.5, ge=0, le=1)


class PhotographPictures(Photographs):
    """D_CLIP from photographs, at one of `resolutions`, a pixel budget a batch."""

    resolutions: tuple[int, ...] = Field(min_length=1)
    pixels_per_batch: int = Field(gt=0)

    def size(self, resolution: int) -> int:
        """Pictures in a batch at `resolution`."""
        return max(1, self.pixels_per_batch // resolution**2)


class PhotographScenes(Photographs):
    """D_SAM from photographs with masks, with simulated prompts, and regions for the CLIP head.

    In a share `paste` of the pictures, one to three things cut out of others are pasted.
    """

    resolution: int = Field(gt=0)
    batch: int = Field(gt=0)
    prompts: int = Field(gt=0)
    random_regions: int = Field(default=0, ge=0)
    paste: float = Field(default=0.0, ge=0, le=1)


class PicturesPart(Settings):
    """One source of `MixedPictures`, and its share of the batches beside the others'."""

    share: float = Field(default=1.0, gt=0)
    of: Annotated[Pictures | PhotographPictures, Field(discriminator="source")]


class MixedPictures(Settings):
    """D_CLIP from several sources: each batch is of one of them, drawn by its share."""

    source: Literal["mixed"]
    parts: tuple[PicturesPart, ...] = Field(min_length=1)


class ScenesPart(Settings):
    """One source of `MixedScenes`, and its share of the batches beside the others'."""

    share: float = Field(default=1.0, gt=0)
    of: Annotated[Scenes | PhotographScenes, Field(discriminator="source")]


class MixedScenes(Settings):
    """D_SAM from several sources: each batch is of one of them, drawn by its share."""

    source: Literal["mixed"]
    parts: tuple[ScenesPart, ...] = Field(min_length=1)

    @property
    def random_regions(self) -> int:
        """The fewest that a batch has for each of its scenes."""
        return min(part.of.random_regions for part in self.parts)


class LabelledPhotographs(Photographs):
    """Photographs with names and where they are, to teach a dense CLIP teacher."""

    resolution: int = Field(gt=0)
    batch: int = Field(gt=0)


class JointPhotographs(Photographs):
    """Photographs with all that is known of them, for the joint training.

    Of each of `batch` pictures up to `prompts` things are asked for by points and boxes, and up to
    `labels` of its names by their score maps, with one name that it does not show. In a share
    `paste` of the pictures, one to three named things cut out of others are pasted. Pictures have
    `resolution`, and `late_resolution` once the learning rate falls.
    """

    resolution: int = Field(gt=0)
    late_resolution: int = Field(gt=0)
    batch: int = Field(gt=0)
    prompts: int = Field(gt=0)
    labels: int = Field(gt=0)
    paste: float = Field(default=0.0, ge=0, le=1)


class CaptionedPictures(Settings):
    """So many pictures of shards with captions, which tell what is in a picture and not where.

    `labels` is a text file, a label a line: a picture shows those that its caption names. Without
    it, what a picture shows is its caption, and what it does not show, the captions of others.
    """

    sources: tuple[ShardSource, ...] = Field(min_length=1)
    index: Path
    count: int = Field(gt=0)
    labels: Path | None = None
