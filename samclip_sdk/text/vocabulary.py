"""Vocabulary packs: labels with their text embeddings, so that an app ships no text encoder.

A pack is one JSON file that any language can read; `embeddings` is base64, row by row, of
little-endian float32, or of int8 in a quarter of the space: then each row is to be brought to unit
length.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from samclip_sdk.bundle.manifest import ModelInfo
from samclip_sdk.errors import BundleError, EmbeddingMismatchError, TextError, one_line
from samclip_sdk.text.tokenizer import check_labels, normalize

PackedAs: TypeAlias = Literal["float32", "int8"]

_STORED: dict[PackedAs, str] = {"float32": "<f4", "int8": "i1"}
_LENGTH_TOLERANCE = 1e-3


class Vocabulary(BaseModel):
    """The file's schema. `model` and `revision` say whose text encoder made the embeddings.

    Not the bundle's id: the bundle of an app without a text encoder has another.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    model: str
    revision: str
    embed_dim: int = Field(gt=0)
    dtype: PackedAs = "float32"
    labels: tuple[str, ...] = Field(min_length=1)
    embeddings: str

    @model_validator(mode="after")
    def _check(self) -> Vocabulary:
        try:
            size = len(base64.b64decode(self.embeddings, validate=True))
        except ValueError as error:  # binascii.Error too
            raise ValueError(f"embeddings are not base64: {error}") from error
        expected = np.dtype(_STORED[self.dtype]).itemsize * self.embed_dim * len(self.labels)
        if size != expected:
            raise ValueError(f"embeddings hold {size} bytes, expected {expected}")
        lengths = np.linalg.norm(self.matrix().astype(np.float64), axis=1)
        wrong = np.flatnonzero(~(np.abs(lengths - 1) <= _LENGTH_TOLERANCE))
        if len(wrong):
            raise ValueError(
                f"the embedding of label {wrong[0]} has the length {lengths[wrong[0]]:.3g} where "
                "it must be 1"
            )
        try:
            check_labels(self.labels)
        except TextError as error:
            raise ValueError(str(error)) from error
        return self

    def matrix(self) -> NDArray[np.float32]:
        """The embeddings, float32 [K,E], unit length."""
        flat = np.frombuffer(base64.b64decode(self.embeddings), dtype=_STORED[self.dtype])
        rows = flat.reshape(len(self.labels), self.embed_dim).astype(np.float32)
        return normalize(rows) if self.dtype == "int8" else rows


def encode_vocabulary(
    labels: Sequence[str],
    *,
    embeddings: NDArray[np.float32],
    manifest: ModelInfo,
    dtype: PackedAs = "float32",
) -> bytes:
    """The content of a pack with `embeddings` [K,E], unit length, one row for each label.

    In int8, the largest number of each row is 127: the cosine with what was packed stays above
    0.999.
    """
    rows = embeddings
    if dtype == "int8":
        rows = np.round(127 * rows / np.abs(rows).max(axis=1, keepdims=True))
    vocabulary = Vocabulary(
        model=manifest.name,
        revision=manifest.revision,
        embed_dim=embeddings.shape[1],
        labels=tuple(labels),
        dtype=dtype,
        embeddings=base64.b64encode(rows.astype(_STORED[dtype]).tobytes()).decode("ascii"),
    )
    return vocabulary.model_dump_json(indent=1).encode("utf-8")


def read_vocabulary(path: str | os.PathLike[str], *, manifest: ModelInfo) -> Vocabulary:
    """Reads a pack for the model that `manifest` describes.

    Raises:
        BundleError: the file is missing or is no vocabulary pack.
        EmbeddingMismatchError: another model made it.
    """
    name = one_line(path)
    try:
        content = Path(path).read_bytes()
    except (OSError, ValueError, TypeError) as error:  # a path with a NUL, or none at all
        reason = (isinstance(error, OSError) and error.strerror) or one_line(error)
        raise BundleError(f"cannot read the vocabulary {name}: {reason}") from error
    try:
        vocabulary = Vocabulary.model_validate_json(content)
    except ValidationError as error:
        first = one_line(error.errors()[0]["msg"].removeprefix("Value error, "))
        raise BundleError(f"{name} is not a vocabulary pack: {first}") from error
    made_by = (vocabulary.model, vocabulary.revision, vocabulary.embed_dim)
    if made_by != (manifest.name, manifest.revision, manifest.model.embed_dim):
        theirs = one_line(f"{vocabulary.model} {vocabulary.revision}")
        raise EmbeddingMismatchError(
            f"the vocabulary {name} was made by {theirs}, this is "
            f"{manifest.name} {manifest.revision}: save it again with this model"
        )
    return vocabulary
