"""Embeds texts and labels, each once: embeddings of unit length."""

from __future__ import annotations

import hashlib
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.errors import UnknownWordWarning
from samclip_sdk.runtimes.session import Session, run_graph
from samclip_sdk.system.own_process import OwnProcess
from samclip_sdk.system.recent import Recent
from samclip_sdk.system.timing import Stopwatch
from samclip_sdk.system.user_warning import warn_user
from samclip_sdk.text.known_words import KnownWords
from samclip_sdk.text.stored_labels import StoredLabels
from samclip_sdk.text.tokenizer import MAX_LETTERS, TokenIds, Tokenizer, clean_text
from samclip_sdk.text.unit_length import normalize

Array = NDArray[np.float32]

RECENT_BYTES = 32 << 20
"""Room for 10,000 embeddings of CLIP ViT-L, for texts and for labels each."""

_ENTRY_BYTES = 400  # about the size of a dictionary's slot, an array's and a text's header


@dataclass(frozen=True)
class GivenLabel:
    """What a label was given by examples or by a vocabulary pack.

    Attributes:
        embedding: [E], unit length.
        threshold: 0..1, the presence from which the label is in an image; None for the bundle's.
    """

    embedding: Array
    threshold: float | None


class TextEmbedder:
    """Runs the text encoder on texts and labels that were not embedded before.

    Each text or label is encoded alone. So its embedding never depends, to the last bit, on which
    others were asked now or before. It is cleaned as CLIP cleans it, so that two spellings of one
    label have one embedding. Any number of threads may ask; one at a time computes.

    Args:
        session: opens the text_encoder, or returns it; called when it first has to run.
        tokenizer: opens the same model's tokenizer; called when there is a first text.
        templates: the prompts of a label, with {} in its place.
        known: the words that the model was taught; None if its bundle does not tell.
        stored: the embeddings of labels on disk, for later processes; None stores nothing.
    """

    def __init__(
        self,
        session: Callable[[], Session],
        *,
        tokenizer: Callable[[], Tokenizer],
        templates: Sequence[str],
        known: Callable[[], KnownWords | None] = lambda: None,
        stored: StoredLabels | None = None,
    ) -> None:
        self._session = session
        self._open_tokenizer = tokenizer
        self._templates = tuple(templates)
        self._stored = stored
        self._known = known
        self._given: dict[str, GivenLabel] = {}
        self._texts: Recent[Array] = Recent(limit_bytes=RECENT_BYTES)
        self._labels: Recent[Array] = Recent(limit_bytes=RECENT_BYTES)
        self._opened_tokenizer: Tokenizer | None = None
        self._turn, self._learning = threading.Lock(), threading.Lock()
        self._process = OwnProcess()

    def learn(
        self, labels: Sequence[str], embeddings: Array, *, thresholds: Sequence[float | None] = ()
    ) -> None:
        """Takes the embeddings [K,E] of labels, which then need no text encoder any more.

        Args:
            labels: K of them.
            embeddings: [K,E], unit length.
            thresholds: K of them, None for the bundle's; or none at all.
        """
        cleaned = [clean_text(label) for label in labels]
        given = map(GivenLabel, embeddings, thresholds or [None] * len(labels))
        with self._learning:
            # A new dictionary, since other threads may be reading the old one.
            self._given = {**self._given, **dict(zip(cleaned, given, strict=True))}

    def own_thresholds(self, labels: Sequence[str]) -> list[float | None]:
        """The threshold that each label was given, or that a taught word has, else None.

        A taught word that was given another embedding is no taught word any more.
        """
        given = self._given
        cleaned = [clean_text(label) for label in labels]
        known = None if all(each in given for each in cleaned) else self._known()
        taught = {} if known is None else known.own_thresholds
        return [given[each].threshold if each in given else taught.get(each) for each in cleaned]

    def thresholds(self, labels: Sequence[str], *, default: float) -> Array:
        """The threshold of each label, float32 [K]: its own, or the default."""
        own = self.own_thresholds(labels)
        return np.array([default if each is None else each for each in own], dtype=np.float32)

    def given_digests(self, labels: Sequence[str]) -> tuple[str, ...]:
        """A digest of 16 hex digits of what each label was given; "" if nothing was."""
        given = (self._given.get(clean_text(label)) for label in labels)
        return tuple("" if each is None else _digest(each) for each in given)

    def embed_labels(self, labels: Sequence[str], *, clock: Stopwatch, warn: bool = True) -> Array:
        """Embeds labels: the mean of the normalised embeddings over the templates, renormalised.

        Args:
            labels: K names of classes, from `check_texts`.
            clock: records how long the text encoder ran, if it did.
            warn: whether to warn, once for each, of labels that the model was not taught.

        Returns:
            float32 [K,E], unit length.

        Raises:
            SamClipError: this process was forked from the one that loaded the model.
        """
        self._process.check()
        given = self._given
        rows = []
        for label in labels:
            cleaned = clean_text(label)
            own = given.get(cleaned)
            known = self._labels.get(cleaned) if own is None else own.embedding
            if known is None:
                known = self._compute(
                    label, recent=self._labels, compute=self._embed_label, clock=clock
                )
                taught = self._known() if warn else None
                why = taught and taught.why_unknown(label, known)
                if why:
                    warn_user(why, UnknownWordWarning)
            rows.append(known)
        return np.stack(rows)

    def unknown_labels(self, labels: Sequence[str], *, clock: Stopwatch) -> dict[str, str]:
        """The labels that the model was not taught, each with what `embed_labels` warns of it."""
        taught, given = self._known(), self._given
        asked = [label for label in labels if clean_text(label) not in given]
        if taught is None or not asked:
            return {}
        embedded = self.embed_labels(asked, clock=clock, warn=False)
        told = map(taught.why_unknown, asked, embedded)
        return {label: why for label, why in zip(asked, told, strict=True) if why}

    def embed_texts(self, texts: Sequence[str], *, clock: Stopwatch) -> Array:
        """Embeds texts as they are: captions, queries.

        Args:
            texts: K of them, from `check_texts`.
            clock: records how long the text encoder ran, if it did.

        Returns:
            float32 [K,E], unit length.

        Raises:
            SamClipError: as `embed_labels`.
        """
        self._process.check()
        rows = []
        for text in texts:
            known = self._texts.get(clean_text(text))
            if known is None:
                known = self._compute(
                    text, recent=self._texts, compute=self._embed_text, clock=clock
                )
            rows.append(known)
        return np.stack(rows)

    def _compute(
        self,
        text: str,
        *,
        recent: Recent[Array],
        compute: Callable[[str, Stopwatch], Array],
        clock: Stopwatch,
    ) -> Array:
        """Computes an unknown embedding, one thread at a time."""
        cleaned = clean_text(text)
        with self._turn:
            known = recent.get(cleaned)  # Another thread may have computed it meanwhile.
            if known is None:
                known = compute(text, clock)
                size_bytes = sys.getsizeof(cleaned) + known.nbytes + _ENTRY_BYTES
                recent.put(cleaned, known, size_bytes=size_bytes)
            return known

    def _embed_text(self, text: str, clock: Stopwatch) -> Array:
        embeddings, cut = self._run([text], clock=clock)
        if cut:
            self._tokenizer.warn_of_cut(text)
        embedding: Array = embeddings[0]
        return embedding

    def _embed_label(self, label: str, clock: Stopwatch) -> Array:
        cleaned = clean_text(label)
        stored = self._stored.get(cleaned) if self._stored else None
        if stored is not None:
            return stored
        prompts = [template.replace("{}", cleaned) for template in self._templates]
        embeddings, cut = self._run(prompts, clock=clock)
        embedding = normalize(embeddings.mean(axis=0))
        if cut or len(label) > MAX_LETTERS:
            # Not stored, so that every process warns about it.
            self._tokenizer.warn_of_cut(label)
        elif self._stored:
            self._stored.put(cleaned, embedding)
        return embedding

    def _run(self, texts: Sequence[str], *, clock: Stopwatch) -> tuple[Array, bool]:
        """The embeddings [K,E] of texts, and whether any was cut."""
        session, tokenizer = self._session(), self._tokenizer
        with clock.step("text_encoder"):
            encoded = tokenizer.encode(texts)
            (spec,) = session.inputs
            if isinstance(spec.shape[1], int):
                embeddings = _text_embeddings(session, encoded.ids)
            else:
                embeddings = _trimmed_embeddings(session, encoded)
        return embeddings, bool(encoded.cut.any())

    @property
    def _tokenizer(self) -> Tokenizer:
        if self._opened_tokenizer is None:
            self._opened_tokenizer = self._open_tokenizer()
        return self._opened_tokenizer


def _digest(given: GivenLabel) -> str:
    content = given.embedding.astype("<f4").tobytes()
    if given.threshold is not None:
        content += np.float64(given.threshold).tobytes()
    return hashlib.sha256(content).hexdigest()[:16]


def _trimmed_embeddings(session: Session, encoded: TokenIds) -> Array:
    """Runs texts of the same length together, without the zeros that pad them.

    The zeros do not change an embedding, but cost as much as the text itself.
    """
    lengths = sorted(set(encoded.lengths.tolist()))
    groups = [np.flatnonzero(encoded.lengths == length) for length in lengths]
    found = [
        _text_embeddings(session, np.ascontiguousarray(encoded.ids[group, :length]))
        for group, length in zip(groups, lengths, strict=True)
    ]
    order = np.argsort(np.concatenate(groups))
    in_order: Array = np.concatenate(found)[order]
    return in_order


def _text_embeddings(session: Session, ids: NDArray[np.int32]) -> Array:
    return run_graph(session, {"input_ids": ids}, graph="text_encoder")["text_embeddings"]
