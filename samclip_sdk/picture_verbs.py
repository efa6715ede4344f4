"""What a model does with pictures: each verb takes one, or many."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import TypeAlias, TypeVar, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from samclip_sdk.bundle.manifest import Task
from samclip_sdk.engine.engine import AnyImage
from samclip_sdk.engine.object_engine import ObjectEngine
from samclip_sdk.engine.regions import one_region
from samclip_sdk.picture.image import ImageSource, own_picture
from samclip_sdk.picture.image_prompts import image_prompts
from samclip_sdk.results.classification import Classification
from samclip_sdk.results.image_embedding import ImageEmbedding, PreparedImage
from samclip_sdk.results.prompt_masks import Masks
from samclip_sdk.runtimes.source import ModelSource
from samclip_sdk.system.arguments import check_flag, finite_number
from samclip_sdk.system.reading_ahead import read_ahead
from samclip_sdk.system.timing import Stopwatch
from samclip_sdk.text.stored_labels import StoredLabels
from samclip_sdk.text.tokenizer import check_labels

Array = NDArray[np.float32]
Labels: TypeAlias = "str | Sequence[str]"

OneImage = TypeVar("OneImage", bound=AnyImage)
Answer = TypeVar("Answer")
# mypy finds that the overloads overlap: an open file is an image, and an iterator too. It is taken
# for an image.
Several: TypeAlias = "list[OneImage] | tuple[OneImage, ...]"
Images: TypeAlias = "AnyImage | Sequence[AnyImage] | Iterator[AnyImage]"
Answers: TypeAlias = "Answer | list[Answer] | Iterator[Answer]"


class PictureVerbs:
    """The verbs that take a picture; see `SamClip`.

    Args:
        source: where the graphs come from.
        stored_labels: see `Engine`.

    Attributes:
        manifest: the model's sizes, tasks, templates and thresholds.
    """

    def __init__(self, source: ModelSource, *, stored_labels: StoredLabels | None) -> None:
        self.manifest = source.manifest
        self._engine = ObjectEngine(source, stored_labels=stored_labels)

    def prepare_image(self, image: ImageSource) -> PreparedImage:
        """Reads a picture and fits it to the backbone: what `encode_image` does before it runs.

        It runs no graph, so that threads may prepare pictures while another one runs the model. A
        prepared image stands wherever an image is taken.

        Raises:
            ImageError: the image cannot be read or used.
        """
        task = self.manifest.tasks.segmentation
        return self._engine.prepare(image, task=task, clock=Stopwatch())

    @overload
    def encode_image(self, image: AnyImage) -> ImageEmbedding: ...  # type: ignore[overload-overlap]
    @overload
    def encode_image(self, image: Several[OneImage]) -> list[ImageEmbedding]: ...
    @overload
    def encode_image(self, image: Iterator[AnyImage]) -> Iterator[ImageEmbedding]: ...
    def encode_image(self, image: Images) -> Answers[ImageEmbedding]:
        """Runs the backbone once, at the segmentation resolution.

        Args:
            image: a path, a PIL image, an RGB uint8 array [H,W,3], a picture file's bytes or open
                file, or what `prepare_image` made; or many.

        Returns:
            What every other method takes instead of the image; immutable, and can be saved.

        Raises:
            ImageError: the image cannot be read or used.
            EmbeddingMismatchError: the image was prepared for another model.
        """
        task = self.manifest.tasks.segmentation
        return self._answer(image, partial(self._engine.encode, task=task), task=task)

    @overload
    def embed_image(self, image: AnyImage) -> Array: ...  # type: ignore[overload-overlap]
    @overload
    def embed_image(self, image: Several[OneImage]) -> list[Array]: ...
    @overload
    def embed_image(self, image: Iterator[AnyImage]) -> Iterator[Array]: ...
    def embed_image(self, image: Images) -> Answers[Array]:
        """Embeds the image in the space that it shares with texts; sees it as `classify` does.

        Args:
            image: one, or many.

        Returns:
            float32 [E], unit length.

        Raises:
            ImageError: the image cannot be read or used.
            EmbeddingMismatchError: another model made the embedding.
        """
        task = self.manifest.tasks.classification
        return self._answer(image, self._engine.embed_image, task=task)

    @overload
    def embed_region(  # type: ignore[overload-overlap]
        self,
        image: AnyImage,
        *,
        box: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        point: ArrayLike | None = None,
    ) -> Array: ...
    @overload
    def embed_region(
        self,
        image: Several[OneImage],
        *,
        box: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        point: ArrayLike | None = None,
    ) -> list[Array]: ...
    @overload
    def embed_region(
        self,
        image: Iterator[AnyImage],
        *,
        box: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        point: ArrayLike | None = None,
    ) -> Iterator[Array]: ...
    def embed_region(
        self,
        image: Images,
        *,
        box: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        point: ArrayLike | None = None,
    ) -> Answers[Array]:
        """Embeds a region of the image in the space that regions share with texts.

        It is the mean of the patches under the region's mask. A box or a point is first given to
        the mask decoder; of the three masks of a point, the one that it thinks best counts.

        Its product with another region's embedding, or with a text's, is their cosine, but the
        first is the higher one by far: `learn_label` makes a label of regions that scores like one.

        Args:
            image: one, or many, of which each has the same region.
            box: [4], XYXY in pixels of the image; what is outside is cut off.
            mask: bool [H,W] of the image.
            point: [2], (x, y) in pixels of the image.

        Returns:
            float32 [E], unit length.

        Raises:
            ImageError: the image cannot be read or used.
            PromptError: not exactly one of box, mask and point; one that makes no sense for this
                image; or one for which the mask decoder draws nothing.
            EmbeddingMismatchError: another model made the embedding.
        """
        region = one_region(box=box, mask=mask, point=point)
        return self._answer(
            image,
            partial(self._engine.embed_region, region=region),
            task=self.manifest.tasks.segmentation,
        )

    @overload
    def classify(self, image: AnyImage, labels: Labels) -> Classification: ...  # type: ignore[overload-overlap]
    @overload
    def classify(self, image: Several[OneImage], labels: Labels) -> list[Classification]: ...
    @overload
    def classify(self, image: Iterator[AnyImage], labels: Labels) -> Iterator[Classification]: ...
    def classify(self, image: Images, labels: Labels) -> Answers[Classification]:
        """Tells how well each label describes the image.

        A raw image is seen at the classification resolution, which is fastest and most accurate;
        an ImageEmbedding or a PreparedImage at the segmentation resolution it was made at.

        Args:
            image: one, or many.
            labels: nouns such as "dog"; each is put into the bundle's prompt templates.

        Raises:
            ImageError: the image cannot be read or used.
            TextError: no label, an empty one, or two that are the same to CLIP.
            EmbeddingMismatchError: another model made the embedding.
        """
        names = check_labels(labels)
        return self._answer(
            image,
            partial(self._engine.classify, labels=names),
            task=self.manifest.tasks.classification,
        )

    @overload
    def segment(  # type: ignore[overload-overlap]
        self,
        image: AnyImage,
        *,
        points: ArrayLike | None = None,
        point_labels: ArrayLike | None = None,
        boxes: ArrayLike | None = None,
        mask_input: ArrayLike | None = None,
        multimask_output: bool = True,
        mask_threshold: float | None = None,
    ) -> Masks: ...
    @overload
    def segment(
        self,
        image: Several[OneImage],
        *,
        points: ArrayLike | None = None,
        point_labels: ArrayLike | None = None,
        boxes: ArrayLike | None = None,
        mask_input: ArrayLike | None = None,
        multimask_output: bool = True,
        mask_threshold: float | None = None,
    ) -> list[Masks]: ...
    @overload
    def segment(
        self,
        image: Iterator[AnyImage],
        *,
        points: ArrayLike | None = None,
        point_labels: ArrayLike | None = None,
        boxes: ArrayLike | None = None,
        mask_input: ArrayLike | None = None,
        multimask_output: bool = True,
        mask_threshold: float | None = None,
    ) -> Iterator[Masks]: ...
    def segment(
        self,
        image: Images,
        *,
        points: ArrayLike | None = None,
        point_labels: ArrayLike | None = None,
        boxes: ArrayLike | None = None,
        mask_input: ArrayLike | None = None,
        multimask_output: bool = True,
        mask_threshold: float | None = None,
    ) -> Answers[Masks]:
        """Segments what geometric prompts point at, as SAM does.

        Many images are asked the same; where each has prompts of its own, encode them and ask each:
        `for image, boxes in zip(model.encode_image(iter(paths)), every_box): ...`

        Args:
            image: one, or many.
            points: [n,2] for one prompt, [K,n,2] for many.
            point_labels: [n] or [K,n]: 1 foreground (the default), 0 background, 2 and 3 a box's
                top-left and bottom-right corner, -1 a slot without a point.
            boxes: [4] for one prompt, [K,4] for many; what is outside the image is cut off.
            mask_input: [4g,4g] for one prompt, [K,4g,4g] for many: logits, such as the
                `low_res_masks` of an earlier result.
            multimask_output: three masks a prompt, for an ambiguous one, instead of one.
            mask_threshold: the logit a pixel must exceed; by default the bundle's, 0.

        Raises:
            ImageError: the image cannot be read or used.
            PromptError: a prompt that makes no sense for this image, or none.
            EmbeddingMismatchError: another model made the embedding.
        """
        prompts = image_prompts(
            points, point_labels=point_labels, boxes=boxes, mask_input=mask_input
        )
        check_flag(multimask_output, name="multimask_output")
        threshold = self.manifest.masks.mask_threshold if mask_threshold is None else mask_threshold
        answer = partial(
            self._engine.segment,
            prompts=prompts,
            multimask_output=multimask_output,
            mask_threshold=finite_number(threshold, name="mask_threshold"),
        )
        return self._answer(image, answer, task=self.manifest.tasks.segmentation)

    def _answer(
        self, image: Images, answer: Callable[..., Answer], *, task: Task
    ) -> Answers[Answer]:
        """Answers one image, or many of which the next ones are read while the model runs."""
        if isinstance(image, (list, tuple)):
            return list(self._answers(image, answer, task=task))
        # An open file is an iterator too, of lines.
        if isinstance(image, Iterator) and not hasattr(image, "read"):
            return self._answers(map(own_picture, image), answer, task=task)
        return answer(image, clock=Stopwatch())

    def _answers(
        self, images: Iterable[AnyImage], answer: Callable[..., Answer], *, task: Task
    ) -> Iterator[Answer]:
        def read(image: AnyImage) -> tuple[PreparedImage | ImageEmbedding, Stopwatch]:
            clock = Stopwatch()
            return self._engine.admit(image, task=task, clock=clock), clock

        with closing(read_ahead(images, read)) as ahead:
            for image, clock in ahead:
                yield answer(image, clock=clock)
