"""Distillation of the text teacher, and of the lexicon, into the text encoder that ships."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from samclip_sdk.modeling.bert_text_encoder import BertTextEncoder
from samclip_sdk.text.tokenizer import Tokenizer
from training.tasks.tasks import Task
from training.teachers.text_teacher import TextTeacher
from training.text.phrases import TEMPLATES, named_in

GOOD_COSINE = 0.95
_QUALITY = 0.5  # of what the teacher makes of a name with a quality, beside the name's own
_POOL = 8  # batches whose texts are sorted by length together
_BATCH = 256  # texts that are embedded at a time
_ROWS = 8192  # sentences that the teacher maps at a time


@dataclass(frozen=True)
class TaughtTexts:
    """Texts with what MiniLM makes of them, and what they are to become.

    Attributes:
        ids: int32 [N,L], zeros behind each text.
        sentences: float [M,384], unit length, of all but the words of the lexicon.
        aims: float [N,E], unit length; the last N - M are those of words of the lexicon.
    """

    ids: NDArray[np.int32]
    sentences: Tensor
    aims: Tensor

    @classmethod
    @torch.no_grad()
    def of(
        cls, texts: Sequence[str], tokenizer: Tokenizer, *, sentences: Tensor, teacher: TextTeacher
    ) -> TaughtTexts:
        """Texts whose sentences are known, as the teacher embeds them."""
        aims = [teacher(part.float()).half() for part in torch.split(sentences, _ROWS)]
        return cls(tokenizer.encode(texts).ids, sentences, torch.cat(aims))

    def and_names(self, names: Mapping[str, Tensor], tokenizer: Tokenizer) -> TaughtTexts:
        """These, and names [E] in every template of the corpus."""
        texts = [template.replace("{}", name) for template in TEMPLATES for name in names]
        aims = torch.stack([*names.values()]).half().repeat(len(TEMPLATES), 1)
        return TaughtTexts(
            np.concatenate([self.ids, tokenizer.encode(texts).ids]),
            self.sentences,
            torch.cat([self.aims, aims]),
        )

    def with_names(self, texts: Sequence[str], names: Mapping[str, Tensor]) -> TaughtTexts:
        """These, as `texts`, with the aims [E] of names where they are of one.

        Where a quality stands before the name, some of what the teacher has remains.
        """
        aims = self.aims.float().clone()
        for row, text in enumerate(texts):
            if (found := named_in(text, names)) is not None:
                name, has_quality = found
                aims[row] = names[name] + (_QUALITY * aims[row] if has_quality else 0)
        return TaughtTexts(self.ids, self.sentences, F.normalize(aims, dim=-1).half())

    @property
    def corpus(self) -> int:
        """The number of texts that are no names."""
        return len(self.sentences)

    def token_counts(self, vocab_size: int) -> Tensor:
        """Returns the count of each token, without padding: float [V]."""
        counts = torch.from_numpy(np.bincount(self.ids.ravel(), minlength=vocab_size)).float()
        counts[0] = 0
        return counts

    def rows(self, rows: NDArray[np.int64]) -> dict[str, Tensor]:
        """Some texts, padded to the longest of them: `ids` [B,l], `sentences`, `aims` [B,E].

        The sentences of names are zeros: what MiniLM makes of them does not matter.
        """
        ids = self.ids[rows]
        longest = int((ids != 0).sum(axis=1).max())
        chosen = torch.from_numpy(rows)
        sentences = torch.zeros(len(rows), self.sentences.shape[1])
        known = chosen < self.corpus
        sentences[known] = self.sentences[chosen[known]].float()
        return {
            "ids": torch.from_numpy(ids[:, :longest].copy()),
            "sentences": sentences,
            "aims": self.aims[chosen].float(),
        }


class TextBatches(Dataset[dict[str, Tensor]]):
    """Batches of random texts of about one length, by index.

    Args:
        batch: texts in a batch.
        names_share: share of the texts that are names.
        often: int64, the numbers of names that are drawn more often.
        often_share: share of the drawn names that are of these.
    """

    def __init__(
        self,
        texts: TaughtTexts,
        *,
        batch: int,
        seed: int,
        names_share: float = 0.0,
        often: NDArray[np.int64] | None = None,
        often_share: float = 0.0,
    ) -> None:
        self.texts = texts
        self.batch = batch
        self.seed = seed
        self.names_share = names_share
        self.often = often
        self.often_share = often_share

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        pool, offset = divmod(index, _POOL)
        rng = np.random.default_rng([self.seed, pool])
        size, corpus = _POOL * self.batch, self.texts.corpus
        rows = rng.integers(corpus, size=size)
        if self.names_share:
            weights = np.array(list(TEMPLATES.values())) / sum(TEMPLATES.values())
            words = (len(self.texts.ids) - corpus) // len(TEMPLATES)
            template = rng.choice(len(TEMPLATES), p=weights, size=size)
            name = rng.integers(words, size=size)
            if self.often is not None and self.often_share:
                often = rng.random(size) < self.often_share
                name = np.where(often, rng.choice(self.often, size=size), name)
            names = corpus + template * words + name
            rows = np.where(rng.random(size) < self.names_share, names, rows)
        by_length = np.argsort((self.texts.ids[rows] != 0).sum(axis=1), kind="stable")
        turn = rng.permutation(_POOL)[offset]
        return self.texts.rows(rows[by_length[turn * self.batch :][: self.batch]])


class HeldOutTexts(Dataset[dict[str, Tensor]]):
    """Held-out texts in their order, by index, beginning again after the last."""

    def __init__(self, texts: TaughtTexts, *, batch: int) -> None:
        self.texts = texts
        self.batch = batch

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rows = np.arange(index * self.batch, (index + 1) * self.batch) % len(self.texts.ids)
        return self.texts.rows(rows)


class TextEncoderTask(Task):
    """1 - cosine, to the embedding that is aimed at and to the sentence that it comes from."""

    losses = ("cosine",)
    metrics = ("cosine", "good")

    def __init__(
        self,
        encoder: BertTextEncoder,
        teacher: TextTeacher,
        dataset: Dataset[dict[str, Tensor]],
        *,
        validation: Dataset[dict[str, Tensor]],
    ) -> None:
        super().__init__(dataset, {"text_encoder": encoder}, validation=validation)
        self.encoder = encoder
        self.teacher = teacher

    def forward(self, batch: dict[str, Tensor], *, loss: str, step: int) -> Tensor:
        """The mean distance from the aims."""
        sentences = self.encoder.sentences(batch["ids"]).float()
        embeddings = self.encoder.project(sentences)
        far = 1 - (embeddings * batch["aims"]).sum(dim=1).mean()
        known = batch["sentences"].any(dim=1)
        apart: Tensor = 1 - F.cosine_similarity(
            self.teacher.centre(sentences), self.teacher.centre(batch["sentences"])
        )
        total: Tensor = far + (apart * known).sum() / known.sum().clamp(1)
        return total

    def count_images(self, batch: dict[str, Tensor]) -> int:
        """Returns the number of texts in a batch."""
        return len(batch["ids"])

    def measure(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Each text's cosine with what is aimed at, and whether it is at least .95."""
        cosines = (self.encoder(batch["ids"]) * batch["aims"]).sum(dim=1)
        return {"cosine": cosines, "good": (cosines >= GOOD_COSINE).float()}


