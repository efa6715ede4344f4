from __future__ import annotations

import pytest

from samclip_sdk.bundle.open import DEFAULT_MODEL, open_bundle
from samclip_sdk.bundle.training_sets import is_restricted, told_terms, training_sets
from tests.command import answer, table


@pytest.mark.parametrize(
    ("terms", "restricted"),
    [
        ("CC0-1.0", False),
        ("annotations CC-BY-4.0, photos Flickr terms", False),
        ("MIT (repository of the authors)", False),
        ("CC-BY-SA-4.0 (Oxford-IIIT pets)", False),
        ("research only (DAVIS: CC BY-NC)", True),
        ("unknown; photos from the web", True),
        ("CC-BY-4.0 (Roboflow export); photos from the web", True),
        ("CC BY-NC 4.0", True),
        ("licence file absent", True),
        ("", True),
    ],
)
def test_terms_by_their_words(terms: str, restricted: bool) -> None:
    assert is_restricted(terms) is restricted


def test_sets_of_all_stages_are_told() -> None:
    manifest = open_bundle(DEFAULT_MODEL).manifest
    first = {"photographs": {"cats": "CC0"}, "starts_from": {"photographs": {"dogs": "unknown"}}}
    found = training_sets(manifest.model_copy(update={"provenance": {"checkpoint": first}}))
    assert found == {"cats": "CC0", "dogs": "unknown"}
    assert "2 sets of photographs, 1 of them" in told_terms(found)
    assert "1 sets" not in told_terms({"cats": "CC0"})
    assert training_sets(manifest.model_copy(update={"provenance": {}})) == {}
    assert told_terms({}) == ""


def test_the_default_model_hides_nothing() -> None:
    told = answer("info", "--licences")
    sets = training_sets(open_bundle(DEFAULT_MODEL).manifest)
    assert told["training_sets"] == sets
    assert 0 < len(told["restricted"]) < len(sets)
    printed = table("info", "--licences")
    assert all(name in printed for name in sets)
    assert f"{len(told['restricted'])} of them for research only" in printed
    assert "for research only" in table("info")
