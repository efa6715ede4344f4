"""Workers of a Ray cluster write what one process writes, whatever becomes of a node."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from samclip_sdk.annotate.annotation_log import log_path
from tests.drawings import TINY_BUNDLE
from tests.source_tree import ROOT

pytestmark = pytest.mark.slow

LABELS = ["dog", "boat", "cat", "tree"]
COUNT = 60
ENVIRONMENT = {
    "PYTHONPATH": str(ROOT),
    "OMP_NUM_THREADS": "1",
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",  # 15 otherwise: starved on a machine that has other work
    "SOURCE_DATE_EPOCH": "1700000000",
}


@pytest.fixture(autouse=True)
def ray_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Where Ray keeps what it keeps; names of sockets are short."""
    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")
    for name, value in {**ENVIRONMENT, "RAY_TMPDIR": folder}.items():
        monkeypatch.setenv(name, value)
    yield
    shutil.rmtree(folder, ignore_errors=True)


def make_images(folder: Path) -> Path:
    """Drawings in several sizes, and one that cannot be read."""
    folder.mkdir()
    names = sorted((ROOT / "examples" / "images").glob("*.jpg"))
    for number in range(COUNT):
        with Image.open(names[number % len(names)]) as image:
            side = 120 + number
            image.resize((side, 90 + number // 2)).save(folder / f"{number:03d}.png")
    (folder / "broken.jpg").write_bytes(b"broken")
    return folder


def start(folder: Path, output: Path, *more: str) -> subprocess.Popen[str]:
    own = [sys.executable, "-m", "samclip_sdk", "annotate", str(folder), *LABELS, *more]
    own += ["--model", str(TINY_BUNDLE), "-o", str(output), "--threads", "1", "--json"]
    own += ["--runtime", "onnx"]  # Two runs may choose two: on a busy machine times are in doubt.
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(own, cwd=output.parent, text=True, **pipes)


def finish(process: subprocess.Popen[str]) -> dict[str, object]:
    out, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    report: dict[str, object] = json.loads(out)
    return report


def lines(output: Path) -> int:
    """How many images are noted as done."""
    path = log_path(output)
    return max(0, path.read_bytes().count(b"\n") - 1) if path.exists() else 0


def wait_for(output: Path, count: int, process: subprocess.Popen[str]) -> None:
    while lines(output) < count and process.poll() is None:
        time.sleep(0.05)


def test_a_node_and_a_run_that_are_killed_lose_and_double_nothing(tmp_path: Path) -> None:
    """A run is killed with -9, the next one's second node is, too; all in one cluster."""
    from ray.cluster_utils import Cluster

    folder = make_images(tmp_path / "images")
    alone, together = tmp_path / "alone.json", tmp_path / "together.json"
    finish(start(folder, alone, "--shard-size", "25"))
    node = {"num_cpus": 2, "object_store_memory": 100 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    try:
        other = cluster.add_node(**node)
        words = ("--shard-size", "25", "--ray", cluster.address, "--workers", "4")
        stopped = start(folder, together, *words)
        wait_for(together, 8, stopped)
        stopped.kill()
        stopped.communicate()
        before = lines(together)
        assert 8 <= before < COUNT
        again = start(folder, together, *words)
        wait_for(together, before + 8, again)
        cluster.remove_node(other, allow_graceful=False)
        left = COUNT - lines(together)
        report = finish(again)
    finally:
        cluster.shutdown()
    assert left > 0
    assert report["images"] == COUNT
    assert report["resumed"] == before
    _, *entries = log_path(together).read_text().splitlines()
    noted = [json.loads(entry)["file_name"] for entry in entries]
    assert sorted(noted) == sorted(set(noted)) == sorted(path.name for path in folder.glob("*.png"))
    assert [each["name"] for each in report["skipped"]] == ["broken.jpg"]
    assert together.read_bytes() == alone.read_bytes()
    assert json.loads(alone.read_text())["annotations"]
    shards = sorted((tmp_path / "together.shards").iterdir())
    assert [each.name for each in shards] == ["00000.json", "00001.json", "00002.json"]
    for each in shards:
        assert each.read_bytes() == (tmp_path / "alone.shards" / each.name).read_bytes()


def test_a_cluster_of_this_machine_alone(tmp_path: Path) -> None:
    """Of rows of a Parquet file; once all are done, no worker is started."""
    images = sorted(make_images(tmp_path / "images").glob("*.png"))[-8:]
    content = [path.read_bytes() for path in images]
    table = tmp_path / "p.parquet"
    parquet.write_table(pa.table({"image": content}), table, row_group_size=3)
    alone, together = tmp_path / "alone.json", tmp_path / "together.json"
    finish(start(table, alone))
    finish(start(table, together, "--workers", "2", "--ray"))
    assert together.read_bytes() == alone.read_bytes()
    assert json.loads(alone.read_text())["images"][-1]["file_name"] == "p.parquet#7"
    assert finish(start(table, together, "--workers", "2", "--ray"))["resumed"] == 8