@torch.no_grad()
def far_names(encoder: BertTextEncoder, texts: TaughtTexts, *, below: float) -> NDArray[np.int64]:
    """The numbers of the names whose cosine with what they are to become is lower, by an encoder.

    Each is asked in one template.
    """
    words = (len(texts.ids) - texts.corpus) // len(TEMPLATES)
    rows = np.arange(texts.corpus, texts.corpus + words)
    found = []
    for part in np.array_split(rows, max(1, words // _BATCH)):
        batch = texts.rows(part)
        cosines = (encoder(batch["ids"]) * batch["aims"]).sum(dim=1)
        found.append((cosines < below).numpy())
    return np.flatnonzero(np.concatenate(found))


@torch.no_grad()
def measure_cosines(task: TextEncoderTask, texts: TaughtTexts) -> dict[str, float]:
    """Each metric's mean over all of some texts, in fp32, and how many they are."""
    task.eval()
    batches = HeldOutTexts(texts, batch=256)
    found = [task.measure(batches[index]) for index in range(-(-len(texts.ids) // 256))]
    means = {
        name: torch.cat([each[name] for each in found])[: len(texts.ids)].mean().item()
        for name in task.metrics
    }
    return {"texts": len(texts.ids), **{name: round(mean, 5) for name, mean in means.items()}}
