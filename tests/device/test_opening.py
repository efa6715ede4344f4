"""What `SamClip.load` is given as a model, where it is nothing that there could be."""

from __future__ import annotations

import pytest

from samclip_sdk import BundleError, SamClip


@pytest.mark.parametrize("name", ["a" * 300, "a/" * 3000, "a" * 300 + ".zip", "a\0b", "\ud800"])
def test_a_name_that_no_system_could_have(name: str) -> None:
    with pytest.raises(BundleError, match="there is no bundle") as error:
        SamClip.load("onnx", model=name)
    assert str(error.value).isprintable()
