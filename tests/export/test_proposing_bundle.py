"""The bundle of a model that proposes boxes: exported whole, and asked for everything."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from export.bundle_writer import write_bundle
from export.options import ExportOptions
from export.source import random_source
from samclip_sdk import SamClip
from tests.device_bundle import IMAGE
from tests.proposal_cases import PROPOSING


def test_it_is_asked_for_what_it_proposes(onnx_registry: None, tmp_path: Path) -> None:
    write_bundle(random_source(PROPOSING, seed=1), tmp_path / "bundle", options=ExportOptions())
    with SamClip.load("onnx", model=tmp_path / "bundle") as model:
        embedding = model.encode_image(IMAGE)
        assert embedding.proposals is not None
        assert embedding.proposals.shape[1] == 30
        found = model.segment_everything(embedding)
        assert 0 < len(found) <= 100
        assert (np.diff(found.scores) <= 0).all()
        named = model.segment_instances(embedding, ["dog"], threshold=0, min_score=0)
        assert len(named)
