from __future__ import annotations

from collections.abc import Sequence

import pytest

from training.text.lexicon import Place, Places, TaughtWord, group_taught, stray_names
from training.text.relations import Relations

_CLASSES = {"pug": (0,), "pug-dog": (0,), "taxi": (1,), "crane": (2, 3)}
_SYNSETS = (102, 302, 507, 209)
_NAMES = ["car", "cars", "person", "couch", "sofa", "bus", "truck", "cab", "xyzs", "xyz"]


@pytest.fixture(scope="module")
def taught(relations: Relations) -> tuple[TaughtWord, ...]:
    return group_taught(relations, _NAMES, classes=_CLASSES, synsets=_SYNSETS)


@pytest.fixture(scope="module")
def places(relations: Relations, taught: tuple[TaughtWord, ...]) -> Places:
    return Places(relations, taught)


def called(taught: Sequence[TaughtWord], place: Place) -> set[str]:
    return {taught[each].names[0] for each in place.words}


def test_classes_bring_their_senses(taught: tuple[TaughtWord, ...]) -> None:
    by_name = {word.names[0]: word for word in taught}
    assert by_name["cab"] == TaughtWord(("cab", "taxi"), (302,), classes=(1,))
    assert by_name["crane"].classes == (2, 3)
    assert by_name["crane"].senses == (507, 209)
    assert by_name["xyzs"] == TaughtWord(("xyzs", "xyz"), (), known=False)
    assert by_name["person"].senses == (200,)


@pytest.mark.parametrize(
    ("name", "relation", "words"),
    [
        ("lounge", "synonym", {"couch"}),
        ("people", "synonym", {"person"}),
        ("man", "kind", {"person"}),
        ("women", "kind", {"person"}),
        ("yellow taxicab", "kind", {"cab"}),
        ("vehicle", "hypernym", {"car", "bus", "truck", "cab"}),
        ("furniture", "near", {"couch"}),
        ("dog", "near", {"pug"}),
        ("cat", "alone", set()),
        ("abc", "alone", set()),
    ],
)
def test_where_words_stand(
    places: Places, taught: tuple[TaughtWord, ...], name: str, relation: str, words: set[str]
) -> None:
    place = places.of(name)[0]
    assert (place.relation, called(taught, place)) == (relation, words)


def test_a_word_of_several_senses_stands_in_several_places(places: Places) -> None:
    assert [place.relation for place in places.of("mug")] == ["alone", "kind"]


def test_what_else_a_taught_name_means_must_be_like_it(relations: Relations) -> None:
    """A chump is a mug, too, if MiniLM has them together; and what is a mug is not asked."""
    taught = group_taught(relations, ["person", "mug"], classes={}, synsets=())
    places = Places(relations, taught)
    mug = [word.names[0] for word in taught].index("mug")
    alike = [each != mug for each in range(len(taught))]
    assert places.of("chump") == (Place("synonym", (mug,)),)
    assert places.of("chump", alike=alike) == (Place("kind", (1 - mug,)),)
    assert places.of("someone", alike=[False] * 2) == (Place("synonym", (1 - mug,)),)


def test_a_name_of_a_class_strays_if_it_means_something_else_first(relations: Relations) -> None:
    """Here a table is furniture first; of a class that is a list, it may be no name."""
    taught = TaughtWord(("tabular array", "table"), (404,), classes=(0,))
    assert stray_names(relations, taught, lambda name, first: False) == ("table",)
    assert stray_names(relations, taught, lambda name, first: True) == ()
    same = TaughtWord(("sofa", "couch"), (401,), classes=(0,))
    assert stray_names(relations, same, lambda name, first: False) == ()
    shown = TaughtWord(("tabular array", "table"), (404,))
    assert stray_names(relations, shown, lambda name, first: False) == ()


def test_kinds_of_a_taught_word(places: Places, taught: tuple[TaughtWord, ...]) -> None:
    kinds = [taught[each].names[0] for each in places.kinds(taught[0])]
    assert kinds == ["cab"]
