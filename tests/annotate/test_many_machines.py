"""Workers of a Ray cluster write what one process writes, whatever becomes of a node."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from samclip_sdk.annotate.annotation_log import log_path
from tests.annotate.ray_cluster import ENVIRONMENT, ROOT, Machine, two_machines

pytest.importorskip("ray.data")

BUNDLE = ROOT / "tests" / "bundles" / "samclip-tiny"
LABELS = ["dog", "boat", "cat", "tree"]
COUNT = 60


def make_pictures(folder: Path) -> Path:
    """Drawings in several sizes, and one that cannot be read."""
    folder.mkdir()
    names = sorted((ROOT / "examples" / "images").glob("*.jpg"))
    for number in range(COUNT):
        with Image.open(names[number % len(names)]) as image:
            side = 120 + number
            image.resize((side, 90 + number // 2)).save(folder / f"{number:03d}.png")
    (folder / "broken.jpg").write_bytes(b"broken")
    return folder


def command(folder: Path, output: Path, *more: str) -> list[str]:
    own = [sys.executable, "-m", "samclip_sdk", "annotate", str(folder), *LABELS]
    return [*own, "--model", str(BUNDLE), "-o", str(output), "--threads", "1", "--json", *more]


def run(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **ENVIRONMENT}
    return subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )


def lines(output: Path) -> int:
    """How many pictures are noted as done."""
    path = log_path(output)
    return max(0, path.read_bytes().count(b"\n") - 1) if path.exists() else 0


def wait_for(output: Path, count: int, process: subprocess.Popen[str]) -> None:
    while lines(output) < count and process.poll() is None:
        time.sleep(0.05)


def finish(process: subprocess.Popen[str]) -> dict[str, object]:
    out, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    report: dict[str, object] = json.loads(out)
    return report


def start(head: Machine, words: list[str], folder: Path) -> subprocess.Popen[str]:
    return head.start(words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.slow
def test_a_node_and_a_run_that_are_killed_lose_and_double_nothing(tmp_path: Path) -> None:
    """A run is killed with -9, the next one's second node is, too; all in one cluster."""
    folder = make_pictures(tmp_path / "pictures")
    alone, together = tmp_path / "alone.json", tmp_path / "together.json"
    done = run(command(folder, alone, "--shard-size", "25"), tmp_path)
    assert done.returncode == 0, done.stderr
    with two_machines() as (head, other, address):
        words = command(folder, together, "--shard-size", "25", "--ray", address, "--workers", "4")
        stopped = start(head, words, tmp_path)
        wait_for(together, 8, stopped)
        stopped.kill()
        stopped.communicate()
        before = lines(together)
        assert 8 <= before < COUNT
        again = start(head, words, tmp_path)
        wait_for(together, before + 8, again)
        other.kill()
        left = COUNT - lines(together)
        report = finish(again)
    assert left > 0
    assert report["pictures"] == COUNT
    assert report["resumed"] == before
    _, *entries = log_path(together).read_text().splitlines()
    noted = [json.loads(entry)["file_name"] for entry in entries]
    assert sorted(noted) == sorted(set(noted)) == sorted(path.name for path in folder.glob("*.png"))
    assert [each["name"] for each in report["skipped"]] == ["broken.jpg"]  # type: ignore[attr-defined]
    assert together.read_bytes() == alone.read_bytes()
    assert json.loads(alone.read_text())["annotations"]
    shards = sorted((tmp_path / "together.shards").iterdir())
    assert [each.name for each in shards] == ["00000.json", "00001.json", "00002.json"]
    for each in shards:
        assert each.read_bytes() == (tmp_path / "alone.shards" / each.name).read_bytes()


@pytest.fixture
def ray_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Where Ray keeps what it keeps; names of sockets are short."""
    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")
    monkeypatch.setenv("RAY_TMPDIR", folder)
    yield
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.usefixtures("ray_folder")
def test_a_cluster_of_this_machine_alone(tmp_path: Path) -> None:
    """Of rows of a Parquet file; once all are done, no worker is started."""
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    pictures = sorted(make_pictures(tmp_path / "pictures").glob("*.png"))[-8:]
    content = [path.read_bytes() for path in pictures]
    parquet.write_table(pa.table({"image": content}), tmp_path / "p.parquet", row_group_size=3)
    alone, together = tmp_path / "alone.json", tmp_path / "together.json"
    assert run(command(tmp_path / "p.parquet", alone), tmp_path).returncode == 0
    words = command(tmp_path / "p.parquet", together, "--workers", "2", "--ray")
    done = run(words, tmp_path)
    assert done.returncode == 0, done.stderr
    assert together.read_bytes() == alone.read_bytes()
    assert json.loads(alone.read_text())["images"][-1]["file_name"] == "p.parquet#7"
    again = run(words, tmp_path)
    assert json.loads(again.stdout)["resumed"] == 8
