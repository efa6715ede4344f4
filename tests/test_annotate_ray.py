"""The Ray example writes what a run in one process writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from samclip_sdk import SamClip
from samclip_sdk.annotate.annotator import Annotator, annotate_folder

EXAMPLES = Path(__file__).parents[1] / "examples"
LABELS = ["dog", "boat", "cat", "tree"]


@pytest.mark.slow
def test_workers_write_what_one_process_writes(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("garden", "dog", "cat", "cup"):
        with Image.open(EXAMPLES / "images" / f"{name}.jpg") as image:
            image.resize((160, 120)).save(folder / f"{name}.png")
    (folder / "broken.jpg").write_bytes(b"broken")
    alone, together = tmp_path / "alone.json", tmp_path / "together.json"
    with SamClip.load("onnx", threads=1) as model:
        annotate_folder(Annotator(model, LABELS), folder, alone)

    def run() -> str:
        command = [str(EXAMPLES / "annotate_ray.py"), str(folder), *LABELS, "--batch", "1"]
        offline = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
        done = subprocess.run(
            [sys.executable, *command, "--output", str(together)],
            cwd=tmp_path,
            env={**os.environ, **offline},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    out = run()
    assert out.count("left out:") == 1
    assert "5 pictures looked at" in out
    expected, found = (json.loads(path.read_text()) for path in (alone, together))
    assert expected["annotations"]
    for part in ("images", "annotations", "categories"):
        assert found[part] == expected[part]
    (folder / "broken.jpg").unlink()
    assert "0 pictures looked at" in run()
