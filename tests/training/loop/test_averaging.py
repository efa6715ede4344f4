from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.training.toy_task import Toy, run, settings, weights
from training.loop.averaging import average_of, averaged


def test_weights_are_averaged_over_the_steps() -> None:
    task = Toy()
    average = average_of(task, settings(averaging=0.75))
    assert average is not None
    bias = task.parts["alone"].bias
    expected = None
    for count, value in enumerate((4.0, 0.0, 8.0, *range(40))):
        with torch.no_grad():
            bias.fill_(value)
        average.update_parameters(task.parts)
        decay = min(0.75, (1 + count) / (10 + count))
        expected = value if expected is None else decay * expected + (1 - decay) * value
    with averaged(task, average):
        assert bias[0].item() == pytest.approx(expected)
    assert bias[0].item() == 39.0, "the steps go on where they were"
    assert average_of(task, settings()) is None


def test_the_result_is_the_average_and_a_resumed_run_has_the_same(tmp_path: Path) -> None:
    config = settings(averaging=0.8, steps=8, validation={"every_steps": 2, "batches": 1})
    whole, plain = Toy(), Toy()
    run(whole, config, tmp_path / "whole")
    run(plain, settings(steps=8), tmp_path / "plain")
    last = torch.load(tmp_path / "whole" / "last.pt", weights_only=True)
    taken = {k.removeprefix("parts."): v for k, v in last["task"].items()}
    assert all(torch.equal(taken[k], v) for k, v in weights(plain).items()), "it disturbs no step"
    assert not torch.equal(weights(whole)["body.0.weight"], weights(plain)["body.0.weight"])

    def stop(step: int) -> None:
        if step == 5:
            raise KeyboardInterrupt

    again = config.model_copy(update={"checkpoint_minutes": 1e-9})
    with pytest.raises(KeyboardInterrupt):
        run(Toy(before=stop), again, tmp_path / "cut")
    resumed = Toy()
    run(resumed, again, tmp_path / "cut")
    assert all(torch.equal(weights(resumed)[k], v) for k, v in weights(whole).items())
