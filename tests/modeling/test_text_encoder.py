from __future__ import annotations

import torch

from samclip_sdk.modeling.build import SamClipModel

START, END = 48, 49
TEXT = [START, 5, 17, 30, END]


def ids(*rows: list[int], length: int = 12) -> torch.Tensor:
    return torch.tensor([row + [0] * (length - len(row)) for row in rows], dtype=torch.int32)


def test_unit_embeddings_of_each_text(model: SamClipModel) -> None:
    embeddings = model.text_encoder(ids(TEXT, [START, END], [START, 5, END]))
    assert embeddings.shape == (3, 24)
    torch.testing.assert_close(embeddings.norm(dim=-1), torch.ones(3))
    assert not torch.allclose(embeddings[0], embeddings[2], atol=1e-3)


def test_what_follows_the_end_has_no_influence(model: SamClipModel) -> None:
    expected = model.text_encoder(ids(TEXT))
    assert torch.equal(model.text_encoder(ids([*TEXT, 7, END, 9])), expected)
    torch.testing.assert_close(model.text_encoder(ids(TEXT, length=5)), expected)


def test_what_comes_before_the_end_has(model: SamClipModel) -> None:
    other = model.text_encoder(ids([START, 5, 18, 30, END]))
    assert not torch.allclose(other, model.text_encoder(ids(TEXT)), atol=1e-3)


def test_a_text_does_not_depend_on_its_neighbours(model: SamClipModel) -> None:
    together = model.text_encoder(ids([START, 3, END], TEXT, [START, END]))
    torch.testing.assert_close(together[1:2], model.text_encoder(ids(TEXT)), rtol=0, atol=1e-6)


def test_int64_ids_are_the_same_text(model: SamClipModel) -> None:
    assert torch.equal(model.text_encoder(ids(TEXT).long()), model.text_encoder(ids(TEXT)))
