"""SamClip: one backbone pass, then classification, masks of prompts, and masks of texts."""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from types import TracebackType
from typing import NoReturn, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from samclip_sdk.bundle.hub.options import HubOptions
from samclip_sdk.device.opening import open_source, split_name
from samclip_sdk.engine import (
    classify,
    everything,
    instances,
    regions,
    segment,
    text_to_mask,
    tiled_labels,
)
from samclip_sdk.engine.engine import AnyImage, Engine
from samclip_sdk.engine.everything import EverythingOptions
from samclip_sdk.engine.many_images import answer_each, takes_many
from samclip_sdk.engine.options import MAX_INSTANCES, TextToMaskOptions
from samclip_sdk.engine.video.sources import VideoSource, open_footage
from samclip_sdk.engine.video.stream import Stream, follow_footage
from samclip_sdk.errors import PromptError
from samclip_sdk.picture.image import ImageSource
from samclip_sdk.picture.image_prompts import image_prompts
from samclip_sdk.picture.tiles import Tiling
from samclip_sdk.results.classification import Classification
from samclip_sdk.results.image_embedding import ImageEmbedding, PreparedImage
from samclip_sdk.results.instances import Instances
from samclip_sdk.results.prompt_masks import Masks
from samclip_sdk.results.text_masks import TextMasks
from samclip_sdk.results.tracked import TrackedInstances
from samclip_sdk.runtimes.options import RuntimeOptions
from samclip_sdk.runtimes.source import ModelSource
from samclip_sdk.system.arguments import check_flag, check_integer, finite_number
from samclip_sdk.system.atomic_file import atomic_file
from samclip_sdk.system.progress import OnProgress, no_progress
from samclip_sdk.system.timing import Stopwatch
from samclip_sdk.text.learned_label import check_regions, learn_embedding
from samclip_sdk.text.stored_labels import StoredLabels
from samclip_sdk.text.tokenizer import check_labels, check_texts
from samclip_sdk.text.vocabulary import encode_vocabulary, read_vocabulary

Array = NDArray[np.float32]
Labels: TypeAlias = "str | Sequence[str]"


