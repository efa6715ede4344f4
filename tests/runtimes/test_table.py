"""The table of runtimes agrees with what is written where the table cannot be read."""

from __future__ import annotations

import re
from typing import get_args

import pytest

from samclip_sdk.bundle import graph_spec
from samclip_sdk.errors import RuntimeMissingError
from samclip_sdk.runtimes.opening import runtime_module
from samclip_sdk.runtimes.options import DEFAULT_OPTIONS
from samclip_sdk.runtimes.table import OF_BUNDLES, RUNTIMES
from tests.source_tree import ROOT

FILES = {known.reads for known in RUNTIMES.values() if known.reads}


def test_a_manifest_names_the_same_runtimes_and_precisions() -> None:
    assert get_args(graph_spec.Runtime) == OF_BUNDLES
    read = {each for name in OF_BUNDLES for each in RUNTIMES[name].precisions.values()}
    assert set(get_args(graph_spec.Precision)) == read


def test_every_runtime_of_bundles_can_be_opened_and_no_other() -> None:
    for name in RUNTIMES:
        if name in OF_BUNDLES:
            assert runtime_module(name).__name__ == f"samclip_sdk.runtimes.{name}.runtime"
        else:
            with pytest.raises(RuntimeMissingError):
                runtime_module(name)
    assert set(OF_BUNDLES) >= FILES


@pytest.mark.parametrize("name", RUNTIMES)
def test_options_and_extras_exist(name: str) -> None:
    known = RUNTIMES[name]
    assert {*known.options, *known.instead} <= set(vars(DEFAULT_OPTIONS))
    assert ("device" in known.options) == bool(known.devices)
    assert bool(known.system) == bool(known.elsewhere)
    declared = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    extras = re.findall(r"samclip-sdk\[([a-z-]+)\]", known.install + known.elsewhere)
    assert extras
    for extra in extras:
        assert f"\n{extra} = [" in declared
