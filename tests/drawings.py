"""A small trained bundle of drawings, for tests of what needs real weights: samclip-tiny.

It was trained by `training/configs/tiny.toml`, and has fp32, fp16 and int8, and goldens.
"""

from __future__ import annotations

from pathlib import Path

TINY_BUNDLE = Path(__file__).parent / "bundles" / "samclip-tiny"
