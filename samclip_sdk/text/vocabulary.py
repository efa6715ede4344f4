"""Vocabulary packs: labels with their text embeddings, so that an app ships no text encoder.

A pack is a safetensors file: a JSON header, then raw little-endian numbers, which a few lines of
any language read. `embeddings` are float32, or int8 in a quarter of the space: then the reader
scales each row to unit length. The metadata have the labels, the model that made the embeddings,
`thresholds` if labels have their own: for each label the least presence, or null, and `read_as` if
labels are read as other words or not known: for each label null, or what an answer must tell:
`{"kind": "read_as", "words": ["hat"]}` or `{"kind": "unknown", "words": ["modem"], "cosine": 0.4}`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, Json, ValidationError

from samclip_sdk.bundle.manifest import ModelInfo
from samclip_sdk.errors import BundleError, EmbeddingMismatchError, TextError, one_line
from samclip_sdk.text.tokenizer import check_labels
from samclip_sdk.text.unit_length import find_wrong_length, normalize
from samclip_sdk.text.word_table import Reading

PackedAs: TypeAlias = Literal["float32", "int8"]

_FORMAT = "samclip labels"
_TENSOR = "embeddings"
_DTYPES = (np.float32, np.int8)
_STORED_DTYPES = ("F32", "I8")
_MAX_COSINE = 1.01  # of vectors whose length is 1 but for rounding
_MAX_HEADER_BYTES = 16 << 20  # 700,000 labels of 20 letters


class PackMetadata(BaseModel):
    """The file's metadata. `model` and `revision` name the model that made the embeddings.

    They hold no bundle id, since the bundle of an app without a text encoder has another one.
    `Vocabulary` checks labels and thresholds: pydantic would keep a kilobyte for each fault.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["samclip labels"]
    schema_version: Literal["2"]
    model: str
    revision: str
    labels: Json[tuple[Any, ...]] = Field(min_length=1)
    thresholds: Json[tuple[Any, ...]] | None = None
    read_as: Json[tuple[Any, ...]] | None = None


class Vocabulary:
    """The content of a pack.

    Args:
        metadata: the metadata of the file.
        stored: [K,E], the embeddings in the file.

    Attributes:
        model: the name of the model that made the embeddings.
        revision: the revision of that model's weights.
        labels: K of them.
        thresholds: for each label, 0..1, the presence from which it is in an image; None for the
            bundle's.
        read_as: for each label, what an answer must tell of it; None if nothing.
        matrix: their embeddings, float32 [K,E], unit length.

    Raises:
        ValueError: labels and embeddings or thresholds differ in number, or a row does not have
            unit length.
        TextError: a label is no text, or two are the same.
    """

    def __init__(self, metadata: PackMetadata, stored: NDArray[np.generic]) -> None:
        self.model, self.revision = metadata.model, metadata.revision
        self.labels: tuple[str, ...] = metadata.labels
        if stored.ndim != 2 or len(stored) != len(self.labels) or stored.dtype not in _DTYPES:
            raise ValueError(
                f"embeddings are {stored.dtype} {list(stored.shape)}, expected float32 or int8 "
                f"[{len(self.labels)}, E]"
            )
        own = metadata.thresholds
        self.thresholds: tuple[float | None, ...] = (None,) * len(self.labels)
        if own is not None:
            self.thresholds = tuple(map(_threshold, own))
        if len(self.thresholds) != len(self.labels):
            raise ValueError(f"thresholds are {len(self.thresholds)} for {len(self.labels)} labels")
        self.read_as: tuple[Reading | None, ...] = (None,) * len(self.labels)
        if metadata.read_as is not None:
            self.read_as = tuple(map(_reading, metadata.read_as))
        if len(self.read_as) != len(self.labels):
            raise ValueError(f"read_as has {len(self.read_as)} for {len(self.labels)} labels")
        rows = stored.astype(np.float32)
        self.matrix: NDArray[np.float32] = normalize(rows) if stored.dtype == np.int8 else rows
        wrong = find_wrong_length(self.matrix)
        if wrong is not None:
            raise ValueError(
                f"the embedding of label {wrong[0]} has the length {wrong[1]:.3g} where it must "
                "be 1"
            )
        check_labels(self.labels)


def _threshold(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"a threshold is {one_line(value)}; it must be from 0 to 1, or null")
    return float(value)


