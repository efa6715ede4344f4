"""Every page with measured figures is made of its record, and of nothing else."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.pages import (
    BUNDLE,
    CARD,
    CARD_SOURCE,
    CHARTS,
    RECORDS,
    ROOT,
    insert_tables,
    render_pages,
    stale_pages,
)
from benchmarks.table import read_table
from samclip_sdk.bundle.files import file_sha256
from samclip_sdk.bundle.manifest import MANIFEST_NAME, Manifest
from samclip_sdk.bundle.open import DEFAULT_MODEL, EMBEDDED
from tests.benchmarks.measured import run
from tests.drawings import TINY_BUNDLE
from tests.refusals import refused

START, END = "<!-- quality -->", "<!-- /quality -->"


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout of the records and pages alone."""
    for page in render_pages(ROOT):
        (tmp_path / page).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / page, tmp_path / page)
    shutil.copy(ROOT / BUNDLE / MANIFEST_NAME, tmp_path / BUNDLE)
    for record in (ROOT / RECORDS).glob("*.jsonl"):
        shutil.copy(record, tmp_path / RECORDS)
    (tmp_path / RECORDS / "images").mkdir()
    monkeypatch.setattr("benchmarks.__main__.ROOT", tmp_path)
    return tmp_path


def test_the_pages_show_what_was_measured() -> None:
    """`python -m benchmarks pages --write` brings them up to date."""
    assert stale_pages(ROOT) == []
    assert all((ROOT / RECORDS / "images" / name).is_file() for name in CHARTS)


@pytest.mark.parametrize(
    ("bundle", "suite"),
    [
        (TINY_BUNDLE, "quality"),
        (EMBEDDED / DEFAULT_MODEL, "held_out_sets"),
        (EMBEDDED / DEFAULT_MODEL, "words"),
    ],
)
def test_what_was_measured_is_what_is_kept(bundle: Path, suite: str) -> None:
    """A bundle has the very weights of its figures."""
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    model = read_table(ROOT / RECORDS / f"{suite}.jsonl").parts[-1].run.model
    assert model is not None
    assert (model.name, model.revision) == (manifest["name"], manifest["revision"])
    assert not model.random_weights


@pytest.mark.slow
def test_a_stale_page_is_named_and_written_again(copy: Path) -> None:
    assert run("pages") == (0, "")
    page = copy / "docs/benchmarks/speed_vit_b.md"
    before = page.read_text(encoding="utf-8")
    page.write_text(before.replace("×", "x"), "utf-8")
    code, said = run("pages")
    assert (code, "speed_vit_b.md" in said, "serve.md" in said) == (1, True, False)
    code, said = run("pages", "--write")
    assert code == 0, said
    assert "Written: docs/benchmarks/speed_vit_b.md" in said.splitlines()
    assert page.read_text(encoding="utf-8") == before
    assert {each.name for each in (copy / RECORDS / "images").iterdir()} == set(CHARTS)
    assert run("pages") == (0, "")


def test_pages_need_no_package_of_an_export() -> None:
    """`benchmarks speed` runs beside peers in an environment without them."""
    code = "import sys, benchmarks.pages; print({'torch', 'onnx_ir'} & {*sys.modules})"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert found.stdout == "set()\n", found.stderr


def manifest_in(root: Path) -> Manifest:
    return Manifest.model_validate_json((root / BUNDLE / MANIFEST_NAME).read_bytes())


@pytest.mark.slow
def test_the_shipped_card_is_written_and_the_manifest_has_its_checksum(copy: Path) -> None:
    source, card = copy / CARD_SOURCE, copy / CARD
    shown, said = source.read_text(encoding="utf-8"), "**It is trained.**"
    source.write_text(shown.replace("**It is under-trained.**", said), encoding="utf-8")
    assert run("pages")[0] == 1
    assert f"Written: {CARD}" in run("pages", "--write")[1].splitlines()
    assert said in card.read_text(encoding="utf-8")
    before, after = map(manifest_in, (ROOT, copy))
    others = {each.path: each for each in before.files}
    (listed,) = (each for each in after.files if each != others[each.path])
    assert (listed.path, listed.sha256) == (card.name, file_sha256(card))
    assert after.model_copy(update={"files": before.files}) == before
    assert run("pages") == (0, "")


def test_nothing_is_written_if_a_table_is_damaged(copy: Path) -> None:
    page = copy / RECORDS / "speed.md"
    page.write_text(page.read_text("utf-8").replace("×", "x"), "utf-8")
    before, path = page.read_bytes(), copy / RECORDS / "serve.jsonl"
    path.write_text(path.read_text("utf-8").replace("p50_ms", "p99_ms"), "utf-8")
    code, said = run("pages", "--write")
    assert (code, len(said.splitlines())) == (1, 1)
    assert re.search(r"serve\.jsonl, line \d+: three labels .*, onnx fp32 1 p99_ms", said)
    assert page.read_bytes() == before


@pytest.mark.parametrize("page", ["none", START, END + START, START + END + START])
def test_a_page_without_a_place_is_refused(page: str) -> None:
    refused(lambda: insert_tables(page, {"quality": "table\n"}), ValueError, START, END)
