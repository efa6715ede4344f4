"""Averaging weights instead of distilling (appendix D, figure 8): what is between two encoders."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from benchmarks.paper.inputs import Inputs
from benchmarks.paper.record import AtAlpha, WiseFt
from benchmarks.paper.zero_shot import trade_off
from samclip_sdk.modeling.build import SamClipModel
from training.teachers.classifier_clip import ClassifierClip

ALPHAS = tuple(step / 10 for step in range(11))


def measure_backbones(inputs: Inputs) -> WiseFt:
    """Measures what is between the backbones of SAM and of a classifier, which are of one kind.

    The rest is stage 0's at every step: SAM's neck and its other parts, and the CLIP teacher's
    head. So alpha 0 segments as the SAM teacher does, and alpha 1 names as the CLIP teacher does.

    Raises:
        ValueError: the CLIP teacher is no classifier with SAM's backbone.
    """
    model, clip = inputs.pair.stage0(seed=0).eval().requires_grad_(False), inputs.pair.clip
    if not isinstance(clip, ClassifierClip):
        raise ValueError(f"{inputs.pair.name} is no classifier: its backbone cannot be averaged")
    backbone: nn.Module = model.image_encoder.backbone
    start = {key: value.clone() for key, value in backbone.state_dict().items()}
    theirs = clip.backbone.state_dict()
    return WiseFt(
        points=measure_between(
            inputs, model, backbone, start=start, end={key: theirs[key] for key in start}
        ),
        joint=trade_off(inputs, inputs.student(), name="joint model"),
    )


def measure_between(
    inputs: Inputs,
    model: SamClipModel,
    part: nn.Module,
    *,
    start: Mapping[str, Tensor],
    end: Mapping[str, Tensor],
) -> tuple[AtAlpha, ...]:
    """Measures a model with each of `ALPHAS` of its part, which is changed."""
    points = []
    for alpha in ALPHAS:
        part.load_state_dict(interpolate(start, end, alpha=alpha))
        found = trade_off(inputs, model, name=f"alpha {alpha:.1f}")
        points.append(AtAlpha(alpha=alpha, **dict(found)))
    return tuple(points)


def interpolate(
    start: Mapping[str, Tensor], end: Mapping[str, Tensor], *, alpha: float
) -> dict[str, Tensor]:
    """Weights `alpha` of the way from one state to another: exactly those at 0 and at 1.

    Raises:
        ValueError: the two do not have the same tensors.
    """
    if start.keys() != end.keys():
        raise ValueError("the two states are of different modules")
    return {key: (1 - alpha) * value + alpha * end[key] for key, value in start.items()}