class SamClip:
    """A model on a runtime. `load` opens one; use it as a context manager, or call `close`.

    An ImageEmbedding that this model made can be given wherever an image can, and saves the
    backbone pass. Coordinates are (x, y) and boxes XYXY, in pixels of the upright image.

    Many images: every verb that takes an image takes a list or tuple of them and returns a list, or
    an iterator, a generator for instance, and returns an iterator of the answers, which never
    ends if that does not. Answers are in the order of the images. While the model runs on one, the
    next few are read and decoded on threads. What is wrong with an image is raised at its place,
    and ends the answers.

    Threads: any number may use one model at once, and get what each would get alone. Every graph is
    opened once, every text embedded once. OpenVINO, Core ML and TensorRT run one call of a graph at
    a time, onnxruntime and torch as many as are asked. Call `close` when no thread uses it.

    Processes: load a model in each. In a forked child, a model that its parent loaded raises a
    SamClipError, because runtimes do not survive a fork.

    Args:
        source: where the graphs come from.
        stored_labels: where embeddings of labels outlive the process; nowhere if None.

    Attributes:
        manifest: the model's sizes, tasks, templates and thresholds.
        source: where the graphs come from; it tells the model's id, runtime and precision.
    """

    def __init__(self, source: ModelSource, *, stored_labels: StoredLabels | None = None) -> None:
        self.source = source
        self.manifest = source.manifest
        self._engine = Engine(source, stored_labels=stored_labels)

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
        public_key: str | os.PathLike[str] | None = None,
        on_progress: OnProgress | None = None,
    ) -> SamClip:
        """Opens a model and verifies its files. Graphs are loaded when they are first needed.

        Of a model on a hub the manifest comes first, then the files of the chosen runtime and
        precision, no others. Each has the sha256 that the manifest states before it is used. Later
        loads ask the hub for nothing but the revision's commit, and work without a network; of a
        revision that is a commit, they ask nothing.

        Args:
            name: a runtime, or else a model, which then runs on the runtime that is fastest here.
                "onnx", "openvino", "coreml" and "tensorrt" run bundles, "torch" checkpoint folders.
                "auto" takes the one that is fastest here, of those installed: it is measured at the
                first load of a bundle, for seconds, and remembered.
            model: beside a runtime's name: a bundle's folder, .zip or name, a checkpoint folder, or
                `org/name` or `org/name@revision` of a hub. A folder or a .zip of that very name
                here wins. By default the model that comes with the package, samclip-mobile.
            precision: "fp32", "fp16", "bf16" (OpenVINO), "int8" or "palette6" (Core ML); the
                bundle's preferred one if None; the fastest one here if "auto".
            device: "cpu", "cuda", "cuda:1" or, with "torch", "mps"; None is the runtime's own: the
                CPU where it runs there.
            providers: instead of a device, onnxruntime's execution providers, the preferred one
                first.
            compute_units: where Core ML may run: "all", "cpu_only", "cpu_and_gpu" or "cpu_and_ne".
            threads: onnxruntime's and OpenVINO's; their own choice if 0.
            revision: of a hub's model: a branch, a tag or a commit; "main" if None.
            cache_dir: where a hub's model is kept; `samclip-sdk/hub` in the user's cache if None.
            local_files_only: take what is kept of a hub's model, and ask nobody.
            token: with which the hub is asked; False is none. None takes the one of `hf auth login`
                or HF_TOKEN where a revision is named: a bare `org/name` may be a missing folder's
                path, which is nobody's business.
            text_cache: keep the embeddings of labels in the user's cache folder, 64 MB at most, so
                that a later process with the same model need not run the text encoder for them.
            public_key: path of a PEM file with an Ed25519 key: a bundle that is not signed with it,
                see `samclip sign`, is refused before anything else of it is read.
            on_progress: told what a long step is at (a message, how many of its parts are done, how
                many it has): downloading, trying what is fastest, building a TensorRT engine.

        Raises:
            OptionError: an option that cannot be, or that the runtime does not take.
            RuntimeMissingError: the runtime is not installed, or the device or a provider is not
                there; the message says what to do about it.
            BundleError: the model cannot be opened, is not signed as it should be, or a file of it
                is missing or was changed.
            HubError: the hub has no such repository or revision, or it may not be read;
                HubUnreachableError if it does not answer, and what is needed was never downloaded.
            StorageError: the cache cannot be written, or has no room.
            VerificationError: "auto" found nothing that computes what it should.
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
        return cls(source, stored_labels=StoredLabels(source.fingerprint) if text_cache else None)

    @property
    def runtime(self) -> str:
        """What the graphs run on: "onnx", for instance."""
        return self.source.runtime

    @property
    def precision(self) -> str:
        """Of the graphs: "fp32", for instance."""
        return self.source.precision

    def __repr__(self) -> str:
        name = self.manifest.name
        return f"SamClip({name!r}, runtime={self.runtime!r}, precision={self.precision!r})"

    def close(self) -> None:
        """Frees the graphs. A later call opens again what it needs."""
        self._engine.close()

    def __enter__(self) -> SamClip:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a SamClip cannot be pickled or copied: load it in each process")

    def prepare_image(self, image: ImageSource) -> PreparedImage:
        """Reads a picture and fits it to the backbone: what `encode_image` does before it runs.

        It runs no graph, so that threads may prepare pictures while another one runs the model. A
        prepared image stands wherever an image is taken.

        Raises:
            ImageError: the image cannot be read or used.
        """
        task = self.manifest.tasks.segmentation
        return self._engine.prepare(image, task=task, clock=Stopwatch())

    @takes_many
    def encode_image(self, image: AnyImage) -> ImageEmbedding:
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
        return answer_each(
            self._engine,
            image,
            lambda each, clock: self._engine.encode(each, task=task, clock=clock),
            task=task,
        )

    @takes_many
    def embed_image(self, image: AnyImage) -> Array:
        """Embeds the image in the space that it shares with texts; sees it as `classify` does.

        Args:
            image: one, or many.

        Returns:
            float32 [E], unit length.

        Raises:
            ImageError: the image cannot be read or used.
            EmbeddingMismatchError: another model made the embedding.
        """
        return answer_each(
            self._engine,
            image,
            lambda each, clock: classify.embed_image(self._engine, each, clock=clock),
            task=self.manifest.tasks.classification,
        )

    @takes_many
    def embed_region(
        self,
        image: AnyImage,
        *,
        box: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        point: ArrayLike | None = None,
    ) -> Array:
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
        region = regions.one_region(box=box, mask=mask, point=point)
        return answer_each(
            self._engine,
            image,
            lambda each, clock: regions.embed_region(
                self._engine, each, region=region, clock=clock
            ),
            task=self.manifest.tasks.segmentation,
        )

    @takes_many
    def classify(self, image: AnyImage, labels: Labels) -> Classification:
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
        return answer_each(
            self._engine,
            image,
            lambda each, clock: classify.classify(self._engine, each, labels=names, clock=clock),
            task=self.manifest.tasks.classification,
        )

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
            multimask_output: three masks a prompt, or one; by default three where a prompt is one
                point, which may mean a thing or a part of it, and one of any other, as SAM advises.
                `Masks.best` keeps the best of each prompt's.
            mask_threshold: the logit a pixel must exceed; by default the bundle's, 0.

        Raises:
            ImageError: the image cannot be read or used.
            PromptError: a prompt that makes no sense for this image, or none.
            EmbeddingMismatchError: another model made the embedding.
        """
        prompts = image_prompts(
            points, point_labels=point_labels, boxes=boxes, mask_input=mask_input
        )
        if multimask_output is None:
            multimask_output = prompts.ambiguous
        check_flag(multimask_output, name="multimask_output")
        threshold = finite_number(
            self.manifest.masks.mask_threshold if mask_threshold is None else mask_threshold,
            name="mask_threshold",
        )
        return answer_each(
            self._engine,
            image,
            lambda each, clock: segment.segment(
                self._engine,
                each,
                prompts=prompts,
                multimask_output=bool(multimask_output),
                mask_threshold=threshold,
                clock=clock,
            ),
            task=self.manifest.tasks.segmentation,
        )

    @takes_many
    def segment_text(
        self,
        image: AnyImage,
        labels: Labels,
        *,
        threshold: float | None = None,
        mask_threshold: float | None = None,
        points_per_class: int | None = None,
        refine: bool = True,
        tiles: tuple[int, int] | int | None = None,
        tile_overlap: float | None = None,
    ) -> TextMasks:
        """Finds each label in the image, and its mask if it is there (paper section 4.4).

        Nothing of a label's answer but the class map depends on which other labels are asked.

        With `tiles`, the same is done for the whole image and for parts of it that overlap, each as
        large to the model as the whole image is, which finds smaller things and takes as much time
        for each tile. A mask that a tile cuts is put together with its neighbours' parts of it; a
        thing that no tile can hold is as the whole image shows it. Of n tiles each is a chance to
        see what is not there: in a tile, the odds of a label's presence count for the root of n
        less.

        Args:
            image: one, or many.
            labels: nouns such as "dog"; each is put into the bundle's prompt templates.
            threshold: 0..1, the presence below which a label counts as absent and gets an empty
                mask; by default the bundle's calibrated one.
            mask_threshold: the logit a pixel must exceed; by default the bundle's, 0 with
                `refine`, the calibrated one of the CLIP head without.
            points_per_class: how many points the mask decoder is given for each label, at most; 3
                by default.
            refine: let the mask decoder draw the masks; else they are the CLIP head's score maps,
                upscaled, and a mask's score is its presence.
            tiles: (rows, columns), or the longest side that a tile may have in pixels; None for the
                whole image alone. Of an image that was prepared or encoded before, the picture is
                read again for them.
            tile_overlap: with `tiles`, the share of a tile's side that neighbours have in common at
                least, 0.1 to 0.5; 0.25 by default.

        Raises:
            ImageError: the image cannot be read or used; with `tiles`, an embedding does not know
                its picture, or that has another size now.
            TextError: no label, an empty one, two that are the same to CLIP, or more than 32,767.
            PromptError: a threshold or number of points that cannot be; tiles that are none, or
                larger than the image; `tile_overlap` without `tiles`.
            EmbeddingMismatchError: another model made the embedding.
        """
        names = check_labels(labels, at_most=text_to_mask.MAX_LABELS)
        options = TextToMaskOptions.of_text(
            self.manifest,
            threshold=threshold,
            mask_threshold=mask_threshold,
            points_per_class=points_per_class,
            refine=refine,
        )
        tiling = Tiling.asked(tiles, overlap=tile_overlap)

        def answer(each: AnyImage, clock: Stopwatch) -> TextMasks:
            if tiling is None:
                return text_to_mask.segment_text(
                    self._engine, each, labels=names, options=options, clock=clock
                )
            return tiled_labels.segment_tiled_text(
                self._engine, each, labels=names, options=options, tiling=tiling, clock=clock
            )

        return answer_each(self._engine, image, answer, task=self.manifest.tasks.segmentation)

    @takes_many
    def segment_instances(
        self,
        image: AnyImage,
        labels: Labels,
        *,
        threshold: float | None = None,
        mask_threshold: float | None = None,
        points_per_class: int | None = None,
        max_instances: int = MAX_INSTANCES,
        tiles: tuple[int, int] | int | None = None,
        tile_overlap: float | None = None,
    ) -> Instances:
        """Finds the objects of labels in the image, and draws each.

        Where a label scores highest there may be an object, the mask decoder draws it, and of masks
        that show the same object the best stays. Nothing of a label's objects but the cut at
        `max_instances` depends on which other labels are asked.

        Args:
            image: one, or many.
            labels: nouns such as "dog"; each is put into the bundle's prompt templates.
            threshold: 0..1, the presence below which a label counts as absent and has no objects;
                by default the bundle's calibrated one.
            mask_threshold: the logit a pixel must exceed; by default the bundle's, 0.
            points_per_class: how many points the mask decoder is given for each object, at most; 1
                by default.
            max_instances: how many objects of the image are told, the best ones.
            tiles: as in `segment_text`.
            tile_overlap: as in `segment_text`.

        Returns:
            A row for each object, the best first.

        Raises:
            ImageError: as `segment_text`.
            TextError: as `segment_text`.
            PromptError: a threshold, or number of points or objects, that cannot be; tiles that are
                none, or larger than the image; `tile_overlap` without `tiles`.
            EmbeddingMismatchError: another model made the embedding.
        """
        names = check_labels(labels, at_most=text_to_mask.MAX_LABELS)
        options = TextToMaskOptions.of_objects(
            self.manifest,
            threshold=threshold,
            mask_threshold=mask_threshold,
            points_per_class=points_per_class,
        )
        check_integer(max_instances, name="max_instances", least=1)
        tiling = Tiling.asked(tiles, overlap=tile_overlap)
        return answer_each(
            self._engine,
            image,
            lambda each, clock: instances.segment_instances(
                self._engine,
                each,
                labels=names,
                options=options,
                max_instances=int(max_instances),
                tiling=tiling,
                clock=clock,
            ),
            task=self.manifest.tasks.segmentation,
        )

    @takes_many
    def segment_everything(
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
    ) -> Instances:
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
        return answer_each(
            self._engine,
            image,
            lambda each, clock: everything.segment_everything(
                self._engine, each, labels=names, options=options, tiling=tiling, clock=clock
            ),
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
        tiles: tuple[int, int] | int | None = None,
        tile_overlap: float | None = None,
    ) -> Generator[TrackedInstances, None, None]:
        """Finds the objects of labels in each frame of a video, and tells which is which.

        As `segment_instances`, with what the frames before can tell: score maps are averaged over
        time, the mask that an object had is a prompt for the one that it has, and objects keep
        their ids by the IoU of their masks and by what is inside them, also through a time in which
        they are hidden. With `tiles`, the frames before tell nothing but the ids. It is not SAM 2's
        memory: no frame's pixels are seen by the model together with another's.

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
            tiles: as for `segment_text`.
            tile_overlap: likewise.

        Returns:
            What is in each frame, in their order. Closing it, if it is not taken to its end, closes
            the film or camera.

        Raises:
            ImageError: no such file or camera, a film without a frame, or a folder without
                pictures; later, a frame that cannot be read or has another size than the first.
            TextError: no label, an empty one, two that are the same to CLIP, or more than 32,767.
            PromptError: a threshold or number that cannot be; tiles that are none; or, at the first
                frame, larger than the picture.
        """
        names = check_labels(labels, at_most=text_to_mask.MAX_LABELS)
        options = TextToMaskOptions.of_objects(
            self.manifest,
            threshold=threshold,
            mask_threshold=mask_threshold,
            points_per_class=None,
        )
        tiling = Tiling.asked(tiles, overlap=tile_overlap)
        check_integer(max_instances, name="max_instances", least=1)
        check_integer(encode_every, name="encode_every", least=1)
        footage = open_footage(source)
        stream = Stream(
            self._engine,
            labels=names,
            options=options,
            max_instances=int(max_instances),
            encode_every=int(encode_every),
            tiling=tiling,
        )
        return follow_footage(stream, footage)

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
            float32 [K,E], unit length: the mean over the templates; of a label that was learnt or
            came with a vocabulary, what that gave it.

        Raises:
            TextError: no label, an empty one, or two that are the same to CLIP.
        """
        return np.array(self._engine.texts.embed_labels(check_labels(labels), clock=Stopwatch()))

    def learn_label(
        self,
        label: str,
        positives: ArrayLike,
        *,
        negatives: ArrayLike = (),
        score: float = 0.95,
    ) -> Array:
        """Teaches this model a label by examples; every verb that takes labels then knows it.

        The label's embedding is the one nearest to the word's own at which the mean of the
        positives has the calibrated `score` at least, and that of the negatives 1 - `score` at
        most. So its scores, presence and thresholds mean what those of any label mean. A word that
        fits its examples already stays as it is; one that says little is turned far towards them.

        What is taught lasts as long as this model, and longer in a pack of `save_vocabulary`.
        Taught again, a label goes on from what it has learnt.

        Args:
            label: how it is to be called, such as "my mug". What it says counts: "my mug" is a
                better beginning than "item 17".
            positives: one [E] or several [K,E], from `embed_region`.
            negatives: likewise, of what is not to be taken for it; none by default.
            score: above 0.5, below 1. A higher one finds more, also of what is not there.

        Returns:
            float32 [E], unit length: the label's embedding.

        Raises:
            TextError: an empty label.
            PromptError: no positive region, an array that holds no embeddings of this model,
                negatives that are the positives, or a score that cannot be.
        """
        (name,) = check_labels([label])
        dim = self.manifest.model.embed_dim
        wanted = check_regions(positives, name="positive", embed_dim=dim)
        unwanted = check_regions(negatives, name="negative", embed_dim=dim)
        if not len(wanted):
            raise PromptError("there is no positive region: give at least one, from embed_region")
        if not 0.5 < finite_number(score, name="score") < 1:
            raise PromptError(f"score is {score:g}; it must be above 0.5 and below 1")
        learned = learn_embedding(
            self._engine.texts.embed_labels([name], clock=Stopwatch())[0],
            positives=wanted,
            negatives=unwanted,
            calibration=self.manifest.calibration,
            score=float(score),
        )
        self._engine.texts.learn([name], learned[None].copy())
        return learned

    def label_digests(self, labels: str | Sequence[str]) -> tuple[str, ...]:
        """Tells labels of the same name apart: by what they were taught, or a pack says.

        Returns:
            For each label 16 hex digits of the embedding that `learn_label` or `load_vocabulary`
            gave it; "" for a label that the text encoder embeds.

        Raises:
            TextError: no label, an empty one, or two that are the same to CLIP.
        """
        return self._engine.texts.given_digests(check_labels(labels))

    def save_vocabulary(self, path: str | os.PathLike[str], labels: str | Sequence[str]) -> None:
        """Writes the labels' text embeddings, for an app that ships no text encoder.

        Raises:
            TextError: no label, an empty one, or two that are the same to CLIP.
            StorageError: the file cannot be written.
        """
        names = check_labels(labels)
        content = encode_vocabulary(
            names,
            embeddings=self._engine.texts.embed_labels(names, clock=Stopwatch()),
            manifest=self.manifest,
        )
        with atomic_file(path) as file:
            file.write(content)

    def load_vocabulary(self, path: str | os.PathLike[str]) -> tuple[str, ...]:
        """Reads what `save_vocabulary` wrote; its labels then need no text encoder.

        Returns:
            The labels.

        Raises:
            BundleError: the file is missing or is no vocabulary pack.
            EmbeddingMismatchError: another model made it.
        """
        vocabulary = read_vocabulary(path, manifest=self.manifest)
        self._engine.texts.learn(vocabulary.labels, vocabulary.matrix)
        return vocabulary.labels
