"""The site that `make docs` builds: it names all that is public, and readers ask no other host."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import samclip_sdk
from samclip_sdk import errors
from tests.docs.pages import ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_the_reference_has_every_public_name(site: Path) -> None:
    html = "".join(page.read_text("utf-8") for page in (site / "reference").rglob("*.html"))
    public = [getattr(samclip_sdk, name) for name in samclip_sdk.__all__]
    paths = {f"{each.__module__}.{each.__qualname__}" for each in public if isinstance(each, type)}
    paths = {path.replace("samclip_sdk.client.", "samclip_sdk.") for path in paths}
    assert "samclip_sdk.SamClip" in paths
    assert not {path for path in paths if f'id="{path}"' not in html}


@pytest.mark.slow
def test_a_page_is_made_of_the_site_alone(site: Path) -> None:
    """Scripts, styles, fonts and images are the site's own; links may lead out of it."""
    loads = (
        r'<(?:script|img|iframe|source)[^>]+src="(?:https?:)?//[^"]+|<link[^>]+href="https?://[^"]+'
    )
    pages = [page.read_text("utf-8") for page in site.rglob("*.html")]
    assert len(pages) > 20
    assert not [found for page in pages for found in re.findall(loads, page)]
    styles = [style.read_text("utf-8") for style in site.rglob("*.css")]
    assert not [found for style in styles for found in re.findall(r"url\(https?:[^)]+", style)]


def test_the_errors_page_tells_of_every_error() -> None:
    page = (ROOT / "docs" / "how-to" / "errors.md").read_text(encoding="utf-8")
    told = set(re.findall(r"^## (\w+)$", page, flags=re.MULTILINE))
    roots = {"SamClipError", "SamClipWarning"}
    classes = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert told == classes - roots


def test_the_examples_page_names_every_example() -> None:
    page = (ROOT / "docs" / "integrations.md").read_text(encoding="utf-8")
    assert not [
        path.name for path in (ROOT / "examples").glob("*.py") if f"`{path.name}`" not in page
    ]
