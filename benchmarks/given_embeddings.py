"""Embeddings of labels that another text encoder made, given to a model."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from samclip_sdk import SamClip
from samclip_sdk.text.vocabulary import encode_vocabulary


def give_embeddings(
    samclip: SamClip, labels: Sequence[str], embeddings: NDArray[np.float32]
) -> None:
    """Gives a model the embeddings [K,E] of K labels, so that its text encoder need not run."""
    content = encode_vocabulary(labels, embeddings=embeddings, manifest=samclip.manifest)
    with tempfile.TemporaryDirectory() as folder:
        pack = Path(folder) / "vocabulary.safetensors"
        pack.write_bytes(content)
        samclip.load_vocabulary(pack)
