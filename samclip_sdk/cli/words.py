"""`samclip words`: what a model was taught, and what it takes other words for."""

from __future__ import annotations

from typing import Annotated

import typer

from samclip_sdk.cli.options import AsJson, ModelOptions, grouped
from samclip_sdk.cli.terminal import print_json, print_line, print_table, working
from samclip_sdk.text.word_table import Reading, readings_dict

Asked = Annotated[
    list[str] | None,
    typer.Argument(metavar="WORD", help="words to look up; by default all words are listed"),
]


@grouped
def words(asked: Asked = None, *, opened: ModelOptions, as_json: AsJson = False) -> None:
    """List the nouns that a model was taught, or tell what it takes words of yours for."""
    with working("opening") as display, opened.load(display=display) as samclip:
        listed = () if asked else samclip.words
        readings = samclip.read_labels(asked) if asked else {}
        near = {word: samclip.nearest_words(word) for word in asked or ()}
    if as_json:
        print_json(
            {"readings": readings_dict(readings), "nearest": near}
            if asked
            else {"words": list(listed)}
        )
    elif asked:
        rows = [
            (word, *_said(readings.get(word)), ", ".join(f"{each} {c:.2f}" for each, c in found))
            for word, found in near.items()
        ]
        print_table(("word", "is", "answered by", "the nearest taught words, with cosines"), rows)
    else:
        for word in listed:
            print_line(word)


def _said(reading: Reading | None) -> tuple[str, str]:
    """What a word is, and which words answer for it."""
    if reading is None:
        return "not told by the model", "itself"
    if reading.kind == "unknown":
        return "not known", "nothing"
    kinds = {"taught": "taught", "same": "the same", "read_as": "read as another"}
    return kinds[reading.kind], ", ".join(reading.words)
