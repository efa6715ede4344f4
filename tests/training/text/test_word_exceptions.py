from __future__ import annotations

from pathlib import Path

import pytest

from tests.refusals import refused
from training.errors import TrainingError
from training.text.word_exceptions import EXCEPTIONS, read_exceptions

_RULE = '[rule]\njoints = "with"\nmeasures = "slice"\narticles = "a"\n'
_HEAD = f'{_RULE}[senses]\nbelt = "n00000301, n00000302"\nmetal = ""\n[depth]\n"" = 2\n'


def test_a_file_says_something_of_texts(tmp_path: Path) -> None:
    path = tmp_path / "exceptions.toml"
    same = '[topics.cars.same]\ncar = """auto, motor\n  car"""\n'
    topic = f'{same}[topics.cars.any_of]\nwheels = "a, b"\n'
    path.write_text(f'{_HEAD}[topics.cars]\nunknown = "car key"\n{topic}', encoding="utf-8")
    found = read_exceptions(path)
    assert found.senses == {"belt": (301, 302), "metal": ()}
    assert found.depth == {"": 2}
    assert found.rule.joints == ("with",)
    assert found.readings == {
        "auto": ("same", ("car",)),
        "motor car": ("same", ("car",)),
        "wheels": ("any_of", ("a", "b")),
        "car key": ("unknown", ()),
    }


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[rule", "exceptions.toml"),
        ("[rule]\njoints = 3\n", "exceptions.toml"),
        (f'{_HEAD}[topics.a]\nunknown = "x"\n[topics.b.same]\ncar = "x"\n', "'x'"),
    ],
)
def test_a_file_that_is_wrong(tmp_path: Path, content: str, told: str) -> None:
    path = tmp_path / "exceptions.toml"
    path.write_text(content, encoding="utf-8")
    refused(lambda: read_exceptions(path), TrainingError, told)
    refused(lambda: read_exceptions(tmp_path / "none.toml"), TrainingError, "none.toml")


def test_our_own_file_speaks_of_taught_words_alone() -> None:
    checkpoint = EXCEPTIONS.parents[1] / "checkpoints/mobile/refinement"
    taught = {*(checkpoint / "nouns.txt").read_text(encoding="utf-8").splitlines()}
    found = read_exceptions()
    assert {word for _, words in found.readings.values() for word in words} <= taught
    assert taught.isdisjoint(found.readings)
    assert {*found.senses, *found.depth} - {""} <= taught
