"""Where plain ONNX exports of SAM and CLIP are kept. Free of torch, as the peer that runs them."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import platformdirs

from benchmarks.speed.peers.forced import SEED, versions

GRAPHS = ("image_encoder", "mask_decoder", "clip_image_encoder")
OPSET = 18
_ROOT = Path(__file__).parents[3]


def exported(sam: str, clip: str, *, cache: Path | None = None) -> dict[str, Path]:
    """The three graphs by name, exported first unless the cache has them.

    The export is made by another process, since it raises the peak memory that is measured.

    Args:
        sam: a name of segment-anything's registry.
        clip: an open_clip architecture, or the path of a JSON file of one.
        cache: the folder that holds exports; the user's cache by default.

    Raises:
        RuntimeError: the export failed; its last lines are in the text.
    """
    folder = export_folder(sam, clip, cache=cache)
    if not folder.exists():
        command = [sys.executable, "-m", "benchmarks.speed.peers.plain_onnx", sam, clip, folder]
        done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"the plain ONNX export failed:\n{done.stderr[-2000:]}")
    return {name: folder / f"{name}.onnx" for name in GRAPHS}


def export_folder(sam: str, clip: str, *, cache: Path | None = None) -> Path:
    """Where the export of these and of the installed packages is, or will be."""
    made_from = {
        "sam": sam,
        "clip": Path(clip).read_text(encoding="utf-8") if clip.endswith(".json") else clip,
        "seed": SEED,
        "opset": OPSET,
        **versions("segment-anything", "open_clip_torch", "torch"),
    }
    digest = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:16]
    return ((cache or platformdirs.user_cache_path("samclip-sdk") / "peers") / digest).absolute()
