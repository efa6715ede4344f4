"""The integrations without their tools: files that parse, and that the page tells of.

What they do is tested by `make test-integrations`, which installs the tools.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "examples" / "integrations"
MODULES = sorted(
    path for path in FOLDER.rglob("*.py") if path.parent.name in ("integrations", "x_anylabeling")
)
PAGE = (ROOT / "docs" / "integrations.md").read_text(encoding="utf-8")
MAX_LINES = 190


def test_there_are_some() -> None:
    assert len(MODULES) == 6


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_module_is_short_parses_and_says_what_to_install(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text, feature_version=(3, 10))
    assert "pip install 'samclip-sdk[onnx]'" in (ast.get_docstring(tree) or "")
    assert len(text.splitlines()) <= MAX_LINES


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_the_page_tells_of_a_module(path: Path) -> None:
    assert path.name in PAGE


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


def test_pictures_of_the_page_are_small() -> None:
    pictures = re.findall(r"\]\((images/[^)]+)\)", PAGE)
    assert len(pictures) == 2
    assert all((ROOT / "docs" / each).stat().st_size <= 150_000 for each in pictures)
