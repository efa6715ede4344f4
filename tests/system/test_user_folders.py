"""Where caches and what was found out lie, for users with a home and for those without."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from samclip_sdk.errors import StorageError
from samclip_sdk.runtimes.sign_off import write_sign_off
from samclip_sdk.system.user_folders import user_data
from samclip_sdk.text.stored_labels import StoredLabels, text_cache_folder
from tests.refusals import refused


def no_home(*_: object) -> Path:
    raise RuntimeError("could not determine the home directory for '~/.cache'")


@pytest.mark.parametrize("found", [no_home, lambda *_: Path("~/.cache/samclip-sdk")])
def test_without_a_home_nothing_is_kept_and_all_else_works(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, found: object
) -> None:
    """As of a container's user that no list of users has, with HOME unset."""
    monkeypatch.setattr("platformdirs.user_cache_path", found)
    monkeypatch.setattr("platformdirs.user_data_path", found)
    monkeypatch.chdir(tmp_path)
    assert text_cache_folder() == Path(os.devnull) / "text"
    labels = StoredLabels(["a model"])
    labels.put("dog", np.zeros(4, np.float32))
    assert labels.get("dog") is None
    path = user_data("verified") / "a.json"
    refused(lambda: write_sign_off(path, report="{}"), StorageError, "a.json")
    assert not list(tmp_path.iterdir())
