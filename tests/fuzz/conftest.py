"""The world of the cases, and the server that is asked."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

import pytest

from tests.fuzz.promises import World
from tests.fuzz.site import Site, opened_site

ENOUGH = 200
"""Of cases of a module: so many must hold some that are answered and some that are not."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Caches, temporary files and relative paths go into its folder."""
    folder = tmp_path_factory.mktemp("fuzz")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("XDG_CACHE_HOME", "XDG_DATA_HOME"):
            patch.setenv(name, str(folder / name.lower()))
        (folder / "tmp").mkdir()
        patch.setattr(tempfile, "tempdir", str(folder / "tmp"))
        made = World(folder)
        patch.chdir(made.work)
        yield made
        made.model.close()
    if made.ends.total() >= ENOUGH:
        assert made.ends["answer"], "nothing is answered"
        assert made.ends["refusal"], "nothing is refused"


@pytest.fixture(scope="module")
def site(world: World) -> Iterator[Site]:
    with opened_site(world) as opened:
        yield opened
