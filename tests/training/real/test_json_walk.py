from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from training.real.json_walk import walk_json

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from("abcd") | st.text(max_size=3), values, max_size=4),
    st.lists(values, max_size=4),
    st.sampled_from([None, 2]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_members_are_those_that_json_reads(
    tmp_path: Path, content: dict[str, Any], many: list[Any], indent: int | None
) -> None:
    content["annotations"] = many
    path = tmp_path / "a.json"
    path.write_text(f" {json.dumps(content, indent=indent)}\n", encoding="utf-8")
    walked = list(walk_json(path, apart="annotations"))
    assert [value for name, value in walked if name == "annotations"] == many
    rest = {name: value for name, value in walked if name != "annotations"}
    assert rest == {name: value for name, value in content.items() if name != "annotations"}


def test_elements_come_one_by_one(tmp_path: Path) -> None:
    """The first is there although the file is damaged behind it."""
    path = tmp_path / "a.json"
    path.write_text('{"annotations": [{"id": 1}, {"id": oops')
    walk = walk_json(path, apart="annotations")
    assert next(walk) == ("annotations", {"id": 1})
    with pytest.raises(ValueError, match="Expecting value: line 1 column 36"):
        next(walk)


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"a" 1}', '{"a": 1', '{"a": [1 2]}', "{1: 2}"])
def test_what_is_no_object_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"line 1 column"):
        list(walk_json(path, apart="a"))


def test_an_empty_object_has_no_members(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(" { } ")
    assert list(walk_json(tmp_path / "a.json", apart="a")) == []
    (tmp_path / "a.json").write_text('{"a": []}')
    assert list(walk_json(tmp_path / "a.json", apart="a")) == []
