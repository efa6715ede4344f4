"""What no command does is told in one line that names the value, and leaves no figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.public.command import SETS
from tests.benchmarks.measured import run

FAKE = "tests.benchmarks.speed.fake_subject:Fake"

REFUSED: list[tuple[str, tuple[str, ...]]] = [
    # where figures go
    ("floats --output none/found.jsonl", ("none/found.jsonl",)),
    ("floats --output a.jsonl --write", ("--output", "--write")),
    ("floats --output damaged.jsonl", ("damaged.jsonl, line 1",)),
    ("compare damaged.jsonl damaged.jsonl", ("damaged.jsonl, line 1",)),
    ("compare empty.jsonl empty.jsonl --metric s", ("no s ",)),
    # what is measured
    ("tiles . --tiles 2x3x4", ("2x3x4",)),
    ("since nowhere", ("git rev-parse",)),
    ("reliability memory --verb sing", ("sing", "classify")),
    ("quality --photographs . --held-out-sets .", ("--photographs", "--held-out-sets")),
    ("quality --photographs none", ("none",)),
    ("quality --held-out-sets none", ("none",)),
    ("objects . --only nowhere", ("nowhere",)),
    ("words --list --half aside", ("--list", "--aside")),
    ("words --half seen --write", ("--half", "seen", "--write")),
    ("evaluate imagenet . --boxes a.json", ("--boxes", "imagenet")),
    ("evaluate lvis . --boxes a.json --heads both_heads", ("--heads", "lvis")),
    ("evaluate imagenet . --presence-threshold 0.5", ("--presence-threshold", "imagenet")),
    ("evaluate coco-instances . --two-models", ("--two-models", "coco-instances")),
    ("evaluate photographs . --teachers runs/mobile", ("--teachers", "--two-models")),
    ("evaluate lvis . --boxes a --presence-threshold 0", ("--boxes", "--presence-threshold")),
    ("evaluate coco-instances . --min-score 0.5", ("--min-score", "coco-instances")),
    *((f"evaluate {name} none", ("none",)) for name in SETS),
    # subjects of speed
    (f"speed --subject {FAKE} --subject {FAKE}", (FAKE,)),
    (f"speed --subject {FAKE} --vit-b", ("--vit-b",)),
    (f"speed --subject {FAKE} --write", ("--write", "--subject")),
    (f"speed --subject {FAKE} --also {FAKE},key=b", ("--also", "--subject")),
    ("speed --subject samclop", ("samclop",)),
    ("speed --subject samclip,threads", ("threads",)),
    ("speed --subject samclip,a-b=1", ("a-b=1",)),
]


@pytest.mark.parametrize(("words", "named"), REFUSED, ids=[words for words, _ in REFUSED])
def test_what_cannot_be_is_refused(
    words: str, named: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("damaged.jsonl").write_text("{\n", "utf-8")
    Path("empty.jsonl").touch()
    code, said = run(*words.split())
    assert code in (1, 2)
    (line,) = said.splitlines()
    assert line.startswith("error: ")
    for each in named:
        assert each in line
    assert not list(Path().glob("runs/*.jsonl"))
