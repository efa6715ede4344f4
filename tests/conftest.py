"""What all tests share: a tiny random model as a checkpoint and as a bundle.

Property tests draw the same examples every time, and are not timed: CI machines are slow.
"""

from __future__ import annotations

import functools
import gc
import json
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import settings

from samclip_sdk import SamClip
from samclip_sdk.modeling.config import ModelConfig
from samclip_sdk.text.tokenizer import CLIP_TOKENIZER
from tests.disk_cache import fill
from tests.fake_source import FakeSource, fake_client
from tests.tiny_config import BUNDLED, ONE_RESOLUTION, TINY

# Before any test module imports onnxruntime itself: it would note down this device, and send it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# An export makes millions of small objects, among which Python would look for circles all the time.
gc.set_threshold(100_000, 20, 20)


def pytest_collection_finish() -> None:
    """Has no collection of garbage look through the imported modules again: a second each time.

    coremltools asks for one after each conversion, and pytest for several at its end.
    """
    gc.freeze()


settings.register_profile("deterministic", derandomize=True, deadline=None, database=None)
settings.load_profile("deterministic")


@pytest.fixture(scope="session", autouse=True)
def heard_interrupts() -> None:
    """A suite that a shell runs in the background was born deaf to Ctrl-C, and so its children."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def user_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What the package keeps for a user, caches and reports, stays out of the real user's home."""
    folder = tmp_path_factory.mktemp("user")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(folder / "data"))
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        yield folder


@pytest.fixture
def both(tmp_path: Path) -> tuple[SamClip, FakeSource]:
    """A model whose answers are known in advance, and its source."""
    return fake_client(tmp_path)


@pytest.fixture
def model(both: tuple[SamClip, FakeSource]) -> SamClip:
    return both[0]


@pytest.fixture(scope="session")
def tokenizer_path() -> Path:
    """CLIP's tokenizer, as the package holds it."""
    return CLIP_TOKENIZER


@pytest.fixture(scope="session")
def tiny_config() -> ModelConfig:
    """Every part as small as it can be, with token pooling at one of the two resolutions."""
    return TINY


@pytest.fixture(scope="session")
def tiny_checkpoint(tiny_config: ModelConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder of `tiny_config` with random weights."""
    from samclip_sdk.modeling.build import build_model
    from samclip_sdk.modeling.checkpoint import save_checkpoint

    folder = tmp_path_factory.mktemp("tiny_checkpoint")
    model = build_model(tiny_config, seed=1)
    save_checkpoint(model, folder, provenance={"random_weights": True, "seed": 1})
    (folder / "nouns.txt").write_text("dog\nred panda\n", encoding="utf-8")
    (folder / "thresholds.json").write_text('{"red panda": 0.75}', encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def onnx_registry() -> Iterator[None]:
    """What torch knows of ONNX's operators, which each export would read again: half a second."""
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    with pytest.MonkeyPatch.context() as patch:
        read = functools.cache(ONNXRegistry.from_torchlib)
        patch.setattr(ONNXRegistry, "from_torchlib", staticmethod(read))
        yield


@pytest.fixture(scope="session")
def tiny_bundle(onnx_registry: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle folder of `BUNDLED` with weights of the seed 1; half a minute to export."""
    from export.bundle_writer import write_bundle
    from export.options import ExportOptions
    from export.source import random_source

    def export(folder: Path) -> None:
        nouns, thresholds = ("dog", "red panda"), {"red panda": 0.75}
        source = replace(random_source(BUNDLED, seed=1), nouns=nouns, thresholds=thresholds)
        write_bundle(source, folder, options=ExportOptions())

    return fill(tmp_path_factory.mktemp("tiny") / "bundle", name="tiny_bundle", make=export)


@pytest.fixture(scope="session")
def full_export(onnx_registry: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`ONE_RESOLUTION` in every precision of ONNX and Core ML, which takes a minute.

    The bundle is in bundle/, its random weights are those of the seed 1; steps.json holds what the
    export told: message, done, total. A graph of prompts or labels has one Core ML package of each
    precision; tests/export/coreml/test_trained_set.py converts `text_to_mask` in every length.
    """
    from export.bundle_writer import write_bundle
    from export.options import ExportOptions
    from export.source import random_source

    def export(folder: Path) -> None:
        folder.mkdir()
        told: list[tuple[str, int, int]] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("export.buckets.BATCH_BUCKETS", (4,))
            write_bundle(
                random_source(ONE_RESOLUTION, seed=1),
                folder / "bundle",
                options=ExportOptions(
                    onnx=("fp32", "fp16", "int8"),
                    coreml=("fp16", "int8", "palette6"),
                    weights="fp16",
                ),
                on_progress=lambda *each: told.append(each),
            )
        (folder / "steps.json").write_text(json.dumps(told))

    return fill(tmp_path_factory.mktemp("full") / "export", name="full_export", make=export)
