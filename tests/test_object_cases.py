from __future__ import annotations

from tests.object_cases import CASES, written


def test_what_other_languages_must_answer_is_what_this_package_answers() -> None:
    assert CASES.read_text(encoding="utf-8") == written(), "run python -m tests.object_cases"
