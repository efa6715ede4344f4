"""Distillation of texts: which are read when, and what is learned of the teacher."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from samclip_sdk.modeling.bert_text_encoder import BertTextEncoder
from samclip_sdk.modeling.config import BertTextConfig
from tests.training.equal_batches import check_reproducible
from training.tasks.text_encoder import (
    HeldOutTexts,
    TaughtTexts,
    TextBatches,
    TextEncoderTask,
    far_names,
    measure_cosines,
)
from training.teachers.text_encoder_file import make_tokenizer
from training.teachers.text_teacher import ClassifierSpace, TextTeacher
from training.text.phrases import TEMPLATES

TEXTS, LENGTH, EMBED_DIM = 96, 12, 6
CONFIG = BertTextConfig(
    context_length=LENGTH,
    vocab_size=60,
    num_heads=4,
    depth=1,
    mlp_dim=16,
    embedding_width=8,
    hidden_dim=32,
)


@pytest.fixture(scope="module")
def texts() -> TaughtTexts:
    rng = np.random.default_rng(0)
    ids = np.zeros((TEXTS, LENGTH), dtype=np.int32)
    for row, length in enumerate(rng.integers(3, LENGTH + 1, size=TEXTS)):
        ids[row, :length] = rng.integers(1, 60, size=length)
    sentences = F.normalize(
        torch.randn(TEXTS, 384, generator=torch.Generator().manual_seed(1)), dim=-1
    ).half()
    return TaughtTexts(ids, sentences, new_teacher()(sentences.float()))


def new_teacher() -> TextTeacher:
    torch.manual_seed(2)
    space = ClassifierSpace.of(torch.randn(9, 12), embed_dim=EMBED_DIM)
    return TextTeacher(space, hidden_dim=32).requires_grad_(False)


def new_task(texts: TaughtTexts) -> TextEncoderTask:
    return TextEncoderTask(
        BertTextEncoder(CONFIG, embed_dim=EMBED_DIM),
        new_teacher(),
        TextBatches(texts, batch=16, seed=0),
        validation=HeldOutTexts(texts, batch=16),
    )


def test_eight_batches_hold_what_was_drawn_together_once(texts: TaughtTexts) -> None:
    check_reproducible(lambda seed: TextBatches(texts, batch=4, seed=seed), index=11)
    batches = TextBatches(texts, batch=4, seed=0)
    drawn = texts.sentences[np.random.default_rng([0, 1]).integers(TEXTS, size=32)].float()
    found = torch.cat([batches[index]["sentences"] for index in range(8, 16)])
    assert sorted(found[:, 0].tolist()) == sorted(drawn[:, 0].tolist())
    held_out = HeldOutTexts(texts, batch=40)  # in order, and round again
    found = torch.cat([held_out[index]["sentences"] for index in range(3)])
    assert torch.equal(found, torch.cat([texts.sentences, texts.sentences[:24]]).float())


def test_it_learns_the_teachers_embeddings(texts: TaughtTexts) -> None:
    task = new_task(texts)
    before = measure_cosines(task, texts)
    assert before["texts"] == TEXTS
    task.train()
    optimizer = torch.optim.AdamW(task.parts.parameters(), lr=3e-3)
    for step in range(40):
        loss = task(task.dataset[step], loss="cosine", step=step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    after = measure_cosines(task, texts)
    assert after["cosine"] > before["cosine"] + 0.3
    assert after["good"] >= before["good"]


def test_the_loss_is_nothing_where_it_is_the_teacher(texts: TaughtTexts) -> None:
    task = new_task(texts)
    batch = task.dataset[0]
    task.encoder.sentences = lambda ids: batch["sentences"]
    task.encoder.mlp.load_state_dict(task.teacher.mlp.state_dict())
    assert abs(float(task(batch, loss="cosine", step=0).detach())) < 1e-5


def test_a_name_has_no_sentence_to_be_like(texts: TaughtTexts) -> None:
    """Of names only the aims count."""
    task = new_task(texts)
    batch = TextBatches(texts, batch=16, seed=0)[0]
    names = batch | {"sentences": torch.zeros_like(batch["sentences"])}
    half = batch | {"sentences": batch["sentences"].clone()}
    half["sentences"][::2] = 0
    losses = [float(task(each, loss="cosine", step=0).detach()) for each in (batch, half, names)]
    aims = 1 - (task.encoder(batch["ids"]) * batch["aims"]).sum(dim=1).mean().item()
    assert abs(losses[2] - aims) < 1e-5
    assert losses[2] < losses[1]


def test_texts_of_the_corpus_that_are_names_have_their_aims(texts: TaughtTexts) -> None:
    aim = F.normalize(torch.ones(EMBED_DIM), dim=0)
    said = ["a photo of a dog.", "a wet dog", "the dog on the mat", *["else"] * (TEXTS - 3)]
    found = texts.with_names(said, {"dog": aim})
    torch.testing.assert_close(found.aims[0].float(), aim, atol=1e-3, rtol=0)
    mixed = F.normalize(aim + 0.5 * texts.aims[1].float(), dim=0)
    torch.testing.assert_close(found.aims[1].float(), mixed, atol=1e-3, rtol=0)
    torch.testing.assert_close(found.aims[2:].float(), texts.aims[2:].float(), atol=1e-3, rtol=0)
    assert found.sentences is texts.sentences


def test_a_share_of_a_batch_is_names(texts: TaughtTexts, tmp_path: Path) -> None:
    aim = F.normalize(torch.ones(EMBED_DIM), dim=0)
    config = CONFIG.model_copy(update={"vocab_size": 400})
    tokenizer = make_tokenizer(tmp_path, config, texts=["a photo of the dog."])
    both = texts.and_names({"dog": aim, "cat": -aim}, tokenizer)
    assert len(both.ids) == both.corpus + 2 * len(TEMPLATES)
    assert both.ids[-2:].tolist() == tokenizer(["the dog", "the cat"]).tolist()
    torch.testing.assert_close(both.aims[-2:].float(), torch.stack([aim, -aim]), atol=1e-3, rtol=0)
    batches = TextBatches(both, batch=32, seed=0, names_share=0.25)
    aims = torch.cat([batches[index]["aims"] for index in range(32)])
    named = (aims.abs() - aim).abs().max(dim=1).values < 1e-3
    assert 0.2 < named.float().mean() < 0.3
    sentences = torch.cat([batches[index]["sentences"] for index in range(32)])
    assert torch.equal(sentences.any(dim=1), ~named)
    dog = np.array([0])
    more = TextBatches(both, batch=32, seed=0, names_share=0.25, often=dog, often_share=0.8)
    aims = torch.cat([more[index]["aims"] for index in range(32)])
    dogs, cats = (((aims - sign * aim).abs().max(dim=1).values < 1e-3).sum() for sign in (1, -1))
    assert 0.85 < dogs / (dogs + cats) < 0.95  # of the fifth, half
    without = TextBatches(both, batch=32, seed=0)
    aims = torch.cat([without[index]["aims"] for index in range(32)])
    assert not ((aims.abs() - aim).abs().max(dim=1).values < 1e-3).any()


def test_names_that_an_encoder_has_wrong_are_told(texts: TaughtTexts, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"vocab_size": 400})
    tokenizer = make_tokenizer(tmp_path, config, texts=["a photo of the dog."])
    torch.manual_seed(3)
    encoder = BertTextEncoder(config, embed_dim=EMBED_DIM).eval()
    says = next(iter(TEMPLATES)).replace("{}", "dog")
    with torch.no_grad():
        dog = encoder(torch.from_numpy(tokenizer([says])))[0]
    named = texts.and_names({"dog": dog, "cat": -dog}, tokenizer)
    assert far_names(encoder, named, below=0.9).tolist() == [1]
    assert far_names(encoder, named, below=-1.1).tolist() == []
