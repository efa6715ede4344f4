"""`python -m training.word_table`: what other words mean among those that a model was taught."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from samclip_sdk.bundle.manifest import WORDS_NAME
from samclip_sdk.cli.terminal import working
from samclip_sdk.system.atomic_file import atomic_file
from samclip_sdk.text.tokenizer import clean_text
from samclip_sdk.text.word_table import WordTable
from training.errors import TrainingError
from training.readings import make_table
from training.student_file import NOUNS_NAME
from training.text.relations import Relations
from training.text.word_exceptions import EXCEPTIONS, read_exceptions
from training.text.wordnet import WORDNET, WordNet

app = typer.Typer(
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)


@app.command()
def word_table(
    checkpoint: Annotated[Path, typer.Argument(help="its folder, with nouns.txt")],
    exceptions: Annotated[Path, typer.Option(help="reviewed entries, TOML")] = EXCEPTIONS,
    wordnet: Annotated[Path, typer.Option(help="WordNet's folder")] = WORDNET,
    count: Annotated[int, typer.Option(min=1, help="of the commonest nouns")] = 16000,
    compounds: Annotated[
        int, typer.Option(min=0, help="of the commonest of several words")
    ] = 30000,
) -> None:
    """Writes words.json beside a checkpoint's nouns.txt, from WordNet and reviewed exceptions."""
    try:
        lines = (checkpoint / NOUNS_NAME).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise TrainingError(f"{checkpoint} has no {NOUNS_NAME} to read: {error}") from error
    with working("reading WordNet"):
        table = make_table(
            [clean_text(line) for line in lines if line.strip()],
            relations=Relations(WordNet(wordnet)),
            exceptions=read_exceptions(exceptions),
            count=count,
            compounds=compounds,
        )
        content = table.model_dump_json(indent=1) + "\n"
        with atomic_file(checkpoint / WORDS_NAME) as file:
            file.write(content.encode())
    told = ", ".join(f"{number:,} {kind}" for kind, number in count_entries(table).items())
    typer.echo(f"{checkpoint / WORDS_NAME}: {told}; {len(content.encode()):,} bytes.")


def count_entries(table: WordTable) -> Counter[str]:
    """The number of texts in each part of a table."""
    return Counter(
        {
            "same": sum(map(len, table.same.values())),
            "read_as": sum(map(len, table.read_as.values())),
            "any_of": len(table.any_of),
            "unknown": len(table.unknown),
        }
    )


if __name__ == "__main__":
    app()
