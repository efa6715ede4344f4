from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from benchmarks.record import Environment, publishable, read_record, write_record
from benchmarks.speed.record import Machine, Peak, Speed
from tests.benchmarks.speed.example_speed import speed_of, subject_row, workload_row


def test_a_record_survives_its_file(tmp_path: Path) -> None:
    record, path = speed_of(subject_row("a", workload_row("encode", 10, 20))), tmp_path / "a.json"
    write_record(record, path)
    assert read_record(Speed, path) == record
    text = path.read_text(encoding="utf-8")
    for fault, said in (
        ('"schema_version": 2', "schema_version: Input should be 3"),
        ('"schema_version": 3, "more": 0', "more: Extra inputs are not permitted"),
    ):
        path.write_text(text.replace('"schema_version": 3', fault), encoding="utf-8")
        with pytest.raises(ValueError, match=rf"a\.json holds no Speed: {said}"):
            read_record(Speed, path)
    path.write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match=r"a\.json holds no Environment: Invalid JSON"):
        read_record(Environment, path)


def test_two_subjects_of_one_key_are_refused() -> None:
    row = subject_row("a", workload_row("encode", 10))
    with pytest.raises(ValidationError, match="two subjects have one key"):
        speed_of(row, row)


def test_the_best_engine_of_each_precision() -> None:
    rows = (("fp32", "torch", 90.0), ("fp32", "openvino", 100.0), ("int8", "torch", 50.0))
    peaks = tuple(Peak(precision=p, engine=e, size=1024, gflops=g) for p, e, g in rows)
    best = Machine(threads=1, peaks=peaks[::-1], bandwidth_gbps=1).best()
    assert {name: peak.engine for name, peak in best.items()} == {
        "fp32": "openvino",
        "int8": "torch",
    }


@pytest.mark.parametrize(
    ("text", "published"),
    [
        ("samclip,model=/home/me/my-bundle,threads=2", "samclip,model=my-bundle,threads=2"),
        ("cannot open '/a/b c.txt'\n at all", "cannot open 'b c.txt' at all"),
        ("from m/n to 1/2, see https://a.b/c", "from m/n to 1/2, see https://a.b/c"),
    ],
)
def test_folders_are_not_published(text: str, published: str) -> None:
    assert publishable(text) == published
