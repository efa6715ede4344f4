from __future__ import annotations

from pathlib import Path

import torch
from torch.nn import functional as F

from training.teachers.taught_names import read_name_provenance, read_names, save_names


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    vectors = F.normalize(torch.randn(2, 8, generator=torch.Generator().manual_seed(4)), dim=-1)
    names = dict(zip(("a cat", "dog"), vectors, strict=True))
    save_names(names, tmp_path, provenance={"stage": "lexicon"})
    found = read_names(tmp_path)
    assert {*found} == {*names}
    assert all(torch.equal(found[name], names[name]) for name in names)
    assert read_name_provenance(tmp_path) == {"stage": "lexicon"}
