"""Two machines train as one; one of them dies, comes back, and the weights are the same."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.training.loop.test_train import ROOT, launch, parts, same

STEPS = 8


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
    return port


def start_node(run: Path, port: int, *, rank: int, killed_at: int = -1) -> subprocess.Popen[str]:
    """A machine of two, as torchrun starts it; it may die with all that is on it."""
    own = ["--nnodes", "2", "--nproc-per-node", "1", "--node-rank", str(rank)]
    own += ["--master-addr", "127.0.0.1", "--master-port", str(port)]
    words = [run, 1, 1, 0, killed_at, 2]
    with run.with_name(f"{rank}.log").open("a") as log:
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "torch.distributed.run", *own),
                *("-m", "tests.training.toy_task", *map(str, words)),
            ],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=log,
            stderr=log,
            start_new_session=True,
            text=True,
        )


@pytest.mark.slow
def test_a_node_that_was_killed_and_started_again_ends_bit_equal(tmp_path: Path) -> None:
    """The other node ends by itself; both are started again, and go on from the last step."""
    run, port = tmp_path / "two", free_port()
    nodes = [
        start_node(run, port, rank=rank, killed_at=killed_at)
        for rank, killed_at in ((0, -1), (1, 5))
    ]
    try:
        assert nodes[1].wait(timeout=180) == -signal.SIGKILL
        assert nodes[0].wait(timeout=180) == 1
        assert torch.load(run / "last.pt")["step"] == 5
        nodes += [start_node(run, port, rank=rank) for rank in (0, 1)]
        assert [node.wait(timeout=180) for node in nodes[2:]] == [0, 0]
    finally:
        for node in nodes:
            if node.poll() is None:
                os.killpg(node.pid, signal.SIGKILL)
                node.wait()
    assert torch.load(run / "last.pt")["step"] == STEPS
    assert same(parts(run), launch(tmp_path / "whole", devices=2))
