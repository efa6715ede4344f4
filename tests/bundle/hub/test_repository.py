"""Names of repositories, and what on this disk comes before them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from huggingface_hub.utils import validate_repo_id
from hypothesis import given
from hypothesis import strategies as st

from samclip_sdk.bundle.hub.opening import open_named_bundle
from samclip_sdk.bundle.hub.options import HubOptions
from samclip_sdk.bundle.hub.repository import Repository, is_repository_name
from samclip_sdk.errors import BundleError, OptionError
from tests.refusals import refused

COMMIT = "0123456789abcdef0123456789abcdef01234567"
WRONG = (
    *("", "name", "a/b/c", "/a/b", "a//b", "./a/b", "../b", "a/..", "~/b", "a b/c", "ä/b"),
    *("a/b--c", "a/b..c", "a/.b", "-a/b", "a/b-", "a/b.git", "a/b.zip", "a\\b/c", "a/b@", "a/b\n"),
    *("a/" + "b" * 95, "@main", "a@v1/b"),
)


def test_names() -> None:
    assert Repository.parse("org/na.me_1-2") == Repository("org/na.me_1-2", "main")
    assert Repository.parse("org/name@v1.0") == Repository("org/name", "v1.0")
    assert Repository.parse("org/name@refs/pr/3").revision == "refs/pr/3"
    assert Repository.parse("org/name", revision="dev").revision == "dev"
    assert Repository.parse(f"org/name@{COMMIT}").is_commit
    assert not Repository.parse("org/name@v1.0").is_commit


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_name(name: str) -> None:
    assert not is_repository_name(name)
    refused(lambda: Repository.parse(name), OptionError, "org/name")
    refused(lambda: open_named_bundle(name or "nothing"), BundleError, "org/name")


def test_a_path_is_no_name() -> None:
    assert not is_repository_name(Path("org/name"))


@pytest.mark.parametrize("revision", ["a b", "-x", "/x", "a..b", "a\nb", "é", "x" * 201, "a:b"])
def test_what_is_no_revision(revision: str) -> None:
    refused(lambda: Repository.parse("org/name", revision=revision), OptionError, "revision")


def test_one_revision() -> None:
    refused(lambda: Repository.parse("org/name@v1", revision="v2"), OptionError, "v1", "v2")


@given(st.text("aB0-_.é/@", max_size=12))
def test_no_name_is_taken_that_the_hub_refuses(name: str) -> None:
    if is_repository_name(name):
        validate_repo_id(name.partition("@")[0])


def test_a_revision_of_what_is_here(tmp_path: Path) -> None:
    options = HubOptions(revision="v1")
    for model in (tmp_path, "samclip-mobile"):
        refused(partial(open_named_bundle, model, hub=options), OptionError, "v1")


def test_a_token_is_not_shown() -> None:
    assert "hf_secret" not in repr(HubOptions(token="hf_secret"))
