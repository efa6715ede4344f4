"""Who is measured, and by which key each is found again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

TINY = "samclip-tiny"
VIT_B = "samclip-vit-b"
"""The folder of the ViT-B bundle: its name is that of its subjects."""

RUNS = (("onnx", "fp32"), ("onnx", "int8"), ("openvino", "bf16"), ("openvino", "int8"))
"""The runtimes and precisions that are measured."""

BEST_RUN = ("openvino", "int8")
"""The fastest path on a CPU."""

ONNX_FP32 = f"{VIT_B}-onnx-fp32"
BEST = f"{VIT_B}-{'-'.join(BEST_RUN)}"
TEXT_150 = f"{BEST}-k150"
TINY_BEST = " ".join(BEST_RUN)
SAM_CLIP_TORCH = "sam+openclip-vit-l-14-fp32-k10"
SAM_CLIP_ONNX = "sam-onnx+clip-onnx-vit-l-14-k10"

PEERS = (
    "sam-onnx-l",
    "sam+openclip-l",
    "sam+openclip-l,precision=bf16",
    "sam-onnx-l,arena=false",
    "sam+openclip,proposals=50",
    "mobile-sam",
    "clipseg",
    "yoloe",
)


def specs(vit_b: Path, *, peers: Sequence[str] = PEERS) -> tuple[str, ...]:
    """The subjects as `make_subject` takes them; those that the bars compare are near one another.

    Args:
        vit_b: the ViT-B bundle.
        peers: whom else.
    """
    return (
        *(f"{_spec(vit_b, *BEST_RUN)},labels={count}" for count in (30, 150)),
        *(_spec(vit_b, runtime, precision) for runtime, precision in reversed(RUNS)),
        *peers,
        *(_spec(TINY, runtime, precision) for runtime, precision in RUNS),
    )


def _spec(model: str | Path, runtime: str, precision: str) -> str:
    return f"samclip,model={model},runtime={runtime},precision={precision}"
