"""The README tells the truth: its Python runs, its commands and files exist."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
IMAGES = ROOT / "examples" / "images"


def fenced(language: str) -> list[str]:
    text = README.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def test_python_snippets_run(tmp_path: Path) -> None:
    """Run the snippets in their order, as one program, beside copies of the example pictures."""
    snippets = fenced("python")
    assert snippets, "README.md shows no Python"
    for image in IMAGES.iterdir():
        if image.suffix in {".png", ".jpg"}:
            shutil.copy(image, tmp_path)
            # The README may also name them as a person at the root of a checkout would.
            (tmp_path / "examples/images").mkdir(parents=True, exist_ok=True)
            shutil.copy(image, tmp_path / "examples/images")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "\n".join(snippets)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z-]+)", "".join(fenced("(?:bash|sh|console)"))))
    assert {"demo", "test"} <= named <= targets


def test_local_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#\s]+)", README.read_text(encoding="utf-8"))
    local = [link for link in links if not link.startswith(("http://", "https://"))]
    assert not [link for link in local if not (ROOT / link).exists()]


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_pages_name_no_missing_module(name: str) -> None:
    """A path in backticks that looks like one of ours is one of ours."""
    text = (ROOT / name).read_text(encoding="utf-8")
    folders = "samclip_sdk|export|training|benchmarks|examples|tests"
    paths = set(re.findall(rf"`((?:{folders})/[\w./-]*)`", text))
    assert not [path for path in paths if not (ROOT / path).exists()]
