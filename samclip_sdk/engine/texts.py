"""Embeds texts and labels, each once: embeddings of unit length."""

from __future__ import annotations

import hashlib
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.engine.label_vectors import LabelVectors
from samclip_sdk.errors import TextError, UnknownWordWarning, one_line
from samclip_sdk.runtimes.session import Session, run_graph
from samclip_sdk.system.own_process import OwnProcess
from samclip_sdk.system.recent import Recent
from samclip_sdk.system.timing import Stopwatch
from samclip_sdk.system.user_warning import warn_user
from samclip_sdk.text.known_words import KnownWords
from samclip_sdk.text.stored_labels import StoredLabels
from samclip_sdk.text.tokenizer import MAX_LETTERS, TokenIds, Tokenizer, clean_text
from samclip_sdk.text.unit_length import normalize
from samclip_sdk.text.word_table import Reading

Array = NDArray[np.float32]

RECENT_BYTES = 32 << 20
"""Room for 10,000 embeddings of CLIP ViT-L, for texts and for labels each."""

NEVER = 2.0
"""The threshold of a label that the model does not know: no presence reaches it."""

_WARNED = 3  # labels that a warning names
_FAR = (
    0.35  # cosine to the nearest taught word: below it a label is in another language, or is none
)

_ENTRY_BYTES = 400  # about the size of a dictionary's slot, an array's and a text's header


