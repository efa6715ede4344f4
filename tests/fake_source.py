"""A model source without a model: its answers are simple enough to know in advance.

An image shows the labels of `WHERE`; a patch's embedding is its label's text embedding. The mask
decoder draws the inside of a box, a disc around the first point, or the mask prompt as it is.
Every row of an answer depends on its own row of the feed only.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from samclip_sdk.bundle.contract import contract_graphs
from samclip_sdk.bundle.manifest import Calibration, ImageSpec, ModelInfo, Task, Tasks, TextSpec
from samclip_sdk.client import SamClip
from samclip_sdk.runtimes.session import Arrays
from samclip_sdk.text import tokenizer as text
from tests.example_bundle import CONFIG
from tests.fake_session import FakeSession

EMBED_DIM = 256
GRID, SIDE, RESOLUTION = 4, 16, 64
TEMPLATE = "a photo of a {}."
# Rows and columns of the 4 x 4 patches; the lowest row of a 50 x 100 image is padding.
WHERE = {"dog": (slice(0, 2), slice(0, 2)), "cat": (slice(0, 1), slice(2, 4))}


class FakeSource:
    """Counts what it is asked: `sessions` by graph, each with its feeds."""

    runtime = "fake"
    precision = "fp32"
    nouns_path: Path | None = None
    words_path: Path | None = None

    def __init__(self, folder: Path, *, model_id: str = "fake", revision: str = "1") -> None:
        self.id = model_id
        self.tokenizer_path = folder / "tokenizer.json"
        write_tokenizer(self.tokenizer_path)
        config = CONFIG.model_copy(update={"embed_dim": EMBED_DIM})
        self.manifest = ModelInfo(
            name="fake",
            revision=revision,
            model=config,
            image=ImageSpec(patch_size=16),
            tasks=Tasks(
                segmentation=Task(resolution=64),
                classification=Task(resolution=32, crop="center_crop"),
            ),
            text=TextSpec(context_length=77, templates=(TEMPLATE,), logit_scale=50),
            calibration=Calibration(
                scale=20,
                bias=0.5,
                mask_threshold_score=0.5,
                presence_threshold=0.5,
                head_only_threshold=0.6,
            ),
            provenance={},
        )
        self.sessions: dict[str, FakeSession] = {}
        self._specs = contract_graphs(config, resolutions=(32, 64))

    def session(self, graph: str) -> FakeSession:
        answers = {
            "clip_head": self._clip_head,
            "text_encoder": lambda feed: {"text_embeddings": text_vectors(feed["input_ids"])},
            "prompt_encoder": encode_prompts,
            "mask_decoder": decode_masks,
        }
        answer = answers.get(graph.partition("@")[0])
        self.sessions[graph] = FakeSession(self._specs[graph], answer=answer)
        return self.sessions[graph]

    def runs(self, graph: str) -> int:
        return len(self.sessions[graph].feeds) if graph in self.sessions else 0

    def _clip_head(self, feed: Arrays) -> Arrays:
        grid = feed["token_mask"].shape[-1]
        patches = np.tile(self.vector("nothing at all"), (grid, grid, 1))
        for label, (rows, columns) in WHERE.items():
            patches[rows, columns] = self.vector(label)
        return {
            "patch_embeddings": patches.reshape(1, -1, EMBED_DIM),
            "image_embedding": self.vector("dog")[None],
        }

    def vector(self, label: str) -> np.ndarray:
        tokenize = text.Tokenizer(self.tokenizer_path, context_length=77)
        return text_vectors(tokenize([TEMPLATE.replace("{}", label)]))[0]


class HeadsDiffer(FakeSource):
    """Its image embedding tells images apart."""

    def _clip_head(self, feed: Arrays) -> Arrays:
        vector = np.resize(feed["image_tokens"], EMBED_DIM)
        return {
            **super()._clip_head(feed),
            "image_embedding": (vector / np.linalg.norm(vector)).astype(np.float32)[None],
        }


def fake_client(folder: Path, **identity: str) -> tuple[SamClip, FakeSource]:
    source = FakeSource(folder, **identity)
    return SamClip(source), source


def write_tokenizer(path: Path) -> None:
    """Letters, start and end. The ids have no gaps: tokenizers before 0.21 print about them."""
    letters = [chr(code) for code in range(32, 127) if chr(code) != "?"]
    vocab = {token: index for index, token in enumerate(["?", "<start>", "<end>", *letters])}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", behavior="isolated")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 1), ("<end>", 2)]
    )
    tokenizer.enable_truncation(77)
    tokenizer.enable_padding(length=77, pad_id=0, pad_token="?")
    tokenizer.save(str(path))


def text_vectors(input_ids: np.ndarray) -> np.ndarray:
    """A unit vector for each text, far from every other's."""
    vectors = np.stack([np.random.default_rng(ids).standard_normal(EMBED_DIM) for ids in input_ids])
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def encode_prompts(feed: Arrays) -> Arrays:
    """Each point and its label, and the mask prompt; the next channel tells whether there is one.

    16 channels of 4 x 4 hold all 16 x 16 values of a mask.
    """
    labels = feed["point_labels"]
    sparse = np.zeros((*labels.shape, 32), np.float32)
    sparse[..., :2], sparse[..., 2] = feed["point_coords"], labels
    dense = np.zeros((len(labels), 32, GRID, GRID), np.float32)
    masks = feed["mask_input"].reshape(-1, GRID, 4, GRID, 4)
    dense[:, :16] = masks.transpose(0, 2, 4, 1, 3).reshape(-1, 16, GRID, GRID)
    dense[:, 16] = feed["has_mask_input"][:, None, None]
    return {
        "sparse_embeddings": sparse,
        "sparse_mask": (labels != -2).astype(np.float32),
        "dense_embeddings": dense,
    }


def draw(coords: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Logits [16,16]: 5 inside the box, or within 10 pixels of the first point, else -5."""
    y, x = np.mgrid[:SIDE, :SIDE] * 4 + 1.5
    if (labels == 2).any():
        (x0, y0), (x1, y1) = coords[labels == 2][0], coords[labels == 3][0]
        inside = (x >= x0) & (x < x1) & (y >= y0) & (y < y1)
    else:
        px, py = coords[labels == 1][0]
        inside = np.hypot(x - px, y - py) < 10
    return np.where(inside, 5, -5).astype(np.float32)


def decode_masks(feed: Arrays) -> Arrays:
    """The drawing of each prompt, a little surer with each mask token."""
    dense, sparse = feed["dense_embeddings"], feed["sparse_embeddings"]
    masks = dense[:, :16].reshape(-1, 4, 4, GRID, GRID).transpose(0, 3, 1, 4, 2)
    drawings = [
        mask.reshape(SIDE, SIDE) if given else draw(points[:, :2], points[:, 2])
        for mask, given, points in zip(masks, dense[:, 16, 0, 0], sparse, strict=True)
    ]
    drawing = np.stack(drawings)[:, None]
    tokens = np.arange(4, dtype=np.float32)
    return {
        "low_res_masks": drawing + tokens[:, None, None] / 10,
        "iou_predictions": np.tile(0.6 + tokens / 10, (len(drawing), 1)).astype(np.float32),
    }


def sample_image(height: int = 50, width: int = 100) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([x % 256, y % 256, (x + y) % 256], axis=-1).astype(np.uint8)


def write_image(path: Path) -> Path:
    assert cv2.imwrite(str(path), sample_image())
    return path
