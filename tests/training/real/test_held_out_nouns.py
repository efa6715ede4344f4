"""Which nouns are held out, by hashes worked out once."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.training.photograph_files import annotation, picture, rectangle, write_set
from tests.training.text.wordnet_files import write_wordnet
from training.data_config import Photographs as Settings
from training.photographs import app
from training.real.held_out_nouns import choose_held_out
from training.real.photographs import Photographs
from training.text.held_out import hash_place, is_held_out

BOX = rectangle(10, 10, 60, 60)
MASKED = ("bird", "cat", "cow", "glass", "person", "wine glass")
"""In the order of their hashes: glass, (person,) cat, bird, cow, wine glass."""

VAL = {"split": "val"}


def write_sets(root: Path) -> Photographs:
    """All of `MASKED` in a complete set, two labels, and a noun that only training shows."""
    masks = [annotation(number, BOX) for number in range(1, len(MASKED) + 1)]
    write_set(root / "a", [(picture(), masks, VAL)], categories=MASKED, info={"complete": True})
    labelled = (picture(), [], VAL | {"labels": ["fox", "very nice"]})
    write_set(root / "b", [labelled, (picture(), [], {"labels": ["emu"]})])
    return Photographs(Settings(source="photographs", root=root), split="val")


@pytest.mark.parametrize(
    ("share", "chosen"),
    [
        (0.0, []),
        (0.2, ["fox", "glass"]),
        (0.4, ["fox", "glass"]),
        (0.41, ["cat", "fox", "glass"]),
        (1.0, ["bird", "cat", "cow", "fox", "glass"]),
    ],
)
def test_nouns_are_taken_in_the_order_of_their_hashes(
    tmp_path: Path, share: float, chosen: list[str]
) -> None:
    """Of five masked nouns, two go with "glass", of other nouns there is one."""
    photographs = write_sets(tmp_path)
    places = [hash_place(name) for name in ("glass", "person", "cat", "bird", "cow", "wine glass")]
    assert places == sorted(places)
    nouns = {*MASKED, "fox", "emu"}
    assert choose_held_out(photographs, nouns=nouns, share=share) == chosen


def test_a_place_is_the_share_from_which_on_a_name_is_held_out() -> None:
    place = hash_place("hot dog")
    assert hash_place(" Hot  dog") == place
    assert not is_held_out("hot dog", share=place)
    assert is_held_out("hot dog", share=place + 1e-9)


def test_the_command_writes_the_list_or_one_line(tmp_path: Path) -> None:
    write_sets(tmp_path / "sets")
    wordnet = write_wordnet(tmp_path / "wordnet")
    target = tmp_path / "held_out.txt"
    words = ["held-out", str(tmp_path / "sets"), str(target), "--wordnet", str(wordnet)]
    done = CliRunner().invoke(app, [*words, "--share", "1"])
    assert (done.exit_code, done.output) == (0, f"{target} holds 1 nouns.\n")
    assert target.read_text() == "cat\n", "the only one that this WordNet has"
    words[-1] = str(tmp_path)
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 1
    assert done.output.startswith(f"error: there is no WordNet in {tmp_path}")
