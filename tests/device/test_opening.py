"""What `SamClip.load` is given as a model, where it is nothing that there could be."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from samclip_sdk import BundleError
from samclip_sdk.device.opening import open_source
from tests.drawings import TINY_BUNDLE
from tests.refusals import refused

EMBEDDED = "samclip-mobile"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("runtime", [pytest.param("auto", marks=pytest.mark.slow), "onnx"])
@pytest.mark.parametrize("kind", ["checkpoint", "bundle"])
def test_an_embedded_name_wins_over_what_is_called_so_here(
    here: Path, tiny_checkpoint: Path, runtime: str, kind: str
) -> None:
    (here / EMBEDDED).symlink_to(TINY_BUNDLE if kind == "bundle" else tiny_checkpoint)
    assert open_source(runtime, model=EMBEDDED, precision="fp32").manifest.name == EMBEDDED


def test_a_path_means_the_folder_of_an_embedded_name(here: Path, tiny_checkpoint: Path) -> None:
    shutil.copytree(tiny_checkpoint, here / EMBEDDED)
    for path in (f"./{EMBEDDED}", Path(EMBEDDED), here / EMBEDDED):
        assert open_source("auto", model=path, precision=None).runtime == "torch"
    shutil.rmtree(here / EMBEDDED)
    (here / EMBEDDED).symlink_to(TINY_BUNDLE)
    for path in (f"./{EMBEDDED}", Path(EMBEDDED), here / EMBEDDED):
        found = open_source("onnx", model=path, precision="fp32")
        assert found.manifest.name == "samclip-tiny"


def test_torch_does_not_take_the_embedded_bundle(here: Path, tiny_checkpoint: Path) -> None:
    shutil.copytree(tiny_checkpoint, here / EMBEDDED)
    refused(
        lambda: open_source("torch", model=EMBEDDED, precision=None),
        BundleError,
        "training/checkpoints/mobile/refinement",
    )
    assert open_source("torch", model=f"./{EMBEDDED}", precision=None).runtime == "torch"


@pytest.mark.parametrize(
    ("precision", "option"),
    [(None, "--litert fp32"), ("int8", "--litert int8"), ("auto", "--litert fp32")],
)
def test_files_that_the_wheel_lacks_are_told_with_the_command_that_makes_them(
    precision: str | None, option: str
) -> None:
    error = refused(
        lambda: open_source("litert", model=EMBEDDED, precision=precision),
        BundleError,
        "python -m export training/checkpoints/mobile/refinement",
        option,
    )
    assert "docs/how-to/export.md" in str(error)
    other = refused(
        lambda: open_source("litert", model=TINY_BUNDLE, precision=precision), BundleError, option
    )
    assert "CHECKPOINT" in str(other)
