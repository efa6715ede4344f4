"""The settings of images and scenes that a stage trains on. Unknown keys are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from training.batches import PATCH_PX

Resolution = Annotated[int, Field(gt=0, multiple_of=PATCH_PX)]
"""The side of an image in pixels: so many whole patches."""


class Settings(BaseModel):
    """A table of settings. It cannot be changed, and refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SizedImages(Settings):
    """Images at one of several resolutions, the larger ones in smaller batches.

    Args:
        resolutions: sides of the images, in pixels; each batch has one of them.
        pixels_per_batch: pixels in a batch.
    """

    resolutions: tuple[Resolution, ...] = Field(min_length=1)
    pixels_per_batch: int = Field(gt=0)

    def size(self, resolution: int) -> int:
        """Returns the number of images in a batch at `resolution`."""
        return max(1, self.pixels_per_batch // resolution**2)

    @property
    def batch(self) -> int:
        """The number of images in a batch at the lowest resolution."""
        return self.size(min(self.resolutions))


class Images(SizedImages):
    """Composed D_CLIP: images of a few objects.

    Args:
        plain: share of images with one object on a flat colour. Most others show one object on
            any background, some a few or none.
    """

    source: Literal["composed"] = "composed"
    plain: float = 0.0


class Scenes(Settings):
    """Composed D_SAM: scenes with simulated prompts, and regions for the CLIP head."""

    source: Literal["composed"] = "composed"
    resolution: Resolution
    batch: int = Field(gt=0)
    prompts: int = Field(gt=0)
    random_regions: int = Field(default=0, ge=0)


class ShardSource(Settings):
    """One data set of `Shards`: a glob of its tar files, and its weight among the data sets.

    Weights that are the sizes of the data sets give their union.
    """

    shards: str
    weight: float = Field(default=1.0, gt=0)


class Shards(SizedImages):
    """D_CLIP from tar shards in img2dataset's layout. All crops of a step have one resolution.

    Args:
        sources: the data sets.
        index: a folder for tables of the shards' contents.
        embeddings: the folder of the CLIP teacher's embeddings, if they were computed before.
        zero_shot: an ImageNet-style folder of labelled images for validations.
    """

    source: Literal["shards"]
    sources: tuple[ShardSource, ...] = Field(min_length=1)
    index: Path
    embeddings: Path | None = None
    zero_shot: Path | None = None


class Sa1b(Settings):
    """D_SAM from SA-1B's own files: `prompts` masks of each of `batch` images."""

    source: Literal["sa1b"]
    folder: Path
    resolution: Resolution
    batch: int = Field(gt=0)
    prompts: int = Field(gt=0)


class PhotographSettings(Settings):
    """The differences of one set of `Photographs`.

    Args:
        weight: factor on how often its images are drawn; 0 leaves the set out.
        cap: a set with more images is drawn as often as a set with `cap` images.
        complete: whether all things of its categories are labelled; None takes the set's own word.
        open: whether anybody may use its images; None takes the set's own word.
    """

    weight: float = Field(default=1.0, ge=0)
    cap: int | None = Field(default=None, gt=0)
    complete: bool | None = None
    open: bool | None = None


class Photographs(Settings):
    """Sets of photographs in COCO's layout, each a folder below `root`.

    Args:
        root: every folder in it with an `instances.json` is a set.
        sets: the differences of some sets, by name.
        terms: `open` leaves out the sets that not everybody may use.
        balance: a concept that n images show has the weight n^-balance in each of them. 0 draws
            all images equally often, 1 all concepts.
    """

    source: Literal["photographs"]
    root: Path
    sets: dict[str, PhotographSettings] = {}
    terms: Literal["open", "all"] = "all"
    balance: float = Field(default=0.5, ge=0, le=1)


class JointPhotographs(Photographs):
    """Photographs with all their labels, for the joint training.

    Args:
        resolution: side of the model's input, in pixels.
        late_resolution: the same, as soon as the learning rate falls.
        batch: images in a batch.
        prompts: things of an image, at most, that points and boxes ask for.
        prompts_each: prompts of each of these things.
        labels: names of an image, at most, that score maps ask for. One name that the image
            does not show is added.
        paste: share of images with one to three named things pasted from other images.
    """

    resolution: Resolution
    late_resolution: Resolution
    batch: int = Field(gt=0)
    prompts: int = Field(gt=0)
    prompts_each: int = Field(default=1, gt=0)
    labels: int = Field(gt=0)
    paste: float = Field(default=0.0, ge=0, le=1)
