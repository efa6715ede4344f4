"""The demo runs where only the base dependencies and onnxruntime are installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "examples" / "demo.py"
BLOCKED = ("torch", "torchvision", "coremltools", "tensorrt", "export", "training")

RUN_BLOCKED = f"""
import runpy, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {BLOCKED!r}:
            raise ModuleNotFoundError("blocked by the test: " + name, name=name)

sys.meta_path.insert(0, Blocker())
script = sys.argv[1]
sys.argv = [script]
runpy.run_path(script, run_name="__main__")
"""


def run_without_torch(script: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", RUN_BLOCKED, script],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


@pytest.mark.slow
def test_runs_without_torch(tmp_path: Path) -> None:
    """It writes one readable overlay or more into ./demo_output and prints a table with times."""
    done = run_without_torch(DEMO, tmp_path)
    assert done.returncode == 0, done.stderr
    overlays = sorted((tmp_path / "demo_output").glob("*.png"))
    pictures = [p for p in DEMO.with_name("images").iterdir() if p.suffix in {".png", ".jpg"}]
    assert len(overlays) >= len(pictures) > 0
    for overlay in overlays:
        with Image.open(overlay) as image:
            image.load()
            # One flat colour is no overlay.
            assert any(low < high for low, high in image.convert("RGB").getextrema())
    assert "ms" in done.stdout


@pytest.mark.parametrize("name", BLOCKED[:3])
def test_the_blocker_blocks(name: str, tmp_path: Path) -> None:
    """The test above proves nothing if torch could still be imported."""
    script = tmp_path / "script.py"
    script.write_text(f"import {name}\n", encoding="utf-8")
    done = run_without_torch(script, tmp_path)
    assert done.returncode != 0
    assert f"blocked by the test: {name}" in done.stderr
