"""What each parser is given, as bytes, and what it promises: a SamClipError, or something sound."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np

from samclip_sdk.bundle.open import parse_manifest
from samclip_sdk.bundle.zipped import ZippedBundle
from samclip_sdk.errors import SamClipError
from samclip_sdk.image.masks import mask_to_rle, rle_to_mask
from samclip_sdk.results.image_embedding import ImageEmbedding
from samclip_sdk.text.tokenizer import Tokenizer
from samclip_sdk.text.vocabulary import read_vocabulary
from tests.fake_source import FakeSource


class Targets:
    """A method for each parser; its name is the target's.

    Args:
        folder: for the files that parsers read.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "case"
        self._manifest = FakeSource(folder).manifest

    def manifest(self, data: bytes) -> None:
        """A bundle's manifest.json."""
        with suppress(SamClipError):
            parsed = parse_manifest(data, source=Path("manifest.json"))
            assert parse_manifest(parsed.model_dump_json().encode(), source=Path("again")) == parsed

    def tokenizer(self, data: bytes) -> None:
        """A bundle's tokenizer.json, and two texts."""
        self._file.write_bytes(data)
        with suppress(SamClipError):
            tokenizer = Tokenizer(self._file, context_length=8)
            encoded = tokenizer.encode(["a dog", "犬"])
            assert encoded.ids.shape == (2, 8)

    def rle(self, data: bytes) -> None:
        """COCO's compressed RLE of a mask whose sides are the first two bytes."""
        if len(data) < 2:
            return
        with suppress(ValueError):
            mask = rle_to_mask({"size": [data[0], data[1]], "counts": data[2:]})
            assert mask.shape == (data[0], data[1])
            assert np.array_equal(rle_to_mask(mask_to_rle(mask)), mask)

    def pack(self, data: bytes) -> None:
        """A vocabulary pack."""
        self._file.write_bytes(data)
        with suppress(SamClipError):
            found = read_vocabulary(self._file, manifest=self._manifest)
            assert found.matrix.shape == (len(found.labels), self._manifest.model.embed_dim)
            assert np.isfinite(found.matrix).all()

    def embedding(self, data: bytes) -> None:
        """A saved image embedding."""
        self._file.write_bytes(data)
        with suppress(SamClipError):
            found = ImageEmbedding.load(self._file)
            assert np.isfinite(found.image_tokens).all()
            assert np.isfinite(found.image_embeddings).all()

    def zipped(self, data: bytes) -> None:
        """A zipped bundle, as far as its manifest."""
        self._file.write_bytes(data)
        with suppress(SamClipError):
            assert isinstance(ZippedBundle(self._file).manifest, bytes)


TARGETS = ("manifest", "tokenizer", "rle", "pack", "embedding", "zipped")
