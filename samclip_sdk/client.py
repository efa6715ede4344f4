"""SamClip: one backbone pass, then classification, masks of prompts, and masks of texts."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from typing import NoReturn, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from samclip_sdk.bundle.hub.options import HubOptions
from samclip_sdk.device.opening import open_source, opened_source, split_name
from samclip_sdk.engine import (
    classify,
    everything,
    instances,
    regions,
    segment,
    tiled_labels,
)
from samclip_sdk.engine.engine import AnyImage, Engine
from samclip_sdk.engine.learning import LearnReport, checked_share, learn_images, read_coco
from samclip_sdk.engine.many_images import Answer, Asked, answer_each, takes_many
from samclip_sdk.engine.one_pass import Pass, TaskName
from samclip_sdk.engine.packs import load_labels, save_labels
from samclip_sdk.engine.queries import (
    MAX_INSTANCES,
    ClassifyQuery,
    EverythingQuery,
    InstanceQuery,
    PromptQuery,
    Query,
    StreamQuery,
    TextQuery,
)
from samclip_sdk.engine.video.sources import VideoSource, open_footage
from samclip_sdk.engine.video.stream import Stream, follow_footage
from samclip_sdk.image.loading import ImageSource
from samclip_sdk.results.classification import Classification
from samclip_sdk.results.image_embedding import ImageEmbedding, PreparedImage
from samclip_sdk.results.instances import Instances
from samclip_sdk.results.named_masks import NamedMasks
from samclip_sdk.results.prompt_masks import Masks
from samclip_sdk.results.text_masks import TextMasks
from samclip_sdk.results.tracked import TrackedInstances
from samclip_sdk.runtimes.options import RuntimeOptions
from samclip_sdk.runtimes.source import ModelSource
from samclip_sdk.system.arguments import check_integer, number_within
from samclip_sdk.system.progress import OnProgress, no_progress
from samclip_sdk.system.timing import Stopwatch
from samclip_sdk.text.learned_label import check_regions, checked_score, learn_embedding
from samclip_sdk.text.stored_labels import StoredLabels
from samclip_sdk.text.tokenizer import check_labels, check_texts
from samclip_sdk.text.word_table import Reading

Array = NDArray[np.float32]
Labels: TypeAlias = "str | Sequence[str]"


class SamClip:
    """A model on a runtime. `load` opens one; use it as a context manager, or call `close`.

    Every method that takes an image also takes an ImageEmbedding that this model made, which saves
    the backbone pass. Coordinates are (x, y) and boxes XYXY, in pixels of the upright image.

    Many images: every method that takes an image also takes a list or tuple of images, and then
    returns a list. It also takes an iterator, such as a generator, and then returns an iterator; if
    the images never end, the answers never end. Answers are in the order of the images. While the
    model runs on one image, threads read and decode the next few. An error of an image is raised at
    its place, and ends the answers.

    Threads: any number may use one model at once, and each gets the same results as alone. Every
    graph is opened once, and every text is embedded once. onnxruntime and torch run calls in
    parallel; all others run one call of a graph at a time. Call `close` when no thread uses the
    model.

    Processes: load a model in each. In a forked child, a model that its parent loaded raises a
    SamClipError, because runtimes do not survive a fork.

    Args:
        source: where the graphs come from.
        stored_labels: the embeddings of labels on disk, for later processes; None stores nothing.
        bgr: whether images that are arrays are in BGR.

    Attributes:
        manifest: the model's sizes, tasks, templates and thresholds.
        source: where the graphs come from; it holds the model's id, runtime and precision.
    """

    def __init__(
        self,
        source: ModelSource | None = None,
        *,
        stored_labels: StoredLabels | None = None,
        bgr: bool = False,
    ) -> None:
        self.source = opened_source(source)
        self.manifest = self.source.manifest
        self._engine = Engine(self.source, stored_labels=stored_labels, bgr=bgr)

    @classmethod
    def load(
        cls,
        name: str | os.PathLike[str] = "auto",
        /,
        *,
        model: str | os.PathLike[str] | None = None,
        precision: str | None = None,
        device: str | None = None,
        providers: Sequence[str] = (),
        compute_units: str = "all",
        threads: int = 0,
        revision: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
        token: str | bool | None = None,
        text_cache: bool = True,
        bgr: bool = False,
        public_key: str | os.PathLike[str] | None = None,
        on_progress: OnProgress | None = None,
    ) -> SamClip:
        """Opens a model and verifies its files. Graphs are loaded when they are first needed.

        A hub's model is downloaded in two steps: the manifest, then only the files of the chosen
        runtime and precision. The sha256 of each file is checked before it is used. Later loads ask
        the hub only for the revision's commit, and work without a network. If the revision is a
        commit, they do not ask the hub at all.

        Args:
            name: a runtime or a model. A model runs on the runtime that is fastest here.
                "onnx", "openvino", "coreml", "tensorrt", "litert" and "executorch" run bundles,
                "torch" checkpoint folders. "auto" takes the fastest installed runtime: it is
                measured for seconds at the first load of a bundle, and remembered.
            model: with a runtime's name: a bundle's folder, .zip or name, a checkpoint folder, or
                `org/name` or `org/name@revision` of a hub. A folder or .zip here with exactly that
                name wins. By default the model that comes with the package, samclip-mobile.
            precision: "fp32", "fp16", "bf16" (OpenVINO), "int8" or "palette6" (Core ML); the
                bundle's preferred one if None; the fastest one here if "auto".
            device: "cpu", "cuda", "cuda:1" or, with "torch", "mps". None takes the runtime's
                default, which is the CPU if the runtime supports it.
            providers: instead of a device, onnxruntime's execution providers, the preferred one
                first.
            compute_units: where Core ML may run: "all", "cpu_only", "cpu_and_gpu" or "cpu_and_ne".
            threads: the number of threads of onnxruntime, OpenVINO and LiteRT; 0 is the runtime's
                default.
            revision: a hub model's branch, tag or commit; "main" if None.
            cache_dir: where a hub's model is kept; `samclip-sdk/hub` in the user's cache if None.
            local_files_only: use only the cached files of a hub's model, and send no request.
            token: the hub's access token; False sends none. None sends the token of `hf auth login`
                or HF_TOKEN, but only if a revision is named: a bare `org/name` may be a missing
                folder's path, which stays private.
            text_cache: keep the embeddings of labels in the user's cache folder, 64 MB at most. A
                later process with the same model then need not run the text encoder for them.
            bgr: images that are arrays are in BGR, as OpenCV reads them. By default they are in
                RGB, as drawings of results always are. Nothing can tell a wrong order.
            public_key: path of a PEM file with an Ed25519 key. A bundle that is not signed with it
                (see `samclip sign`) is refused before anything else in it is read.
            on_progress: called with the progress of a long step (a message, the number of parts
                done, the number of all parts): downloading, finding the fastest runtime, building a
                TensorRT engine.

        Raises:
            OptionError: an option's value is invalid, or the runtime does not take the option.
            RuntimeMissingError: the runtime is not installed, or the device or a provider is not
                there; the message says what to do about it.
            BundleError: the model cannot be opened, its signature is missing or wrong, or one of
                its files is missing or was changed.
            HubError: the hub has no such repository or revision, or it may not be read;
                HubUnreachableError if the hub does not answer and a needed file is not cached.
            StorageError: the cache cannot be written, or has no room.
            VerificationError: "auto" found no runtime that computes correct outputs.
        """
        runtime, model = split_name(name, model=model)
        source = open_source(
            runtime,
            model=model,
            precision=precision,
            public_key=public_key,
            options=RuntimeOptions(
                device=device,
                providers=providers,
                compute_units=compute_units,
                threads=threads,
                on_progress=on_progress or no_progress,
            ),
            hub=HubOptions(
                revision=revision,
                cache_dir=cache_dir,
                local_files_only=local_files_only,
                token=token,
                is_repository=revision is not None or bool(token),
            ),
        )
        stored = StoredLabels(source.fingerprint) if text_cache else None
        return cls(source, stored_labels=stored, bgr=bgr)

    @property
    def runtime(self) -> str:
        """The runtime of the graphs, such as "onnx"."""
        return self.source.runtime

    @property
    def precision(self) -> str:
        """The precision of the graphs, such as "fp32"."""
        return self.source.precision

    @property
    def words(self) -> tuple[str, ...]:
        """The nouns that images taught the model, in the order of the alphabet.

        `read_labels` tells what it takes any other label for. They are English. () if the bundle
        does not tell them.
        """
        known = self._engine.known_words
        return () if known is None else tuple(known.words)

    def nearest_words(self, label: str, *, count: int = 3) -> list[tuple[str, float]]:
        """The taught words nearest to a label's own embedding, the nearest first, with cosines.

        Returns:
            `count` pairs at most; none if the bundle does not tell its words.

        Raises:
            TextError: an empty label.
            PromptError: `count` is invalid.
        """
        check_integer(count, name="count", minimum=1)
        known, names = self._engine.known_words, check_labels([label])
        embedded = self._engine.texts.own_embeddings(names, clock=Stopwatch())
        return [] if known is None else known.nearest(embedded[0], count=int(count))

    def read_labels(self, labels: Labels) -> dict[str, Reading]:
        """What the model takes labels for, in their order; empty if the bundle does not tell.

        A label is a taught word (or was given by `learn_label` or `load_vocabulary`); the same as
        one in another word, number or spelling; read as others: its kind, the kinds of a general
        word, or its head noun; or not known. Every result has the last two in `read_as`.

        Raises:
            TextError: no label, an empty one, or two that are the same.
        """
        return self._engine.texts.read(check_labels(labels), clock=Stopwatch())

    def __repr__(self) -> str:
        name = self.manifest.name
        return f"SamClip({name!r}, runtime={self.runtime!r}, precision={self.precision!r})"

    def close(self) -> None:
        """Frees the graphs. A later call opens them again when it needs them."""
        self._engine.close()

    def __enter__(self) -> SamClip:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a SamClip cannot be pickled or copied: load it in each process")

    def prepare_image(self, image: ImageSource) -> PreparedImage:
        """Reads an image and fits it to the backbone: the first step of `encode_image`.

        It runs no graph, so threads may prepare images while another thread runs the model. Every
        method that takes an image also takes a prepared one.

        Raises:
            ImageError: the image cannot be read or used.
        """
        task = self.manifest.tasks.segmentation
        return self._engine.prepare(image, task=task, clock=Stopwatch())

    @takes_many
    def encode_image(self, image: AnyImage) -> ImageEmbedding:
        """Runs the backbone once, at the segmentation resolution.

        Args:
            image: a path, a PIL image, an RGB uint8 array [H,W,3], an image file's bytes or open
                file, or a result of `prepare_image`; or many.

        Returns:
            The embedding, which every other method takes instead of the image. It is immutable, and
            can be saved.

        Raises:
            ImageError: the image cannot be read or used.
            EmbeddingMismatchError: the image was prepared for another model.
        """
        return self._each(image, lambda one, _: one.embedding, Query())

    @takes_many
    def embed_image(self, image: AnyImage) -> Array:
        """Embeds the image in the joint space of images and texts.

        The resolution is the same as in `classify`.

        Args:
            image: one, or many.

        Returns:
            float32 [E], unit length.

        Raises:
            ImageError: the image cannot be read or used.
            EmbeddingMismatchError: another model made the embedding.
        """
        return self._each(image, classify.embed_image, Query(), task="classification")

    @takes_many
    def embed_region(
        self,
        image: AnyImage,
        *,
        box: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        point: ArrayLike | None = None,
    ) -> Array:
        """Embeds a region of the image in the joint space of regions and texts.

        The embedding is the mean of the patches under the region's mask. The mask decoder draws the
        mask of a box or a point. It draws three masks of a point, and the one with the highest
        predicted IoU counts.

        The product with another region's or a text's embedding is their cosine. Cosines of two
        regions are far higher than those of a region and a text: `learn_label` makes a label from
        regions whose scores compare with those of other labels.

        Args:
            image: one, or many with the same region in each.
            box: [4], XYXY in pixels of the image; the part outside the image is cut off.
            mask: bool [H,W], in pixels of the image.
            point: [2], (x, y) in pixels of the image.

        Returns:
            float32 [E], unit length.

        Raises:
            ImageError: the image cannot be read or used.
            PromptError: not exactly one of box, mask and point is given, it makes no sense for this
                image, or the mask decoder draws nothing for it.
            EmbeddingMismatchError: another model made the embedding.
        """
        region = regions.one_region(box=box, mask=mask, point=point)
        return self._each(image, regions.embed_region, region)

    @takes_many
    def classify(self, image: AnyImage, labels: Labels) -> Classification:
        """Tells how well each label describes the image.

        A raw image is read at the classification resolution, which is fastest and most accurate. An
        ImageEmbedding or a PreparedImage keeps the segmentation resolution it was made at.

        Args:
            image: one, or many.
            labels: nouns such as "dog"; each is put into the bundle's prompt templates.

        Raises:
            ImageError: the image cannot be read or used.
            TextError: no label, an empty one, or two that are the same to CLIP.
            EmbeddingMismatchError: another model made the embedding.
        """
        query = ClassifyQuery(labels=labels)
        return self._each(image, classify.classify, query, task="classification")

    @takes_many
    def segment(
        self,
        image: AnyImage,
        *,
        points: ArrayLike | None = None,
        point_labels: ArrayLike | None = None,
        boxes: ArrayLike | None = None,
        mask_input: ArrayLike | None = None,
        multimask_output: bool | None = None,
        mask_threshold: float | None = None,
    ) -> Masks:
        """Segments the objects at geometric prompts, as SAM does.

        Many images share the same prompts. If each image has its own, encode the images and segment
        each: `for image, boxes in zip(model.encode_image(iter(paths)), every_box): ...`

        Args:
            image: one, or many.
            points: [n,2] for one prompt, [K,n,2] for many.
            point_labels: [n] or [K,n]: 1 foreground (the default), 0 background, 2 and 3 a box's
                top-left and bottom-right corner, -1 a slot without a point.
            boxes: [4] for one prompt, [K,4] for many; the part outside the image is cut off. Masks
                end a little outside their box, by the `box_margin` of the bundle's calibration.
            mask_input: [4g,4g] for one prompt, [K,4g,4g] for many: logits, such as the
                `low_res_masks` of an earlier result.
            multimask_output: True for three masks of each prompt, False for one. By default three
                if each prompt is a single point, which may mean an object or a part of it; the best
                of three if each is several points, or points and a box, without a mask; else one,
                as SAM advises. `Masks.best` keeps the best mask of each prompt.
            mask_threshold: the logit a pixel must exceed; by default the bundle's, 0.

        Raises:
            ImageError: the image cannot be read or used.
            PromptError: there is no prompt, or one makes no sense for this image.
            EmbeddingMismatchError: another model made the embedding.
        """
        query = PromptQuery(
            points=points,
            point_labels=point_labels,
            boxes=boxes,
            mask_input=mask_input,
            multimask_output=multimask_output,
            mask_threshold=mask_threshold,
        )
        return self._each(image, segment.segment, query)

    @takes_many
    def segment_text(
        self,
        image: AnyImage,
        labels: Labels,
        *,
        threshold: float | None = None,
        allow_unknown: bool = False,
        mask_threshold: float | None = None,
        points_per_class: int | None = None,
        refine: bool = True,
        exclusive: bool = False,
        return_soft_masks: bool = False,
        tiles: tuple[int, int] | int | None = None,
        tile_overlap: float | None = None,
    ) -> TextMasks:
        """Finds each label in the image, and its mask if it is there (paper section 4.4).

        Only the class map depends on which other labels are asked, unless labels are `exclusive`.

        With `tiles`, the same is done for the whole image and for overlapping parts of it. The
        model sees each tile at the size of a whole image: it finds smaller objects, and each tile
        takes as much time as an image. A mask that a tile cuts is joined with its parts in the
        neighbouring tiles. An object larger than a tile gets its mask from the whole image. Each of
        n tiles is one more chance of a false positive, so the odds of a label's presence in a tile
        are divided by the square root of n.

        Args:
            image: one, or many.
            labels: nouns such as "dog"; each is put into the bundle's prompt templates.
            threshold: 0..1, the presence below which a label counts as absent and gets an empty
                mask; by default the label's own, or else the bundle's calibrated one.
            allow_unknown: whether a label that the model does not know (see `read_labels`) may be
                found at the default threshold, by what the text encoder makes of it. Without it,
                or a `threshold`, such a label is absent.
            mask_threshold: the logit a pixel must exceed; by default the bundle's, 0 with
                `refine`, the calibrated one of the CLIP head without.
            points_per_class: the most points that the mask decoder gets for each label; 3 by
                default.
            refine: whether the mask decoder draws the masks. If not, they are the CLIP head's score
                maps, upscaled, and a mask's score is its presence.
            exclusive: whether no pixel has two labels. A label is then absent where a likelier one
                has the same mask: of "dog" and "cat", a dog is one only.
            return_soft_masks: whether the result has `soft_masks`, too, four bytes for each pixel
                and label that is found; not with `tiles`.
            tiles: (rows, columns), or the longest side of a tile in pixels; None for the whole
                image alone. For a prepared image or an embedding, the source image is read again.
            tile_overlap: with `tiles`, the least share of a tile's side that neighbours have in
                common, 0.1 to 0.5; 0.25 by default.

        Raises:
            ImageError: the image cannot be read or used; with `tiles`, an embedding does not know
                its source image, or that has another size now.
            TextError: no label, an empty one, two that are the same to CLIP, or more than 32,767.
            PromptError: a threshold or number of points is invalid; tiles are invalid, or larger
                than the image; `tile_overlap` without `tiles`, or soft masks with them.
            EmbeddingMismatchError: another model made the embedding.
        """
        query = TextQuery(
            labels=labels,
            threshold=threshold,
            allow_unknown=allow_unknown,
            mask_threshold=mask_threshold,
            points_per_class=points_per_class,
            refine=refine,
            exclusive=exclusive,
            return_soft_masks=return_soft_masks,
            tiles=tiles,
            tile_overlap=tile_overlap,
        )
        return self._each(image, tiled_labels.segment_tiled_text, query)

    @takes_many
    def segment_instances(
        self,
        image: AnyImage,
        labels: Labels,
        *,
        threshold: float | None = None,
        allow_unknown: bool = False,
        mask_threshold: float | None = None,
        points_per_class: int | None = None,
        max_instances: int = MAX_INSTANCES,
        min_score: float | None = None,
        exclusive: bool = False,
        tiles: tuple[int, int] | int | None = None,
        tile_overlap: float | None = None,
    ) -> Instances:
        """Finds the objects of labels in the image, and draws the mask of each.

        Each part of a label's mask is an object: the mask decoder draws it once more, by the box
        around it. So objects that touch may be one. Only the cut at `max_instances` and `exclusive`
        depend on which other labels are asked.

        Args:
            image: one, or many.
            labels: nouns such as "dog"; each is put into the bundle's prompt templates.
            threshold: 0..1, the presence below which a label counts as absent and has no objects;
                by default the label's own, or else the bundle's calibrated one.
            allow_unknown: as in `segment_text`.
            mask_threshold: the logit a pixel must exceed; by default the bundle's, 0.
            points_per_class: as in `segment_text`.
            max_instances: the most objects in the result; the best ones stay.
            min_score: 0..1, the score below which an object is left out; by default the bundle's
                calibrated one.
            exclusive: whether no pixel and no object has two labels; the likelier one keeps it.
            tiles: as in `segment_text`.
            tile_overlap: as in `segment_text`.

        Returns:
            A row for each object, the best first.

        Raises:
            ImageError: as `segment_text`.
            TextError: as `segment_text`.
            PromptError: a threshold, a score, or a number of points or objects, is invalid; tiles
                are invalid, or larger than the image; `tile_overlap` without `tiles`.
            EmbeddingMismatchError: another model made the embedding.
        """
        query = InstanceQuery(
            labels=labels,
            threshold=threshold,
            allow_unknown=allow_unknown,
            mask_threshold=mask_threshold,
            points_per_class=points_per_class,
            max_instances=max_instances,
            min_score=min_score,
            exclusive=exclusive,
            tiles=tiles,
            tile_overlap=tile_overlap,
        )
        return self._each(image, instances.segment_instances, query)

    @takes_many
    def segment_everything(
        self,
        image: AnyImage,
        labels: Labels | None = None,
        *,
        allow_unknown: bool = False,
        points_per_side: int | None = None,
        pred_iou_thresh: float | None = None,
        stability_score_thresh: float | None = None,
        stability_score_offset: float = 1.0,
        box_nms_thresh: float = 0.7,
        tiles: tuple[int, int] | int | None = None,
        tile_overlap: float | None = None,
    ) -> NamedMasks:
        """Segments all objects in the image, and names them.

        A model that proposes boxes of things gets a mask for each, the likeliest first. Of another
        model, and with `points_per_side`, the method and its parameters are those of
        segment-anything's SamAutomaticMaskGenerator with one crop: each point of a grid gets three
        masks, and those that are stable and have a high predicted IoU stay. If boxes or masks
        overlap, the best mask stays. Empty masks are left out. One thing is quicker: of a grid with
        32 points or more along each side, a point whose neighbours have masks that are far from
        good is left out.

        With `tiles`, each tile is asked too, like the crops of segment-anything. A mask that a
        tile cuts is left out. If the boxes of masks overlap, a tile's mask stays.

        Args:
            image: one, or many.
            labels: the possible names: nouns, or the labels from `load_vocabulary`; by default the
                bundle's own nouns. Each mask gets the label that fits its content best, if that
                fits as well as a label must to be in an image; else its label is "". Without
                labels, a bundle without nouns gives no names.
            allow_unknown: as in `segment_text`, of names.
            points_per_side: the grid's points along each side, 1 to 1024; the number of prompts is
                its square. By default the model's proposals, or 32.
            pred_iou_thresh: 0..1, a mask's predicted IoU must exceed it; 0 switches this off; by
                default 0 for proposals, else the bundle's calibrated one or segment-anything's .88.
            stability_score_thresh: 0..1, the least stability of a mask: the IoU of the masks with
                the threshold moved up and down; 0 switches this off; by default the bundle's
                calibrated one, or segment-anything's 0.95; 0 for proposals.
            stability_score_offset: how far that threshold is moved, a logit.
            box_nms_thresh: 0..1, the IoU with a better mask, or of the boxes of the two, above
                which a mask is dropped.
            tiles: as in `segment_text`.
            tile_overlap: as in `segment_text`.

        Raises:
            ImageError: the image cannot be read or used.
            TextError: no label (in a list without any), an empty one, or two that are the same to
                CLIP.
            PromptError: a number is invalid; tiles are invalid, or larger than the image.
            EmbeddingMismatchError: another model made the embedding.
        """
        query = EverythingQuery(
            labels=labels,
            allow_unknown=allow_unknown,
            points_per_side=points_per_side,
            pred_iou_thresh=pred_iou_thresh,
            stability_score_thresh=stability_score_thresh,
            stability_score_offset=stability_score_offset,
            box_nms_thresh=box_nms_thresh,
            tiles=tiles,
            tile_overlap=tile_overlap,
        )
        return self._each(image, everything.segment_everything, query)

    def stream(
        self,
        source: VideoSource,
        labels: Labels,
        *,
        threshold: float | None = None,
        allow_unknown: bool = False,
        mask_threshold: float | None = None,
        max_instances: int = MAX_INSTANCES,
        min_score: float | None = None,
        encode_every: int = 1,
        tiles: tuple[int, int] | int | None = None,
        tile_overlap: float | None = None,
    ) -> Generator[TrackedInstances, None, None]:
        """Finds the objects of labels in each frame of a video, and tracks them.

        This is `segment_instances` with information from earlier frames. Score maps are averaged
        over time, and an object's last mask is a prompt for its next one. Objects keep their ids by
        the IoU of their masks and by the embeddings of their content, even if they are hidden for a
        time. With `tiles`, earlier frames give only the ids. It is not SAM 2's memory: the model
        never sees the pixels of two frames together.

        Memory does not grow with the number of frames. A few frames are read ahead, but none of a
        camera.

        Args:
            source: a video file, a folder of images, sorted by the numbers in their names, a
                camera's number, a URL (rtsp, rtmp, http or https; a lost camera is opened again),
                or an iterator of images as every other method takes them.
            labels: nouns such as "dog"; each is put into the bundle's prompt templates.
            threshold: as in `segment_text`.
            allow_unknown: as in `segment_text`.
            mask_threshold: as in `segment_text`.
            max_instances: the most objects of a frame; the best ones stay.
            min_score: as in `segment_instances`.
            encode_every: 1 runs the model on each frame, 2 on every other one, and so on. In
                between, masks follow the optical flow, which takes next to no time; a new object is
                found when the model runs next. After a cut, the model runs at once.
            tiles: as in `segment_text`.
            tile_overlap: as in `segment_text`.

        Returns:
            The objects in each frame, in the frames' order. Close the generator if you do not
            exhaust it: that closes the video file or camera.

        Raises:
            ImageError: no such file or camera, a URL that gives no image, a video without a
                frame, or a folder without images; later, a frame that cannot be read or has
                another size than the first, or a camera that is gone.
            TextError: no label, an empty one, two that are the same to CLIP, or more than 32,767.
            PromptError: a threshold, a number or tiles are invalid; or, at the first frame, tiles
                are larger than the image.
        """
        query = StreamQuery(
            labels=labels,
            threshold=threshold,
            allow_unknown=allow_unknown,
            mask_threshold=mask_threshold,
            max_instances=max_instances,
            min_score=min_score,
            encode_every=encode_every,
            tiles=tiles,
            tile_overlap=tile_overlap,
        )
        footage = open_footage(source)
        return follow_footage(Stream(self._engine, query), footage)

    def embed_text(self, texts: str | Sequence[str]) -> Array:
        """Embeds texts as they are (captions, queries), without templates.

        Returns:
            float32 [K,E], unit length; the product with an image's embedding is their cosine.

        Raises:
            TextError: no text, or an empty one.
        """
        return self._engine.texts.embed_texts(check_texts(texts), clock=Stopwatch())

    def embed_labels(self, labels: Labels) -> Array:
        """Embeds labels as `classify` and `segment_text` do: each in the bundle's templates.

        Returns:
            float32 [K,E], unit length: the mean over the templates, of the word that a label is
            read as; or the embedding that `learn_label` or `load_vocabulary` gave a label.

        Raises:
            TextError: no label, an empty one, two that are the same to CLIP, or a general word that
                several taught words answer for.
        """
        names = check_labels(labels)
        return np.array(self._engine.texts.embed_single_labels(names, clock=Stopwatch()))

    def learn_label(
        self,
        label: str,
        positives: ArrayLike,
        *,
        negatives: ArrayLike = (),
        score: float = 0.95,
        threshold: float | None = None,
    ) -> Array:
        """Teaches this model a label by examples; every method that takes labels then knows it.

        With the new embedding, the mean of the positives has at least the calibrated `score`, and
        the mean of the negatives at most 1 - `score`. It is the nearest such embedding to the
        text's own. So its scores, presence and thresholds compare with those of other labels.
        A text that already fits its examples keeps its embedding; one that says little moves far.

        The label lasts as long as this model; `save_vocabulary` stores it for longer. A second call
        for the same label starts from its learnt embedding.

        Args:
            label: its name, such as "my mug" or "item 17".
            positives: one [E] or several [K,E], from `embed_region`.
            negatives: the same for regions that are not the label; none by default.
            score: above 0.5, below 1. A higher score finds more objects, and more false positives.
            threshold: 0..1, the presence below which this label counts as absent, if a call gives
                no other; by default the bundle's calibrated one.

        Returns:
            float32 [E], unit length: the label's embedding.

        Raises:
            TextError: an empty label.
            PromptError: no positive region, an array that holds no embeddings of this model,
                negatives that equal the positives, or an invalid score or threshold.
        """
        (name,) = check_labels([label])
        dim = self.manifest.model.embed_dim
        wanted = check_regions(positives, name="positive", embed_dim=dim, min_regions=1)
        unwanted = check_regions(negatives, name="negative", embed_dim=dim)
        own = None if threshold is None else number_within(threshold, name="threshold", maximum=1)
        learned = learn_embedding(
            self._engine.texts.own_embeddings([name], clock=Stopwatch())[0],
            positives=wanted,
            negatives=unwanted,
            calibration=self.manifest.calibration,
            score=checked_score(score),
        )
        self._engine.texts.learn([name], learned[None].copy(), thresholds=[own])
        return learned

    def learn_coco(
        self,
        path: str | os.PathLike[str],
        *,
        images: str | os.PathLike[str],
        labels: Labels | None = None,
        held_out: float = 0.2,
        seed: int = 0,
        score: float = 0.95,
        on_progress: OnProgress | None = None,
    ) -> LearnReport:
        """Teaches this model the categories of a COCO file, as `learn_label` does by examples.

        Each image that shows a label is an example of it. Negatives are what the label, as learnt
        so far, is taken for in images that do not carry it; so every object of a label must be
        labelled. Each label gets its own threshold, fitted to images that it was not learnt from.
        A label whose word does best keeps its word.

        A share of the images is held out, and measured before and after. Images to learn from
        take up to a megabyte of memory each.

        Args:
            path: the file, as pycocotools reads it: polygons, RLE, or boxes alone, whose masks the
                mask decoder draws.
            images: the folder of its images.
            labels: the categories to learn; all by default.
            held_out: above 0, below 1: the share of each label's images that is not learnt from.
            seed: of the choice of held-out images.
            score: as in `learn_label`.
            on_progress: called with a step, the number of images or labels done, and of all.

        Raises:
            StorageError: the file is missing or wrong, or an image is missing or of another size.
            TextError: the name of a category cannot be a label, or there is no such category.
            PromptError: a number is invalid, or no image shows a label.
            ImageError: an image cannot be read.
        """
        share = checked_share(held_out)
        check_integer(seed, name="seed", minimum=0)
        return learn_images(
            self._engine,
            read_coco(path, images=images, labels=None if labels is None else check_labels(labels)),
            held_out=share,
            seed=int(seed),
            score=checked_score(score),
            on_progress=on_progress or no_progress,
        )

    def label_digests(self, labels: str | Sequence[str]) -> tuple[str, ...]:
        """Tells labels of the same name apart, by what they were given.

        Returns:
            For each label, a digest of 16 hex digits of the embedding and threshold that
            `learn_label` or `load_vocabulary` gave it; "" for a label that the text encoder embeds.

        Raises:
            TextError: no label, an empty one, or two that are the same to CLIP.
        """
        return self._engine.texts.given_digests(check_labels(labels))

    def label_thresholds(self, labels: str | Sequence[str]) -> tuple[float, ...]:
        """The presence from which each label counts as being in an image, if a call gives no other.

        Returns:
            For each label, the threshold that `learn_label` or `load_vocabulary` gave it, or that
            the bundle's nouns have, or else the bundle's calibrated one.

        Raises:
            TextError: no label, an empty one, or two that are the same to CLIP.
        """
        default = self.manifest.calibration.presence_threshold
        own = self._engine.texts.own_thresholds(check_labels(labels))
        return tuple(default if each is None else each for each in own)

    def save_vocabulary(self, path: str | os.PathLike[str], labels: str | Sequence[str]) -> None:
        """Writes the labels' text embeddings, for an app that ships no text encoder.

        A label's own threshold is written too, and what it is read as, so that an app tells it.

        Raises:
            TextError: no label, an empty one, two that are the same to CLIP, or a general word that
                several taught words answer for.
            StorageError: the file cannot be written.
        """
        save_labels(self._engine, path, check_labels(labels))

    def load_vocabulary(self, path: str | os.PathLike[str]) -> tuple[str, ...]:
        """Reads a file of `save_vocabulary`; its labels then need no text encoder.

        Returns:
            The labels.

        Raises:
            BundleError: the file is missing or is no vocabulary pack.
            EmbeddingMismatchError: another model made it.
        """
        return load_labels(self._engine, path)

    def _each(
        self,
        image: AnyImage,
        skill: Callable[[Pass, Asked], Answer],
        query: Asked,
        *,
        task: TaskName = "segmentation",
    ) -> Answer:
        """Answers one image or many, which are read as a task needs them."""
        return answer_each(self._engine, image, skill, query, task=task)