def _reading(value: Any) -> Reading | None:
    if value is None:
        return None
    wrong = ValueError(f"read_as has {one_line(value)}, which is not a reading of a label")
    if not isinstance(value, dict) or not set(value) <= {"kind", "words", "cosine"}:
        raise wrong
    kind, words, cosine = value.get("kind"), value.get("words"), value.get("cosine")
    if not isinstance(words, list) or not words or not all(isinstance(each, str) for each in words):
        raise wrong
    if kind == "read_as" and cosine is None:
        return Reading(kind, tuple(words))
    if kind != "unknown" or isinstance(cosine, bool) or not isinstance(cosine, int | float):
        raise wrong
    if not abs(cosine) <= _MAX_COSINE:
        raise wrong
    return Reading(kind, tuple(words), float(cosine))


def encode_vocabulary(
    labels: Sequence[str],
    *,
    embeddings: NDArray[np.float32],
    manifest: ModelInfo,
    thresholds: Sequence[float | None] = (),
    read_as: Mapping[str, Reading] = MappingProxyType({}),
    dtype: PackedAs = "float32",
) -> bytes:
    """The content of a pack with `embeddings` [K,E], unit length, one row for each label.

    `thresholds` has one for each label, or none at all; `read_as` has the labels that are read as
    other words or not known. In int8, the largest number of each row is
    127: the cosine with the float32 row stays above 0.999.
    """
    rows = embeddings
    if dtype == "int8":
        rows = np.round(127 * rows / np.abs(rows).max(axis=1, keepdims=True))
    stored = np.ascontiguousarray(rows.astype(dtype))
    metadata = {
        "format": _FORMAT,
        "schema_version": "2",
        "model": manifest.name,
        "revision": manifest.revision,
        "labels": json.dumps(list(labels), ensure_ascii=False),
    }
    if any(each is not None for each in thresholds):
        metadata["thresholds"] = json.dumps(list(thresholds))
    if any(label in read_as for label in labels):
        told = [read_as[label].to_dict() if label in read_as else None for label in labels]
        metadata["read_as"] = json.dumps(told, ensure_ascii=False)
    Vocabulary(PackMetadata.model_validate(metadata), stored)  # else it could not be read
    return _in_order(safetensors.numpy.save({_TENSOR: stored}, metadata=metadata))


def _in_order(content: bytes) -> bytes:
    """The same safetensors file with a sorted header: the package writes metadata in any order."""
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:start]), sort_keys=True, ensure_ascii=False).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[start:]


def read_vocabulary(path: str | os.PathLike[str], *, manifest: ModelInfo) -> Vocabulary:
    """Reads a pack for the model that `manifest` describes.

    Raises:
        BundleError: the file is missing or is no vocabulary pack.
        EmbeddingMismatchError: another model made it.
    """
    name = one_line(path)
    try:
        with Path(path).open("rb") as stream:
            start = stream.read(8)
    except (OSError, ValueError, TypeError) as error:  # a path with a NUL, or no path at all
        reason = (isinstance(error, OSError) and error.strerror) or one_line(error)
        raise BundleError(f"cannot read the vocabulary {name}: {reason}") from error
    header_bytes = int.from_bytes(start, "little")
    if header_bytes > _MAX_HEADER_BYTES and start.startswith((b"{", b"[")):
        raise BundleError(
            f"{name} is JSON, not a vocabulary pack: `learn --coco` makes one from a COCO file"
        )
    if header_bytes > _MAX_HEADER_BYTES:
        raise BundleError(
            f"{name} is not a vocabulary pack: its header has {header_bytes} bytes, and such have "
            f"{_MAX_HEADER_BYTES} at most"
        )
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            found = file.metadata() or {}
            if (found.get("format"), found.get("schema_version")) == (_FORMAT, "1"):
                raise ValueError(
                    "it has schema 1, which does not say what labels are read as: save it again"
                )
            metadata = PackMetadata.model_validate(found)
            dtype = file.get_slice(_TENSOR).get_dtype()
            if dtype not in _STORED_DTYPES:  # numpy does not have all that a file may hold
                raise ValueError(f"embeddings are {dtype}, expected float32 or int8")
            vocabulary = Vocabulary(metadata, file.get_tensor(_TENSOR))
    except ValidationError as error:
        first = one_line(error.errors()[0]["msg"].removeprefix("Value error, "))
        raise BundleError(f"{name} is not a vocabulary pack: {first}") from error
    except (safetensors.SafetensorError, OSError, ValueError, TextError) as error:
        raise BundleError(f"{name} is not a vocabulary pack: {one_line(error)}") from error
    made_by = (vocabulary.model, vocabulary.revision, vocabulary.matrix.shape[1])
    if made_by != (manifest.name, manifest.revision, manifest.model.embed_dim):
        theirs = one_line(f"{vocabulary.model} {vocabulary.revision}")
        raise EmbeddingMismatchError(
            f"the vocabulary {name} was made by {theirs}, this is "
            f"{manifest.name} {manifest.revision}: save it again with this model"
        )
    return vocabulary
