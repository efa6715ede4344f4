from __future__ import annotations

import pytest
import torch
from torch import nn

from training.errors import TrainingError
from training.loop.optimizer import build_optimizer, choose_trained, set_learning_rate
from training.loop_config import Optimisation


class Part(nn.Module):
    """One parameter of each kind."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(4, 6)
        self.conv = nn.Conv2d(3, 4, 2)
        self.depthwise = nn.Conv2d(4, 4, 3, groups=4)
        self.norm = nn.LayerNorm(6)
        self.token_embedding = nn.Embedding(5, 4)
        self.pos_embed = nn.Parameter(torch.zeros(1, 2, 2, 4))
        self.rel_pos_h = nn.Parameter(torch.zeros(7, 4))
        self.attention_biases = nn.Parameter(torch.zeros(2, 9))


def settings(**changes: object) -> Optimisation:
    defaults = {"steps": 100, "learning_rate": 1e-2, "warmup_steps": 10, "multipliers": {"a": 1.0}}
    return Optimisation.model_validate(defaults | changes)


def optimizer_of(parts: dict[str, nn.Module], config: Optimisation) -> torch.optim.Optimizer:
    choose_trained(parts, config)
    return build_optimizer(parts, config)


def names(part: nn.Module, group: dict[str, list[nn.Parameter]]) -> set[str]:
    by_id = {id(parameter): name for name, parameter in part.named_parameters()}
    return {by_id[id(parameter)] for parameter in group["params"]}


def test_adamw_decays_all_but_biases_norms_and_positions() -> None:
    part = Part()
    adamw = optimizer_of({"a": part}, settings())
    assert isinstance(adamw, torch.optim.AdamW)
    decays = {group["weight_decay"]: names(part, group) for group in adamw.param_groups}
    assert decays == {
        0.05: {"hidden.weight", "conv.weight", "depthwise.weight", "token_embedding.weight"},
        0.0: {
            *("hidden.bias", "conv.bias", "depthwise.bias", "norm.weight", "norm.bias"),
            *("pos_embed", "rel_pos_h", "attention_biases"),
        },
    }


def test_muon_takes_hidden_matrices_and_full_convolutions_only() -> None:
    part = Part()
    muon = optimizer_of({"a": part}, settings(optimizer="muon"))
    for parameter in part.parameters():
        parameter.grad = torch.ones_like(parameter)
    muon.step()
    with_momentum = {
        name for name, p in part.named_parameters() if "momentum_buffer" in muon.state[p]
    }
    assert with_momentum == {"hidden.weight", "conv.weight"}
    every = set().union(*(names(part, group) for group in muon.param_groups))
    assert every == {name for name, _ in part.named_parameters()}


def test_parts_without_a_multiplier_are_frozen() -> None:
    parts = {"a": Part(), "b": Part(), "c": Part()}
    optimizer = optimizer_of(parts, settings(optimizer="muon", multipliers={"a": 1.0, "b": 0.1}))
    trained = {name for name, part in parts.items() if part.training}
    assert trained == {"a", "b"}
    assert not any(parameter.requires_grad for parameter in parts["c"].parameters())
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for name in ("a", "b") for p in parts[name].parameters()}


class Whole(nn.Module):
    """A module in a part, beside others, with a norm that stays frozen in training."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Part()
        self.neck = nn.Linear(4, 4)
        self.fixed = nn.BatchNorm2d(4)

    def train(self, mode: bool = True) -> Whole:
        super().train(mode)
        self.fixed.eval().requires_grad_(False)
        return self


def test_a_module_in_a_part_has_its_own_rate() -> None:
    whole = Whole()
    config = settings(
        optimizer="muon", multipliers={"a": 1.0, "a.backbone": 0.1, "a.backbone.norm": 0.0}
    )
    optimizer = optimizer_of({"a": whole}, config)
    set_learning_rate(optimizer, config, step=9)
    rates = {name: group["lr"] for group in optimizer.param_groups for name in names(whole, group)}
    assert rates.keys() == {
        name
        for name, _ in whole.named_parameters()
        if not name.startswith(("fixed", "backbone.norm"))
    }
    for name, rate in rates.items():
        expected = 1e-3 if name.startswith("backbone") else 1e-2
        assert rate == pytest.approx(expected, rel=0.03), name
    assert whole.training
    assert not whole.fixed.training
    assert not whole.backbone.norm.training


def test_an_unknown_part_is_named() -> None:
    with pytest.raises(TrainingError, match="no part is called z: a"):
        optimizer_of({"a": Part()}, settings(multipliers={"a": 1.0, "z": 1.0}))


def test_rates_warm_up_then_fall_and_keep_their_ratio() -> None:
    config = settings(optimizer="muon", multipliers={"a": 1.0, "b": 0.1})
    optimizer = optimizer_of({"a": Part(), "b": Part()}, config)
    rates = [set_learning_rate(optimizer, config, step=step) for step in range(100)]
    assert rates[0] == pytest.approx(1e-3)
    assert rates.index(max(rates)) == 9
    assert max(rates) == pytest.approx(1e-2, rel=0.03)
    assert rates[50] == pytest.approx(0.5e-2)
    assert 0 < rates[99] < 1e-5
    later = settings(constant=0.8)
    held = [set_learning_rate(optimizer, later, step=step) for step in range(100)]
    assert held[10:81] == pytest.approx([1e-2] * 71)
    assert held[90] == pytest.approx(0.5e-2)
    set_learning_rate(optimizer, config, step=99)
    found = {group["factor"]: group["lr"] for group in optimizer.param_groups}
    assert found == pytest.approx({1.0: rates[99], 0.1: 0.1 * rates[99]})
