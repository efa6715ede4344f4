"""The integrations without their tools: what the page tells of them.

What they do is tested by `make test-integrations`, which installs the tools.
"""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "examples" / "integrations"
PAGE = (ROOT / "docs" / "integrations.md").read_text(encoding="utf-8")


def test_what_the_page_installs_is_what_is_tested() -> None:
    files = [FOLDER / f"requirements{end}.txt" for end in ("", "-label-studio")]
    lines = [
        line.partition("#")[0].strip()
        for file in files
        for line in file.read_text("utf-8").splitlines()
    ]
    tested = {Requirement(line).name for line in lines if line}
    told = {
        Requirement(word.strip("'")).name
        for command in re.findall(r"^pip install (.+)$", PAGE, flags=re.MULTILINE)
        for word in command.split()
    }
    assert told - tested == {"samclip-sdk", "label-studio"}


def test_the_page_s_configuration_of_label_studio_is_xml() -> None:
    (text,) = re.findall(r"```xml\n(.*?)```", PAGE, flags=re.DOTALL)
    view = ElementTree.fromstring(text)
    assert [tag.tag for tag in view] == [
        "Image",
        "BrushLabels",
        "KeyPointLabels",
        "RectangleLabels",
    ]
