from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.shard_files import held_out, write_shard
from training.errors import TrainingError
from training.real.captioned_pictures import (
    ABSENT,
    CaptionedPicture,
    draw_captioned,
    named_labels,
    read_labels,
)
from training.real.shards import ShardPictures, Source

LABELS = ("cat", "dog", "bus", "tree", "road", "hot dog", "man", "boat")
WORDS = ("Two dogs.", "A cat on the road", "nothing known", "a BUS and a tree")


def caption(number: int) -> str:
    return f"{WORDS[number % 4]} {number}"


def number_of(picture: CaptionedPicture) -> int:
    """Which picture it is, by its one colour."""
    red, green, _ = picture.image[0, 0].tolist()
    return 256 * red + green


def open_pictures(
    folder: Path, numbers: range, *, damaged: frozenset[int] = frozenset()
) -> ShardPictures:
    write_shard(folder / "00000.tar", numbers, damaged=damaged, caption=caption)
    return ShardPictures([Source(str(folder / "*.tar"))], cache=folder / "index", split="train")


def test_a_label_is_named_by_whole_words_and_plurals() -> None:
    assert named_labels("two Dogs and a catapult", LABELS) == ("dog",)
    assert named_labels("buses, hot dogs; woman", LABELS) == ("dog", "bus", "hot dog")
    assert named_labels("a boat-house (with a tree)", LABELS) == ("tree", "boat")
    assert named_labels("c++ code", ("c++", "java")) == ("c++",)
    assert named_labels("", LABELS) == ()


def test_a_picture_is_asked_for_what_its_caption_names_and_for_what_it_does_not(
    tmp_path: Path,
) -> None:
    pictures = open_pictures(tmp_path, range(80))
    drawn = list(draw_captioned(pictures, count=30, labels=LABELS, seed=0))
    assert len({number_of(each) for each in drawn}) == 30
    assert not {number_of(each) for each in drawn} & held_out(range(80))
    expected = [("dog",), ("cat", "road"), (), ("bus", "tree")]
    for each in drawn:
        assert set(each.present) == set(expected[number_of(each) % 4])
        assert each.present
        assert len(set(each.absent)) == ABSENT
        assert not set(each.absent) & set(each.present)
        assert set(each.absent) <= set(LABELS)
    assert {text for each in drawn for text in each.absent} == set(LABELS)


def test_without_labels_captions_are_the_texts(tmp_path: Path) -> None:
    drawn = list(draw_captioned(open_pictures(tmp_path, range(40)), count=12, labels=(), seed=0))
    own = {text for each in drawn for text in each.present}
    for each in drawn:
        assert each.present == (caption(number_of(each)).lower(),)
        assert set(each.absent) <= own - set(each.present)


def test_the_draw_is_the_seeds(tmp_path: Path) -> None:
    pictures = open_pictures(tmp_path, range(80))

    def draw(seed: int) -> list[tuple[int, tuple[str, ...]]]:
        drawn = draw_captioned(pictures, count=20, labels=LABELS, seed=seed)
        return [(number_of(each), each.absent) for each in drawn]

    assert draw(3) == draw(3)
    assert draw(3) != draw(4)


def test_broken_pictures_are_passed_over(tmp_path: Path) -> None:
    damaged = frozenset(range(0, 40, 3))
    pictures = open_pictures(tmp_path, range(40), damaged=damaged)
    drawn = list(draw_captioned(pictures, count=12, labels=LABELS, seed=0))
    assert not {number_of(each) for each in drawn} & damaged


def test_too_few_are_an_error_that_says_how_many_there_are(tmp_path: Path) -> None:
    pictures = open_pictures(tmp_path, range(12))  # three of them name no label
    with pytest.raises(TrainingError, match="of 12 pictures, 9 can be read and have a caption"):
        draw_captioned(pictures, count=10, labels=LABELS, seed=0)
    with pytest.raises(TrainingError, match="there are 5 texts to ask for, which is too few"):
        draw_captioned(pictures, count=2, labels=LABELS[:5], seed=0)


def test_labels_are_read_a_line_each(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("Cat\n\n  hot   dog \ncat\n", encoding="utf-8")
    assert read_labels(path) == ("cat", "hot dog")
    path.write_text("\n \n")
    with pytest.raises(TrainingError, match=r"labels\.txt holds no label: write one a line"):
        read_labels(path)
    with pytest.raises(TrainingError, match=r"the labels .*none\.txt cannot be read"):
        read_labels(tmp_path / "none.txt")
