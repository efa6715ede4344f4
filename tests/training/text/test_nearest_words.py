from __future__ import annotations

import torch
from torch.nn import functional as F

from training.text.lexicon import TaughtWord
from training.text.nearest_words import measure_nearest
from training.text.relations import Relations

TAUGHT = (
    TaughtWord(("person",), (200,)),
    TaughtWord(("truck",), (304,)),
    TaughtWord(("pug",), (102,), classes=(0,)),
)


def test_where_nouns_lie(relations: Relations) -> None:
    """A man by a person, a bus by its sibling, a cat by a person, a cup by nothing much."""
    table = torch.eye(3, 4)
    at = {
        "man": [1.0, 0.2, 0.0, 0.0],
        "bus": [0.1, 1.0, 0.0, 0.0],
        "cat": [1.0, 0.0, 0.2, 0.0],
        "cup": [0.2, 0.1, 0.1, 1.0],
        "truck": [0.0, 1.0, 0.0, 0.0],
    }
    embeddings = F.normalize(torch.tensor([*at.values()]), dim=-1)
    found = measure_nearest(relations, [*at], embeddings, taught=TAUGHT, table=table)
    assert [each.right for each in found] == [True, True, False, False, True]
    assert [each.noun for each in found] == [*at]
    assert found[2].word == "person"
    assert found[2].cosine > 0.9
    # A cat and a pug share a grandparent.
    assert [each.has_relative for each in found] == [True, True, True, False, True]
