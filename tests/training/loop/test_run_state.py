from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.refusals import refused
from tests.training.toy_task import Toy, run, settings
from training.errors import TrainingError
from training.loop.run_state import check_state


class Payload:
    """Runs when it is unpickled: makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., None], tuple[Path]]:
        return Path.touch, (self.path,)


def resume(folder: Path) -> None:
    run(Toy(), settings(precision="fp32"), folder)


def evil(path: Path) -> None:
    content = {"task": Payload(path.with_name("run")), "optimizer": {}, "step": 0, "scores": []}
    torch.save(content, path)


def truncated(path: Path) -> None:
    resume(path.parent)
    path.write_bytes(path.read_bytes()[:-1000])


@pytest.mark.parametrize(
    "spoil",
    [
        evil,
        truncated,
        Path.touch,
        lambda path: torch.save({"weights": torch.zeros(3)}, path),
        lambda path: torch.save({"task": {}}, path),  # the best weights alone
    ],
)
def test_a_state_that_is_not_ours_is_refused_and_not_run(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    last = tmp_path / "last.pt"
    spoil(last)
    refused(lambda: check_state(tmp_path), TrainingError, last, "remove it")
    assert not (tmp_path / "run").exists()


def test_a_state_of_other_parts_is_refused(tmp_path: Path) -> None:
    """As when the settings were changed for good, and the model with them."""
    resume(tmp_path)
    state = torch.load(tmp_path / "last.pt")
    state["task"]["parts.body.0.weight"] = torch.zeros(5, 5)
    torch.save(state, tmp_path / "last.pt")
    check_state(tmp_path)
    refused(lambda: resume(tmp_path), TrainingError, "size mismatch")