@dataclass(frozen=True)
class GivenLabel:
    """What a label was given by examples or by a vocabulary pack.

    Attributes:
        embedding: [E], unit length.
        threshold: 0..1, the presence from which the label is in an image; None for the bundle's.
        read_as: what an answer must tell of the label, from a pack; None if nothing.
    """

    embedding: Array
    threshold: float | None
    read_as: Reading | None = None


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
        self._warned: set[str] = set()
        self._texts: Recent[Array] = Recent(limit_bytes=RECENT_BYTES)
        self._labels: Recent[Array] = Recent(limit_bytes=RECENT_BYTES)
        self._opened_tokenizer: Tokenizer | None = None
        self._turn, self._learning = threading.Lock(), threading.Lock()
        self._process = OwnProcess()

    def learn(
        self,
        labels: Sequence[str],
        embeddings: Array,
        *,
        thresholds: Sequence[float | None] = (),
        read_as: Sequence[Reading | None] = (),
    ) -> None:
        """Takes the embeddings [K,E] of labels, which then need no text encoder any more.

        Args:
            labels: K of them.
            embeddings: [K,E], unit length.
            thresholds: K of them, None for the bundle's; or none at all.
            read_as: what answers must tell of them, None for nothing; or none at all.
        """
        cleaned = [clean_text(label) for label in labels]
        none = [None] * len(labels)
        given = map(GivenLabel, embeddings, thresholds or none, read_as or none)
        with self._learning:
            # A new dictionary, since other threads may be reading the old one.
            self._given = {**self._given, **dict(zip(cleaned, given, strict=True))}

    def read(self, labels: Sequence[str], *, clock: Stopwatch) -> dict[str, Reading]:
        """What the model takes each label for, by what it was given, was taught, and its table.

        Empty if the model does not tell its words: then every text speaks for itself.

        Args:
            labels: K names of classes, from `check_texts`.
            clock: records how long the text encoder ran, if it did: for labels that are not known.
        """
        given = self._given
        cleaned = {label: clean_text(label) for label in labels}
        known = None if all(each in given for each in cleaned.values()) else self._known()
        readings = {}
        for label, name in cleaned.items():
            if name in given:
                readings[label] = given[name].read_as or Reading("taught", (label,))
            elif known is not None and known.table is not None:
                found = known.read(name)
                readings[label] = found or known.unknown(self._own_embedding(label, clock))
        return readings

    def told(self, labels: Sequence[str], *, clock: Stopwatch) -> dict[str, Reading]:
        """The readings that an answer must tell: of labels that others answer for, or nothing."""
        readings = self.read(labels, clock=clock)
        return {label: each for label, each in readings.items() if each.told}

    def own_thresholds(self, labels: Sequence[str]) -> list[float | None]:
        """The threshold that each label was given, or that a taught word has, else None.

        A taught word that was given another embedding is no taught word any more. Of several words
        that answer for a label the highest counts. A label that is not known has none.
        """
        given = self._given
        readings = self.read(labels, clock=Stopwatch())
        known = None if all(clean_text(each) in given for each in labels) else self._known()
        taught = {} if known is None else known.own_thresholds
        found: list[float | None] = []
        for label in labels:
            cleaned = [clean_text(word) for word in self._words(label, readings)]
            own = [given[each].threshold if each in given else taught.get(each) for each in cleaned]
            found.append(max((each for each in own if each is not None), default=None))
        return found

    def thresholds(
        self, labels: Sequence[str], *, default: float, allow_unknown: bool = True
    ) -> Array:
        """The threshold of each label, float32 [K]: its own, or the default.

        Without `allow_unknown` that of a label that the model does not know is `NEVER`.
        """
        own = [default if each is None else each for each in self.own_thresholds(labels)]
        if not allow_unknown:
            readings = self.read(labels, clock=Stopwatch())
            unknown = [label in readings and readings[label].kind == "unknown" for label in labels]
            own = [NEVER if never else each for each, never in zip(own, unknown, strict=True)]
        return np.array(own, dtype=np.float32)

    def given_digests(self, labels: Sequence[str]) -> tuple[str, ...]:
        """A digest of 16 hex digits of what each label was given; "" if nothing was."""
        given = (self._given.get(clean_text(label)) for label in labels)
        return tuple("" if each is None else _digest(each) for each in given)

    def embed_labels(self, labels: Sequence[str], *, clock: Stopwatch) -> LabelVectors:
        """Embeds labels as they are read: by the words that answer for them, or by themselves.

        Warns once of labels that are read as others or not known, all of a call in one warning.

        Args:
            labels: K names of classes, from `check_texts`.
            clock: records how long the text encoder ran, if it did.

        Raises:
            SamClipError: this process was forked from the one that loaded the model.
        """
        self._process.check()
        readings = self.read(labels, clock=clock)
        self._warn(readings)
        groups = []
        for label in labels:
            groups.append(self.own_embeddings(self._words(label, readings), clock=clock))
        return LabelVectors.joined(groups)

    def embed_single_labels(self, labels: Sequence[str], *, clock: Stopwatch) -> Array:
        """Embeds labels as `embed_labels`, one vector for each: float32 [K,E].

        Raises:
            TextError: several words answer for a label.
            SamClipError: as `embed_labels`.
        """
        for label, reading in self.told(labels, clock=clock).items():
            if len(self._words(label, {label: reading})) > 1:
                raise TextError(
                    f"{one_line(label, limit=60)!r} is any of {', '.join(reading.words)}, and has "
                    "no embedding of its own: give these labels"
                )
        return self.embed_labels(labels, clock=clock).rows

    def own_embeddings(self, labels: Sequence[str], *, clock: Stopwatch) -> Array:
        """Embeds labels by themselves, whatever they are read as: float32 [K,E], unit length.

        That is what a label was given, or else the mean of the normalised embeddings over the
        templates, renormalised.

        Raises:
            SamClipError: as `embed_labels`.
        """
        self._process.check()
        return np.stack([self._own_embedding(label, clock) for label in labels])

    def _words(self, label: str, readings: Mapping[str, Reading]) -> tuple[str, ...]:
        """The words whose embeddings answer for a label, or the label for itself."""
        reading = readings.get(label)
        if reading is None or reading.kind == "unknown" or clean_text(label) in self._given:
            return (label,)
        return reading.words

    def _own_embedding(self, label: str, clock: Stopwatch) -> Array:
        given = self._given.get(clean_text(label))
        if given is not None:
            return given.embedding
        return self._compute(label, recent=self._labels, compute=self._embed_label, clock=clock)

    def _warn(self, readings: Mapping[str, Reading]) -> None:
        """Warns of labels that it did not warn of before, in one line for any number."""
        fresh = {
            label: each
            for label, each in readings.items()
            if each.told and clean_text(label) not in self._warned
        }
        if not fresh:
            return
        self._warned |= {clean_text(label) for label in fresh}
        worst = sorted(fresh.items(), key=lambda item: item[1].kind != "unknown")
        shown = [describe(label, each) for label, each in worst[:_WARNED]]
        more = f"; and {len(fresh) - _WARNED} more" if len(fresh) > _WARNED else ""
        warn_user("; ".join(shown) + more + ": see read_as of the result", UnknownWordWarning)

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
                try:
                    known = compute(text, clock)
                except TextError as error:  # there is no text encoder
                    raise TextError(f"{one_line(text, limit=60)!r} is not known: {error}") from None
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


def describe(label: str, reading: Reading) -> str:
    """One clause on a label that is read as another, or is not known."""
    shown, words = one_line(label, limit=60), ", ".join(map(repr, reading.words))
    if reading.kind == "read_as":
        several = "any of " if len(reading.words) > 1 else ""
        return f"{shown!r} is read as {several}{words}"
    cosine = reading.cosine or 0.0
    hint = ", and far: words are English" if cosine < _FAR else ""
    return f"{shown!r} is not known; the nearest taught word is {words} ({cosine:.2f}{hint})"


def _digest(given: GivenLabel) -> str:
    content = given.embedding.astype("<f4").tobytes()
    if given.read_as is not None:
        content += repr(given.read_as).encode()
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
