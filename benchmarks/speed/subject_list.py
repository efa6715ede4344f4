"""The subjects of the published measurement, and the key by which each is found again."""

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

FEW_RUNS = (RUNS[0], BEST_RUN)
"""Those of a measurement that is not of everything."""

RESOLUTIONS = (224, 336, 448, 672, 1024)

ONNX_FP32 = f"{VIT_B}-onnx-fp32"
BEST = f"{VIT_B}-{'-'.join(BEST_RUN)}"
TEXT_150 = f"{BEST}-k150"
SAM_CLIP_TORCH = "sam+openclip-vit-l-14-fp32-k10"
SAM_CLIP_ONNX = "sam-onnx+clip-onnx-vit-l-14-k10"

FEW_PEERS = ("sam-onnx-l", "sam+openclip-l")
PEERS = (
    *FEW_PEERS,
    "sam+openclip-l,precision=bf16",
    "sam-onnx-l,arena=false",
    "sam+openclip,proposals=50",
    "mobile-sam",
    "clipseg",
    "yoloe",
)


def main_specs(vit_b: Path, *, everything: bool) -> tuple[str, ...]:
    """The subjects of the table; if not of everything, those of the bars and of the README.

    Those that the bars compare are near one another.
    """
    runs, labels = (RUNS, (30, 150)) if everything else (FEW_RUNS, (150,))
    return (
        *(f"{_spec(vit_b, *BEST_RUN)},labels={count}" for count in labels),
        *(_spec(vit_b, *run) for run in reversed(runs)),
        *(PEERS if everything else FEW_PEERS),
        *(_spec(TINY, *run) for run in runs),
    )


def series_specs(vit_b: Path, *, threads: Sequence[int], everything: bool) -> tuple[str, ...]:
    """The subjects of the smaller tables: text-to-mask of one label by samclip-tiny.

    Of everything also the image encoder at each resolution, and at the largest with each number of
    threads, and box prompts from one to many.
    """
    runs = RUNS if everything else FEW_RUNS
    labels = tuple(f"{_spec(TINY, *run)},skill=label" for run in runs)
    if not everything:
        return labels
    sizes = {count: RESOLUTIONS if count == max(threads) else RESOLUTIONS[-1:] for count in threads}
    encoders = tuple(
        f"{_spec(vit_b, *run)},skill=encoder,threads={count},"
        f"resolutions={'+'.join(map(str, sizes[count]))}"
        for run in runs
        for count in threads
    )
    return (*encoders, f"{_spec(vit_b, *BEST_RUN)},skill=boxes", *labels)


def _spec(model: str | Path, runtime: str, precision: str) -> str:
    return f"samclip,model={model},runtime={runtime},precision={precision}"
