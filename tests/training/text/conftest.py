"""The two small WordNets, read once."""

from __future__ import annotations

import pytest

from tests.training.text.things import write_things
from tests.training.text.wordnet_files import write_wordnet
from training.text.relations import Relations
from training.text.senses import Senses
from training.text.wordnet import WordNet


@pytest.fixture(scope="session")
def wordnet(tmp_path_factory: pytest.TempPathFactory) -> WordNet:
    return WordNet(write_wordnet(tmp_path_factory.mktemp("wordnet")))


@pytest.fixture(scope="session")
def relations(tmp_path_factory: pytest.TempPathFactory) -> Relations:
    """Of a WordNet of things."""
    return Relations(WordNet(write_things(tmp_path_factory.mktemp("things"))))


@pytest.fixture(scope="session")
def senses(relations: Relations) -> Senses:
    return relations.senses
