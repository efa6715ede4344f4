from __future__ import annotations

import numpy as np
import pytest
import torch
from open_clip.tokenizer import SimpleTokenizer

from training.composed.vocabulary import Noun
from training.teachers.captions import EMPTY_NAMES, Captions, tokenize

SOT, EOT = 49406, 49407


@pytest.fixture(scope="module")
def captions(nouns: tuple[Noun, ...]) -> Captions:
    return Captions(nouns, embed_dim=16)


def test_one_caption_a_noun_one_for_nothing_and_the_extra(
    captions: Captions, nouns: tuple[Noun, ...]
) -> None:
    ids, sentences, has_sentence = captions.draw(np.random.default_rng(0), extra=5)
    count = len(nouns) + 1 + 5
    assert ids.shape[0] == count
    assert sentences.shape == (count, 16)
    assert has_sentence.shape == (count,)
    assert (ids[:, 0] == SOT).all()
    assert ((ids == EOT).sum(dim=1) == 1).all()
    torch.testing.assert_close(sentences.norm(dim=1), torch.ones(count))
    # MiniLM was asked for the corpus's names, not for what a picture of nothing is called.
    assert has_sentence.tolist() == [True] * len(nouns) + [False] + [True] * 5


def test_a_caption_holds_a_name_of_its_noun(captions: Captions, nouns: tuple[Noun, ...]) -> None:
    tokenizer = SimpleTokenizer()
    names = [noun.names for noun in nouns] + [EMPTY_NAMES]
    rng = np.random.default_rng(1)
    for _ in range(5):
        ids, _, _ = captions.draw(rng, extra=0)
        for row, pool in zip(ids.tolist(), names, strict=True):
            text = tokenizer.decode([token for token in row if token not in (0, SOT, EOT)])
            assert any(name.lower() in text for name in pool)


def test_the_same_generator_draws_the_same(captions: Captions) -> None:
    one, other, next_one = (captions.draw(np.random.default_rng(s), extra=3) for s in (4, 4, 5))
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert one[0].shape != next_one[0].shape or not torch.equal(one[0], next_one[0])


def test_ids_are_open_clips_cut_behind_the_longest() -> None:
    texts = ["a dog", "a photo of a very large dog"]
    ids = tokenize(texts)
    whole = SimpleTokenizer()(texts)
    assert torch.equal(ids, whole[:, : ids.shape[1]])
    assert not whole[:, ids.shape[1] :].any()
    assert ids[1, -1] == EOT
