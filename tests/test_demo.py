"""The demo runs where only the base dependencies and onnxruntime are installed."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.own_process import run_program
from tests.source_tree import ROOT

DEMO = ROOT / "examples" / "demo.py"
BLOCKED = ("torch", "torchvision", "coremltools", "tensorrt", "export", "training")

RUN_BLOCKED = f"""
import runpy, sys

sys.modules.update(dict.fromkeys({BLOCKED!r}))  # importing one fails
script = sys.argv[1]
sys.argv = [script]
runpy.run_path(script, run_name="__main__")
"""


@pytest.mark.slow
def test_runs_without_torch(tmp_path: Path) -> None:
    """It writes one readable overlay or more into ./demo_output and prints a table with times."""
    done = run_program(RUN_BLOCKED, DEMO, cwd=tmp_path, warnings="error")
    assert done.returncode == 0, done.stderr
    overlays = sorted((tmp_path / "demo_output").iterdir())
    images = [path.stem for path in DEMO.with_name("images").glob("*.jpg")]
    shown = {f"{name}_{kind}.png" for name in images for kind in ("masks", "objects")}
    assert {each.name for each in overlays} == shown | {"contact_sheet.jpg", "failures.jpg"}
    for overlay in overlays:
        with Image.open(overlay) as image:
            image.load()
            # One flat colour is no overlay.
            assert any(low < high for low, high in image.convert("RGB").getextrema())
    assert all(name in done.stdout for name in (*images, "labels found", "ms"))
