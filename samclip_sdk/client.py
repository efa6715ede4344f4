"""SamClip: one backbone pass, then classification, masks of prompts, and masks of texts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from types import TracebackType
from typing import NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from samclip_sdk.bundle.hub.options import DEFAULT_HUB, HubOptions
from samclip_sdk.device.opening import open_source
from samclip_sdk.errors import OptionError, PromptError, one_line
from samclip_sdk.object_verbs import ObjectVerbs
from samclip_sdk.runtimes.options import RuntimeOptions
from samclip_sdk.runtimes.source import ModelSource
from samclip_sdk.system.arguments import finite_number
from samclip_sdk.system.atomic_file import atomic_file
from samclip_sdk.system.progress import OnProgress, no_progress
from samclip_sdk.system.timing import Stopwatch
from samclip_sdk.text.learned_label import check_regions, learn_embedding
from samclip_sdk.text.stored_labels import StoredLabels
from samclip_sdk.text.tokenizer import check_labels, check_texts
from samclip_sdk.text.vocabulary import encode_vocabulary, read_vocabulary

DEFAULT_MODEL = "samclip-mobile"

Array = NDArray[np.float32]


class SamClip(ObjectVerbs):
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
        super().__init__(source, stored_labels=stored_labels)
        self.source = source

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
        text_cache: bool = True,
        public_key: str | os.PathLike[str] | None = None,
        on_progress: OnProgress | None = None,
    ) -> SamClip:
        """Opens a model and verifies its files. Graphs are loaded when they are first needed.

        Of a model on a hub the files of the runtime and the precision are downloaded, once; see
        `from_pretrained`, which takes a revision and a token too.

        Args:
            runtime: "onnx", "openvino", "coreml" or "tensorrt" for bundles, "torch" for checkpoint
                folders, or "auto": of those installed, the one that is fastest here. It is measured
                at the first load of a bundle, for seconds, and remembered. What holds a slash is
                no runtime but a model, which "auto" then runs: `SamClip.load("org/name")`.
            model: a bundle's folder, .zip or name, a checkpoint folder, or `org/name` or
                `org/name@revision` of a hub. A folder or a .zip of that very name here wins.
            precision: "fp32", "fp16", "bf16" (OpenVINO), "int8" or "palette6" (Core ML); the
                bundle's preferred one if None; the fastest one here if "auto".
            device: "cpu", "cuda", "cuda:1" or, with "torch", "mps"; None is the runtime's own: the
                CPU where it runs there.
            providers: instead of a device, onnxruntime's execution providers, the preferred one
                first.
            compute_units: where Core ML may run: "all", "cpu_only", "cpu_and_gpu" or "cpu_and_ne".
            threads: onnxruntime's and OpenVINO's; their own choice if 0.
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
                is missing or was changed; HubError if a hub does not give it.
            VerificationError: "auto" found nothing that computes what it should.
        """
        if "/" in runtime:
            if model != DEFAULT_MODEL:
                raise OptionError(
                    f"{one_line(runtime)} is a model, and model={one_line(os.fspath(model))} is "
                    'given too: name a runtime, such as "onnx", or leave model out'
                )
            runtime, model = "auto", runtime
        options = RuntimeOptions(
            device=device,
            providers=providers,
            compute_units=compute_units,
            threads=threads,
            on_progress=on_progress or no_progress,
        )
        return cls._open(
            runtime,
            model,
            precision,
            public_key=public_key,
            options=options,
            hub=DEFAULT_HUB,
            text_cache=text_cache,
        )

    @classmethod
    def from_pretrained(
        cls,
        model: str | os.PathLike[str],
        *,
        runtime: str = "auto",
        precision: str | None = None,
        revision: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
        token: str | bool | None = None,
        device: str | None = None,
        providers: Sequence[str] = (),
        compute_units: str = "all",
        threads: int = 0,
        text_cache: bool = True,
        public_key: str | os.PathLike[str] | None = None,
        on_progress: OnProgress | None = None,
    ) -> SamClip:
        """Opens a model of a hub: `SamClip.from_pretrained("org/name")`.

        The manifest comes first, then the files of the chosen runtime and precision, no others.
        Each has the sha256 that the manifest states before it is used. What a cut download leaves
        is gone on with. Later loads ask the hub for nothing but the revision's commit, and work
        without a network; of a revision that is a commit, they ask nothing.

        Args:
            model: `org/name` or `org/name@revision`; also what `load` takes. A folder or a .zip of
                that very name here wins.
            runtime: see `load`.
            precision: see `load`.
            revision: a branch, a tag or a commit of the repository; "main" if None.
            cache_dir: where it is kept; `samclip-sdk/hub` in the user's cache if None.
            local_files_only: take what is kept there and ask nobody.
            token: with which the hub is asked; None takes the one of `hf auth login` or HF_TOKEN,
                if there is one, and False none.
            device: see `load`.
            providers: see `load`.
            compute_units: see `load`.
            threads: see `load`.
            text_cache: see `load`.
            public_key: see `load`.
            on_progress: see `load`.

        Raises:
            HubError: the hub has no such repository or revision, or it may not be read, or it
                holds no bundle.
            HubUnreachableError: the hub does not answer, and what is needed was never downloaded.
            BundleTamperedError: a file on the hub is not the one that the manifest states.
            StorageError: the cache cannot be written, or has no room.
            OptionError: a name or a revision that cannot be, and what `load` raises.
            RuntimeMissingError: huggingface_hub is not installed, and what `load` raises.
        """
        options = RuntimeOptions(
            device=device,
            providers=providers,
            compute_units=compute_units,
            threads=threads,
            on_progress=on_progress or no_progress,
        )
        hub = HubOptions(
            revision=revision,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            token=token,
        )
        return cls._open(
            runtime,
            model,
            precision,
            public_key=public_key,
            options=options,
            hub=hub,
            text_cache=text_cache,
        )

    @classmethod
    def _open(
        cls,
        runtime: str,
        model: str | os.PathLike[str],
        precision: str | None,
        *,
        public_key: str | os.PathLike[str] | None,
        options: RuntimeOptions,
        hub: HubOptions,
        text_cache: bool,
    ) -> SamClip:
        source = open_source(
            runtime,
            model=model,
            precision=precision,
            public_key=public_key,
            options=options,
            hub=hub,
        )
        return cls(source, stored_labels=StoredLabels(source.fingerprint) if text_cache else None)

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

    def embed_text(self, texts: str | Sequence[str]) -> Array:
        """Embeds texts as they are (captions, queries), without templates.

        Returns:
            float32 [K,E], unit length; the product with an image's embedding is their cosine.

        Raises:
            TextError: no text, or an empty one.
        """
        return self._engine.texts.embed_texts(check_texts(texts), clock=Stopwatch())

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
