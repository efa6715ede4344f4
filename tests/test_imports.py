"""The package's modules are imported on each Python, with each set of dependencies."""

from __future__ import annotations

import importlib

from tests.source_tree import sources
from tests.wheel_only import PACKAGES


def test_a_module_lacks_at_most_a_package_of_an_extra() -> None:
    lacking = {}
    for name in sources():
        if name.startswith("samclip_sdk"):
            try:
                importlib.import_module(name)
            except ModuleNotFoundError as error:
                package = str(error.name).partition(".")[0]
                if package not in PACKAGES:
                    lacking[name] = package
    assert not lacking
