"""`python -m export` as a person runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import onnxruntime as ort
import pytest
import torch
import typer
from typer.testing import CliRunner

from export.__main__ import main
from export.options import ExportOptions
from samclip_sdk.bundle.open import open_bundle
from samclip_sdk.errors import VerificationError
from samclip_sdk.modeling.build import build_model
from samclip_sdk.modeling.config import VIT_B
from tests.docs.pages import blocks

ROOT = Path(__file__).parents[2]


def run_export(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "export", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=1800,  # against a hang; two busy cores take some ten minutes
    )


def test_missing_checkpoint_is_one_line(tmp_path: Path) -> None:
    done = run_export(str(tmp_path / "none"), str(tmp_path / "out"))
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "is not a checkpoint folder" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("checkpoint", "options", "told"),
    [
        (
            "random:tiny",
            ["--onnx", "int4"],
            "there is no precision int4 here: use fp32, fp16, int8",
        ),
        ("random:tiny", ["--coreml", "bf16"], "use fp32, fp16, int8, palette6"),
        ("random:tiny", ["--onnx", "fp16", "--onnx", "fp16"], "fp16 is asked for twice"),
        ("random:tiny", ["--resolution", "33"], "resolution 33 is not"),
        ("random:huge", [], "there is no preset huge; known are mobile, mobileclip, repvit, tiny"),
        ("CONFIG", [], "the checkpoint CONFIG cannot be loaded: "),
        ("OUT", [], "OUT is not a checkpoint folder: it has no model.safetensors"),
    ],
)
def test_what_cannot_be_is_one_line_before_any_work(
    checkpoint: str, options: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("export.__main__.find_source", Mock(side_effect=AssertionError("worked")))
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "model.safetensors").touch()
    (damaged / "config.json").write_text('{"model": {"name": "x", "depth": 3}}')
    places = {"CONFIG": str(damaged), "OUT": str(tmp_path / "out")}
    app = typer.Typer()
    app.command()(main)
    arguments = [places.get(checkpoint, checkpoint), places["OUT"], *options]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    for name, place in places.items():
        told = told.replace(name, place)
    assert told in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_place_that_is_taken_is_one_line(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(main)
    done = CliRunner().invoke(app, ["random:tiny", str(tmp_path)])
    assert done.exit_code == 1
    assert done.stderr == f"error: {tmp_path} exists and is not a bundle: it is left as it is\n"


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


def shown_commands() -> list[list[str]]:
    """The exports that docs/how-to/export.md shows, without `python -m export`."""
    page = blocks("docs/how-to/export.md")
    (block,) = (each for each in page if each.code.startswith("pip install"))
    return [words[3:] for words in block.commands() if words[:3] == ["python", "-m", "export"]]


def test_what_the_page_shows_can_be_exported_in_a_fresh_clone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every check before the work is passed; the work itself is left out."""
    asked = []

    def write(source: object, out: Path, *, options: ExportOptions, **_: object) -> None:
        asked.append(options)
        raise VerificationError("left out")

    monkeypatch.setattr("export.__main__.find_source", lambda name: None)
    monkeypatch.setattr("export.__main__.write_bundle", write)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "training").symlink_to(ROOT / "training")
    app = typer.Typer()
    app.command()(main)
    for arguments in shown_commands():
        result = CliRunner().invoke(app, arguments)
        assert result.stderr == "error: left out\n", arguments
    assert len(asked) == len(shown_commands()) == 5
