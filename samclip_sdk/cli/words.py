"""`samclip words`: what a model was taught."""

from __future__ import annotations

from typing import Annotated

import typer

from samclip_sdk.cli.options import AsJson, ModelOptions, RunOptions, grouped
from samclip_sdk.cli.terminal import print_json, print_line, print_table, working
from samclip_sdk.text.known_words import KNOWN_COSINE

Asked = Annotated[
    list[str] | None,
    typer.Argument(metavar="WORD", help="words to look up; by default all words are listed"),
]


@grouped
def words(
    asked: Asked = None, *, opened: ModelOptions, run: RunOptions, as_json: AsJson = False
) -> None:
    """List the nouns that a model was taught, or tell which of them it takes words of yours for."""
    with working("opening") as display, opened.load(run, display=display) as samclip:
        if not asked:
            listed = samclip.words
        near = {word: samclip.nearest_words(word) for word in asked or ()}
    taken = {
        word: next((each for each, cosine in found if cosine >= KNOWN_COSINE), None)
        for word, found in near.items()
    }
    if as_json:
        print_json({"taken_for": taken, "nearest": near} if asked else {"words": list(listed)})
    elif asked:
        rows = [
            (
                word,
                taken[word] or "none",
                ", ".join(f"{each} {cosine:.2f}" for each, cosine in found),
            )
            for word, found in near.items()
        ]
        print_table(("word", "taken for", "the nearest taught words, with their cosine"), rows)
    else:
        for word in listed:
            print_line(word)
