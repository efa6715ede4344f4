from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from benchmarks.speed.schema import Latency, published_schema
from tests.benchmarks.speed.example_latency import latency_of, subject_row, workload_row

PUBLISHED = Path(__file__).parents[3] / "docs" / "latency.schema.json"


def test_the_published_schema_is_this_one() -> None:
    """`python -m benchmarks latency-schema` writes it."""
    assert PUBLISHED.read_text(encoding="utf-8") == published_schema()


def test_a_record_survives_json() -> None:
    record = latency_of(subject_row("a", workload_row("encode", 10, 20)))
    text = record.model_dump_json()
    assert Latency.model_validate_json(text) == record
    for fault in ('"schema_version":2', '"schema_version":1,"more":0'):
        with pytest.raises(ValidationError):
            Latency.model_validate_json(text.replace('"schema_version":1', fault))


def test_two_subjects_of_one_key_are_refused() -> None:
    row = subject_row("a", workload_row("encode", 10))
    with pytest.raises(ValidationError, match="two subjects have one key"):
        latency_of(row, row)
