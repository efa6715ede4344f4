from __future__ import annotations

from pathlib import Path

import pytest

from training.errors import TrainingError
from training.text.lexicon_file import LEXICON_FILE, LexiconWord, read_lexicon, write_lexicon

WORDS = {
    "person": LexiconWord("taught", ("person",), taught=True),
    "people": LexiconWord("synonym", ("person",)),
    "men": LexiconWord("kind", ("person",), plural_of="man"),
    "vehicle": LexiconWord("hypernym", ("car", "truck")),
    "zebu ü": LexiconWord("alone", ()),
}


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    write_lexicon(WORDS, tmp_path)
    assert read_lexicon(tmp_path) == WORDS


@pytest.mark.parametrize("content", [None, "[]", '{"dog": {"of": []}}', "{"])
def test_no_lexicon_is_told(tmp_path: Path, content: str | None) -> None:
    run = tmp_path / "lexicon"
    if content is not None:
        run.mkdir()
        (run / LEXICON_FILE).write_text(content, encoding="utf-8")
    with pytest.raises(TrainingError, match="run the stage lexicon first"):
        read_lexicon(run)
