from __future__ import annotations

from pathlib import Path

import pytest

from samclip_sdk.bundle.manifest import UNCALIBRATED
from samclip_sdk.modeling.build import build_model
from samclip_sdk.modeling.checkpoint import save_checkpoint
from tests.label_cases import TABLE
from tests.tiny_config import PYRAMID_STUDENT
from training.composed.corpus import CORPUS, Corpus, load_corpus
from training.composed.vocabulary import Noun, tiny_vocabulary


@pytest.fixture(scope="session")
def nouns() -> tuple[Noun, ...]:
    return tiny_vocabulary(8)


@pytest.fixture(scope="session")
def corpus(nouns: tuple[Noun, ...]) -> Corpus:
    return load_corpus(CORPUS, split="train", nouns=[noun.name for noun in nouns])


@pytest.fixture(autouse=True)
def bf16_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is trained here is small, and the same on every CPU; slow steps do not matter."""
    monkeypatch.setattr("training.loop.train.computes_in_bf16", lambda device: True)


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """A finished model that knows dogs and cats."""
    folder = tmp_path / "finished"
    save_checkpoint(build_model(PYRAMID_STUDENT, seed=1), folder, provenance={"stage": "joint"})
    (folder / "calibration.json").write_text(UNCALIBRATED.model_dump_json())
    (folder / "nouns.txt").write_text("dog\ncat\n")
    (folder / "words.json").write_text(TABLE.model_dump_json())
    return folder
