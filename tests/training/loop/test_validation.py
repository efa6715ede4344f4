from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from tests.training.toy_task import Toy, settings
from training.errors import TrainingError
from training.loop.train import build_fabric, train
from training.loop.validation import has_fallen
from training.loop_config import Optimisation
from training.tasks.contact_sheet import draw_contact_sheet

STOP = {"metric": "nearness", "patience": 2}


def run(task: Toy, config: Optimisation, folder: Path) -> None:
    train(task, config, folder, fabric=build_fabric(config.precision))


def found(folder: Path) -> list[dict[str, float]]:
    lines = (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if "validation/nearness" in line]


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


@pytest.mark.parametrize(
    ("scores", "fallen"),
    [
        ([], False),
        ([0.5], False),
        ([0.5, 0.4], False),
        ([0.5, 0.4, 0.45], True),
        ([0.5, 0.4, 0.49], False),  # within the margin
        ([0.5, 0.4, 0.6, 0.55], False),
        ([0.5, 0.4, 0.6, 0.55, 0.5], True),
    ],
)
def test_a_fall_is_two_scores_in_a_row_below_the_best(scores: list[float], fallen: bool) -> None:
    rule = {"every_steps": 1, "batches": 1, "early_stop": STOP | {"margin": 0.02}}
    assert has_fallen(scores, settings(validation=rule)) is fallen
    assert not has_fallen(scores, settings())


def test_training_stops_early_with_the_best_weights(tmp_path: Path) -> None:
    """A learning rate far too high makes the toy worse from some step on."""
    rule = {"every_steps": 1, "batches": 2, "early_stop": {"metric": "nearness", "patience": 3}}
    config = settings(steps=60, learning_rate=3.0, validation=rule, warmup_steps=50)
    task = Toy()
    run(task, config, tmp_path)
    scores = [entry["validation/nearness"] for entry in found(tmp_path)]
    assert 3 < len(scores) < 60
    assert int(np.argmax(scores)) == len(scores) - 4
    best = torch.load(tmp_path / "best.pt")["task"]
    assert all(torch.equal(task.state_dict()[name], value) for name, value in best.items())
    # Stopped is finished: it is not trained again, and keeps the best weights.
    again = Toy()
    run(again, config, tmp_path)
    assert again.seen == []
    assert all(torch.equal(again.state_dict()[name], value) for name, value in best.items())


def test_the_best_weights_are_the_result_of_a_whole_run_too(tmp_path: Path) -> None:
    rule = {"every_steps": 1, "batches": 2, "early_stop": {"metric": "nearness", "patience": 50}}
    task = Toy()
    run(task, settings(steps=12, learning_rate=3.0, warmup_steps=12, validation=rule), tmp_path)
    scores = [entry["validation/nearness"] for entry in found(tmp_path)]
    assert int(np.argmax(scores)) < 11
    best = torch.load(tmp_path / "best.pt")["task"]
    assert all(torch.equal(task.state_dict()[name], value) for name, value in best.items())


def test_an_unknown_metric_is_refused_before_any_step(tmp_path: Path) -> None:
    rule = {"every_steps": 1, "batches": 1, "early_stop": {"metric": "map"}}
    task = Toy()
    with pytest.raises(TrainingError, match="'map'; this stage measures nearness, luck"):
        run(task, settings(validation=rule), tmp_path)
    assert task.seen == []
    assert not list(tmp_path.iterdir())


def test_a_sheet_shows_prompt_and_masks() -> None:
    images = torch.zeros(2, 3, 96, 96, dtype=torch.uint8)
    coords = torch.tensor([[[48.0, 48.0], [0, 0]], [[12.0, 12.0], [84.0, 84.0]]])
    labels = torch.tensor([[1, -1], [2, 3]])
    full: Tensor = nn.init.ones_(torch.empty(2, 24, 24))
    sheet = draw_contact_sheet(images, coords, labels, masks=[full, -full])
    assert sheet.shape == (2 * 192, 3 * 192, 3)
    assert sheet[96, 96].tolist() == [255, 255, 255]  # the point
    assert sheet[192 + 24, 24].tolist() == [255, 255, 255]  # the box's corner
    assert sheet[:, 192:384].any(axis=2).mean() > 0.99  # filled
    assert not sheet[:, 384:].any()  # empty
