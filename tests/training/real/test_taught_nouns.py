"""Which nouns a model that saw sets of photographs can name."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from tests.training.photograph_files import annotation, picture, rectangle, write_set
from tests.training.text.wordnet_files import write_wordnet
from training.photographs import app
from training.text.class_names import imagenet_lemmas

BOX = rectangle(10, 10, 60, 60)


def test_visible_nouns_that_two_pictures_show_and_the_classes(tmp_path: Path) -> None:
    """Joy is no thing, nobody knows "very nice", a chair is shown once, and val does not count."""
    wordnet, target = write_wordnet(tmp_path / "wordnet"), tmp_path / "nouns.txt"
    masks = [annotation(1, BOX), annotation(1, BOX), annotation(2, BOX)]
    labels = {"split": "train", "labels": ["hound", "joy", "very nice"]}
    write_set(
        tmp_path / "sets" / "a",
        [
            (picture(), masks, labels),
            (picture(), masks[2:], labels),
            (picture(), masks, {"split": "val", "labels": ["puppy"]}),
            (picture(), [], {"split": "val", "labels": ["puppy"]}),
        ],
        categories=["chair", "cat"],
    )
    arguments = ["nouns", str(tmp_path / "sets"), str(target), "--wordnet", str(wordnet)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    classes = {lemmas[0] for lemmas in imagenet_lemmas()}
    found = target.read_text(encoding="utf-8").splitlines()
    assert found == sorted({"hound", "cat"} | classes)
    assert f"holds {len(found)} nouns" in result.output


def test_held_out_nouns_are_left_out(tmp_path: Path) -> None:
    wordnet, target = write_wordnet(tmp_path / "wordnet"), tmp_path / "nouns.txt"
    labels = {"split": "train", "labels": ["hound", "whelp"]}
    write_set(tmp_path / "sets" / "a", [(picture(), [], labels), (picture(), [], labels)])
    (tmp_path / "held_out.txt").write_text("whelp\n", encoding="utf-8")
    arguments = ["nouns", str(tmp_path / "sets"), str(target), "--wordnet", str(wordnet)]
    result = CliRunner().invoke(app, [*arguments, "--held-out", str(tmp_path / "held_out.txt")])
    assert result.exit_code == 0, result.output
    found = target.read_text(encoding="utf-8").splitlines()
    assert "hound" in found
    assert "whelp" not in found
