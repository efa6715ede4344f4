from __future__ import annotations

import pytest

from samclip_sdk.modeling.config import ModelConfig
from tests.student import STUDENT
from training.composed.corpus import CORPUS, Corpus, load_corpus
from training.composed.vocabulary import Noun, tiny_vocabulary


@pytest.fixture(scope="session")
def student_config() -> ModelConfig:
    return STUDENT


@pytest.fixture(scope="session")
def nouns() -> tuple[Noun, ...]:
    return tiny_vocabulary(8)


@pytest.fixture(scope="session")
def corpus(nouns: tuple[Noun, ...]) -> Corpus:
    return load_corpus(CORPUS, split="train", nouns=[noun.name for noun in nouns])
