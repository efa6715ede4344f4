"""`python -m export` as a person runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
import typer
from typer.testing import CliRunner

from export.__main__ import main
from samclip_sdk.bundle.open import open_bundle
from samclip_sdk.modeling.build import build_model
from samclip_sdk.modeling.config import VIT_B

ROOT = Path(__file__).parents[2]


def run_export(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "export", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def test_missing_checkpoint_is_one_line(tmp_path: Path) -> None:
    done = run_export(str(tmp_path / "none"), str(tmp_path / "out"))
    assert done.returncode == 1
    assert "is not a checkpoint folder" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_impossible_resolution_leaves_nothing(tiny_checkpoint: Path, tmp_path: Path) -> None:
    done = run_export(str(tiny_checkpoint), str(tmp_path / "out"), "--resolution", "33")
    assert done.returncode == 1
    assert "resolution 33 is not" in " ".join(done.stderr.split())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("option", "precision"), [("--onnx", "palette6"), ("--coreml", "int4")])
def test_unknown_precision_is_one_line(option: str, precision: str, tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(main)
    done = CliRunner().invoke(
        app, [str(tmp_path / "none"), str(tmp_path / "out"), option, precision]
    )
    assert done.exit_code == 1
    assert done.stderr.count("\n") == 1
    assert f"there is no '{precision}' here: use fp32, fp16, int8" in done.stderr


@pytest.mark.slow
def test_vit_b_with_random_weights(tmp_path: Path) -> None:
    """The paper's model, 1024 and 336 px: the export's own gate, and one picture more."""
    out = tmp_path / "vit_b"
    done = run_export("random:vit_b", str(out), "--resolution", "1024", "--resolution", "336")
    assert done.returncode == 0, done.stderr
    bundle = open_bundle(out)
    assert bundle.manifest.random_weights
    model = build_model(VIT_B, seed=0)
    image = np.random.default_rng(5).integers(0, 256, size=(1, 3, 1024, 1024)).astype(np.uint8)
    options = ort.SessionOptions()
    options.enable_mem_pattern = False
    (file,) = bundle.graph_files("image_encoder@1024", runtime="onnx")
    path = file.path
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        expected = model.image_encoder(torch.from_numpy(image))
    for found, wanted in zip(session.run(None, {"image": image}), expected, strict=True):
        assert np.abs(found - wanted.numpy()).max() <= 1e-4 * wanted.abs().max()
