"""SamClip: one backbone pass, then classification, masks of prompts, and masks of texts."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from samclip_sdk.atomic_file import atomic_file
from samclip_sdk.auto.opening import open_source
from samclip_sdk.engine import Engine, Stopwatch
from samclip_sdk.errors import PromptError
from samclip_sdk.image import ImageSource
from samclip_sdk.image_embedding import ImageEmbedding, PreparedImage
from samclip_sdk.masks import binarize, mask_to_box
from samclip_sdk.model_source import ModelSource
from samclip_sdk.prompts import geometric_prompts
from samclip_sdk.results import Classification, Masks
from samclip_sdk.runtimes.options import OnProgress, RuntimeOptions, tell_nobody
from samclip_sdk.text import check_labels, check_texts
from samclip_sdk.text_masks import TextMasks
from samclip_sdk.text_to_mask import Options, compose, head_only, presence_of, score_maps
from samclip_sdk.vocabulary import encode_vocabulary, read_vocabulary

DEFAULT_MODEL = "samclip-tiny"

Array = NDArray[np.float32]


class SamClip:
    """A model on a runtime; `load` makes one. A context manager; or call `close`.

    Wherever an image is taken, an ImageEmbedding made by this model may stand, and saves the
    backbone pass. Coordinates are (x, y), boxes XYXY, in pixels of the upright image.

    Args:
        source: where the graphs come from.

    Attributes:
        manifest: the model's sizes, tasks, templates and thresholds.
        source: where the graphs come from; it tells the model's id, runtime and precision.
    """

    def __init__(self, source: ModelSource) -> None:
        self.manifest = source.manifest
        self.source = source
        self._tasks = source.manifest.tasks
        self._engine = Engine(source)

    @classmethod
    def load(
        cls,
        runtime: str = "auto",
        *,
        model: str | os.PathLike[str] = DEFAULT_MODEL,
        precision: str | None = None,
        device: str | None = None,
        providers: Sequence[str] = (),
        compute_units: str = "all",
        threads: int = 0,
        on_progress: OnProgress | None = None,
    ) -> SamClip:
        """Opens a model and verifies its files. Graphs are loaded when they are first needed.

        Args:
            runtime: "onnx", "openvino", "coreml" or "tensorrt" for bundles, "torch" for checkpoint
                folders, or "auto": of those installed, the one that is fastest here. It is measured
                at the first load of a bundle, for seconds, and remembered.
            model: a bundle's folder, .zip or name, or a checkpoint folder.
            precision: "fp32", "fp16", "bf16" (OpenVINO), "int8" or "palette6" (Core ML); the
                bundle's preferred one if None; the fastest one here if "auto".
            device: "cpu", "cuda", "cuda:1" or, with "torch", "mps"; None is the runtime's own: the
                CPU where it runs there.
            providers: instead of a device, onnxruntime's execution providers, the preferred one
                first.
            compute_units: where Core ML may run: "all", "cpu_only", "cpu_and_gpu" or "cpu_and_ne".
            threads: onnxruntime's and OpenVINO's; their own choice if 0.
            on_progress: told what a long step is at (a message, how many of its parts are done, how
                many it has): trying what is fastest, building a TensorRT engine.

        Raises:
            OptionError: an option that cannot be, or that the runtime does not take.
            RuntimeMissingError: the runtime is not installed, or the device or a provider is not
                there; the message says what to do about it.
            BundleError: the model cannot be opened, or a file of it is missing or was changed.
            VerificationError: "auto" found nothing that computes what it should.
        """
        options = RuntimeOptions(
            device=device,
            providers=providers,
            compute_units=compute_units,
            threads=threads,
            on_progress=on_progress or tell_nobody,
        )
        return cls(open_source(runtime, model=model, precision=precision, options=options))

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

    def prepare_image(self, image: ImageSource) -> PreparedImage:
        """Reads a picture and fits it to the backbone: what `encode_image` does before it runs.

        It runs no graph, so that threads may prepare pictures while another one runs the model.

        Raises:
            ImageError: the image cannot be read or used.
        """
        return self._engine.prepare(image, task=self._tasks.segmentation, clock=Stopwatch())

    def encode_image(self, image: ImageSource | PreparedImage) -> ImageEmbedding:
        """Runs the backbone once, at the segmentation resolution.

        Args:
            image: a path, a PIL image, an RGB uint8 array [H,W,3], a picture file's bytes or open
                file, or what `prepare_image` made.

        Returns:
            What every other method takes instead of the image; immutable, and can be saved.

        Raises:
            ImageError: the image cannot be read or used.
            EmbeddingMismatchError: the image was prepared for another model.
        """
        return self._engine.encode(image, task=self._tasks.segmentation, clock=Stopwatch())

    def classify(
        self, image: ImageSource | ImageEmbedding, labels: str | Sequence[str]
    ) -> Classification:
        """Tells how well each label describes the image.

        A raw image is seen at the classification resolution, which is fastest and most accurate;
        an ImageEmbedding at the segmentation resolution it was made at.

        Args:
            image: the image.
            labels: nouns such as "dog"; each is put into the bundle's prompt templates.

        Raises:
            ImageError: the image cannot be read or used.
            TextError: no label, or an empty one.
            EmbeddingMismatchError: another model made the embedding.
        """
        clock = Stopwatch()
        names = check_labels(labels)
        text = self._engine.embed_labels(names, clock=clock)
        embedding = self._engine.embedding(image, task=self._tasks.classification, clock=clock)
        _, vectors = self._engine.clip_head(embedding, clock=clock)
        cosines = text @ vectors[0]
        logits = (self.manifest.text.logit_scale * cosines).astype(np.float32)
        odds = np.exp(logits - logits.max())
        return Classification(
            labels=names,
            probs=odds / odds.sum(),
            logits=logits,
            speed=clock.ms,
            picture=embedding.picture,
        )

    def segment(
        self,
        image: ImageSource | ImageEmbedding,
        *,
        points: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        boxes: ArrayLike | None = None,
        mask_input: ArrayLike | None = None,
        multimask_output: bool = True,
        mask_threshold: float | None = None,
    ) -> Masks:
        """Segments what geometric prompts point at, as SAM does.

        Args:
            image: the image.
            points: [n,2] for one prompt, [K,n,2] for many.
            labels: [n] or [K,n]: 1 foreground (the default), 0 background, 2 and 3 a box's top-left
                and bottom-right corner, -1 a slot without a point.
            boxes: [4] for one prompt, [K,4] for many.
            mask_input: [4g,4g] for one prompt, [K,4g,4g] for many: logits, such as the
                `low_res_masks` of an earlier result.
            multimask_output: three masks a prompt, for an ambiguous one, instead of one.
            mask_threshold: the logit a pixel must exceed; by default the bundle's, 0.

        Raises:
            ImageError: the image cannot be read or used.
            PromptError: a prompt that makes no sense for this image, or none.
            EmbeddingMismatchError: another model made the embedding.
        """
        clock = Stopwatch()
        embedding = self._engine.embedding(image, task=self._tasks.segmentation, clock=clock)
        prompts = geometric_prompts(
            points,
            labels=labels,
            boxes=boxes,
            mask_input=mask_input,
            frame=embedding.frame,
            mask_side=4 * embedding.image_embeddings.shape[-1],
        )
        threshold = self.manifest.masks.mask_threshold if mask_threshold is None else mask_threshold
        if not math.isfinite(threshold):
            raise PromptError(f"mask_threshold is {threshold}; it must be finite")
        tokens = slice(1, 4) if multimask_output else slice(0, 1)
        low_res, scores = self._engine.decode(
            embedding.image_embeddings, prompts=prompts, tokens=tokens, clock=clock
        )
        per_prompt = low_res.shape[1]
        low_res = low_res.reshape(-1, *low_res.shape[2:])
        with clock.step("postprocess"):
            masks = binarize(low_res, frame=embedding.frame, mask_threshold=threshold)
            boxes_found = np.stack([mask_to_box(mask) for mask in masks])
        return Masks(
            masks=masks,
            scores=scores.reshape(-1),
            low_res_masks=low_res,
            boxes=boxes_found,
            prompt_index=np.repeat(np.arange(len(prompts), dtype=np.int32), per_prompt),
            speed=clock.ms,
            picture=embedding.picture,
        )

    def segment_text(
        self,
        image: ImageSource | ImageEmbedding,
        labels: str | Sequence[str],
        *,
        threshold: float | None = None,
        mask_threshold: float | None = None,
        points_per_class: int = 3,
        refine: bool = True,
        seed: int = 0,
    ) -> TextMasks:
        """Finds each label in the image, and its mask if it is there (paper section 4.4).

        Nothing of a label's answer but the class map depends on which other labels are asked.

        Args:
            image: the image.
            labels: nouns such as "dog"; each is put into the bundle's prompt templates.
            threshold: 0..1, the presence below which a label counts as absent and gets an empty
                mask; by default the bundle's calibrated one.
            mask_threshold: the logit a pixel must exceed; by default the bundle's, 0 with
                `refine`, the calibrated one of the CLIP head without.
            points_per_class: how many points the mask decoder is given for a label, at most.
            refine: let the mask decoder draw the masks; else they are the CLIP head's score maps,
                upscaled, and a mask's score is its presence.
            seed: of the draw of points.

        Raises:
            ImageError: the image cannot be read or used.
            TextError: no label, an empty one, or one twice.
            PromptError: a threshold, number of points or seed that cannot be.
            EmbeddingMismatchError: another model made the embedding.
        """
        clock = Stopwatch()
        names = check_labels(labels)
        options = Options.from_manifest(
            self.manifest,
            threshold=threshold,
            mask_threshold=mask_threshold,
            points_per_class=points_per_class,
            refine=refine,
            seed=seed,
        )
        embedding = self._engine.embedding(image, task=self._tasks.segmentation, clock=clock)
        patches, _ = self._engine.clip_head(embedding, clock=clock)
        text = self._engine.embed_labels(names, clock=clock)
        maps = score_maps(patches, text_embeddings=text, calibration=self.manifest.calibration)
        presence = presence_of(maps, frame=embedding.frame)
        present = np.flatnonzero(presence >= options.presence_threshold).astype(np.int32)
        if refine and len(present):
            drafts = self._engine.refine(
                embedding,
                maps[present],
                labels=[names[index] for index in present],
                options=options,
                clock=clock,
            )
        else:
            drafts = head_only(maps[present], presence=presence[present], frame=embedding.frame)
        with clock.step("postprocess"):
            result = compose(
                drafts,
                labels=names,
                presence=presence,
                score_maps=maps,
                present_index=present,
                frame=embedding.frame,
                mask_threshold=options.mask_threshold,
            )
        return replace(result, speed=clock.ms, picture=embedding.picture)

    def embed_text(self, texts: str | Sequence[str]) -> Array:
        """Embeds texts as they are (captions, queries), without templates.

        Returns:
            float32 [K,E], unit length; the product with an image's embedding is their cosine.

        Raises:
            TextError: no text, or an empty one.
        """
        return self._engine.embed_texts(check_texts(texts), clock=Stopwatch())

    def embed_image(self, image: ImageSource | ImageEmbedding) -> Array:
        """Embeds the image in CLIP's joint space; sees it as `classify` does.

        Returns:
            float32 [E], unit length.

        Raises:
            ImageError: the image cannot be read or used.
            EmbeddingMismatchError: another model made the embedding.
        """
        clock = Stopwatch()
        embedding = self._engine.embedding(image, task=self._tasks.classification, clock=clock)
        _, vectors = self._engine.clip_head(embedding, clock=clock)
        return np.array(vectors[0])

    def save_vocabulary(self, path: str | os.PathLike[str], labels: str | Sequence[str]) -> None:
        """Writes the labels' text embeddings, for an app that ships no text encoder.

        Raises:
            TextError: no label, an empty one, or one twice.
            StorageError: the file cannot be written.
        """
        names = check_labels(labels)
        content = encode_vocabulary(
            names,
            embeddings=self._engine.embed_labels(names, clock=Stopwatch()),
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
        self._engine.learn(vocabulary.labels, vocabulary.matrix())
        return vocabulary.labels
