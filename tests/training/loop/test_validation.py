from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tests.training.toy_task import Toy, logged, run, settings
from training.errors import TrainingError
from training.loop.validation import stays_below
from training.loop_config import Optimisation


def found(folder: Path) -> list[dict[str, float]]:
    return [entry for entry in logged(folder) if "validation/nearness" in entry]


def test_a_validation_is_the_mean_over_all_its_items(tmp_path: Path) -> None:
    task = Toy()
    config = settings(validation={"every_steps": 4, "batches": 3})
    run(task, config, tmp_path)
    assert [entry["step"] for entry in found(tmp_path)] == [4, 8]
    task.eval()
    with torch.inference_mode():
        values = torch.cat([task.measure(task.validation[i])["nearness"] for i in range(3)])
    assert found(tmp_path)[-1]["validation/nearness"] == pytest.approx(
        values.mean().item(), rel=0.05
    )  # the validation ran in bf16
    # A metric without a single value is left out.
    assert "validation/luck" not in found(tmp_path)[-1]


def test_a_validation_leaves_training_as_it_was(tmp_path: Path) -> None:
    watched, alone = Toy(), Toy()
    run(watched, settings(validation={"every_steps": 1, "batches": 2}), tmp_path / "watched")
    run(alone, settings(), tmp_path / "alone")
    assert watched.seen == alone.seen
    assert [m.training for m in watched.modules()] == [m.training for m in alone.modules()]


def test_the_contact_sheet_and_the_board_are_written(tmp_path: Path) -> None:
    run(Toy(), settings(validation={"every_steps": 8, "batches": 1}), tmp_path)
    sheet = np.asarray(Image.open(tmp_path / "validation" / "0000008.png"))
    assert sheet.shape == (4, 6, 3)
    assert list((tmp_path / "tensorboard").glob("events*"))


def stopping(
    steps: int, *, minimum: float, patience: float = 5.0, metric: str = "nearness"
) -> Optimisation:
    """Ten steps an epoch, and a validation after each step."""
    rule = {"metric": metric, "minimum": minimum, "patience": patience}
    validation = {"every_steps": 1, "batches": 2, "early_stop": rule}
    return settings(steps=0, epochs=steps / 10, validation=validation).model_copy(
        update={"steps": steps}
    )


class Forgetful(Toy):
    """Begins as the best that there is, as a student does that is its teacher, and forgets.

    Its metric is `scores`, a validation each; `seen_weights` are those of each.
    """

    def __init__(self, *scores: float) -> None:
        super().__init__()
        self.scores = scores
        self.measured = 0
        self.seen_weights: list[Tensor] = []

    def measure(self, batch: Tensor) -> dict[str, Tensor]:
        score = self.scores[self.measured // 2]  # two batches a validation
        self.measured += 1
        return {"nearness": torch.full((4,), score), "luck": torch.zeros(0)}

    def draw(self, batch: Tensor) -> np.ndarray:
        self.seen_weights.append(weight_of(self))  # once a validation
        return super().draw(batch)


def weight_of(task: Toy) -> Tensor:
    weight: Tensor = task.parts["body"][0].weight
    return weight.detach().clone()


@pytest.mark.parametrize(
    ("scores", "below"),
    [
        ([], False),
        ([1.0, 0.96, 0.9], False),  # a fall above the floor is none
        ([1.0, 0.89, 0.85], False),
        ([1.0, 0.89, 0.85, 0.8], True),
        ([1.0, 0.89, 0.85, 0.91], False),  # it came back
        ([0.8, 0.8, 0.8], True),  # it never was above
    ],
)
def test_a_run_ends_once_the_metric_is_below_the_floor_for_so_many_epochs(
    scores: list[float], below: bool
) -> None:
    """Three validations are 0.3 epochs."""
    assert stays_below(scores, stopping(20, minimum=0.9, patience=0.3)) is below
    assert not stays_below(scores, settings())


def test_the_last_weights_above_the_floor_are_the_result_not_the_first(tmp_path: Path) -> None:
    """A student that is its SAM at the start is best before it has learned anything."""
    task = Forgetful(1.0, 0.9, 0.8, 0.7, 0.5, 0.6, 0.5, 0.4, 0.3)
    config = stopping(20, minimum=0.65, patience=0.5)
    run(task, config, tmp_path)
    assert len(task.seen_weights) == 9  # the last five are below
    assert torch.equal(weight_of(task), task.seen_weights[3])
    assert not torch.equal(weight_of(task), task.seen_weights[0])
    # Stopped is finished: it is not trained again, and keeps the same weights.
    again = Forgetful()
    run(again, config, tmp_path)
    assert again.seen == []
    assert torch.equal(weight_of(again), weight_of(task))


def test_a_run_that_stays_above_the_floor_ends_with_its_last_weights(tmp_path: Path) -> None:
    task = Forgetful(1.0, 0.9, 0.5, 0.8, 0.7)
    run(task, stopping(5, minimum=0.65), tmp_path)
    assert torch.equal(weight_of(task), task.seen_weights[-1])


def test_a_run_that_never_is_above_the_floor_has_no_result(tmp_path: Path) -> None:
    message = r"nearness was 0\.9 at best.*early_stop\.minimum is 0\.95: lower it, or"
    with pytest.raises(TrainingError, match=message):
        run(Forgetful(0.9, 0.8, 0.7), stopping(3, minimum=0.95), tmp_path)
    assert torch.load(tmp_path / "last.pt")["step"] == 3
    assert not (tmp_path / "kept.pt").exists()


def test_patience_counts_epochs() -> None:
    rule = {"metric": "nearness", "minimum": 0.9, "patience": 2.0}
    with pytest.raises(ValueError, match=r"early_stop\.patience counts epochs"):
        settings(validation={"every_steps": 1, "batches": 1, "early_stop": rule})


def test_an_unknown_metric_is_refused_before_any_step(tmp_path: Path) -> None:
    config = stopping(8, minimum=0.5, metric="map")
    task = Toy()
    with pytest.raises(TrainingError, match="'map'; this stage measures nearness, luck"):
        run(task, config, tmp_path)
    assert task.seen == []
    assert not list(tmp_path.iterdir())
