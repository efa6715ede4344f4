"""`python -m training.photographs`: masks for boxes, and the list of nouns that a model knows."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from samclip_sdk import SamClip
from samclip_sdk.bundle.open import DEFAULT_MODEL
from samclip_sdk.cli.terminal import working
from samclip_sdk.system.atomic_file import atomic_file
from training.data_config import Photographs as Settings
from training.real.boxed_masks import MIN_IOU, mask_set
from training.real.photographs import Photographs
from training.real.taught_nouns import choose_taught, taught_words
from training.text.relations import Relations
from training.text.wordnet import WORDNET, WordNet

app = typer.Typer(
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)


@app.command()
def masks(
    root: Annotated[Path, typer.Argument(help="folder of sets in COCO's layout")],
    target: Annotated[Path, typer.Argument(help="gets a copy of each set that has boxes")],
    sets: Annotated[str, typer.Option(help="their names, with commas between")],
    model: Annotated[str, typer.Option(help="a bundle or a checkpoint")] = DEFAULT_MODEL,
    runtime: Annotated[str, typer.Option(help="that it runs on")] = "onnx",
    min_iou: Annotated[float, typer.Option(min=0, max=1, help="predicted")] = MIN_IOU,
) -> None:
    """Draws masks for what SETS have in boxes only, by a model that was trained before."""
    with working("loading the model") as shown, SamClip.load(runtime, model=model) as drawing:
        draw = partial(mask_set, model=drawing, min_iou=min_iou, on_progress=shown.show)
        told = {name: draw(root / name, target / name) for name in filter(None, sets.split(","))}
    for name, counts in told.items():
        typer.echo(f"{name}: {', '.join(f'{n} {kind}' for kind, n in sorted(counts.items()))}")


@app.command()
def nouns(
    root: Annotated[Path, typer.Argument(help="folder of sets in COCO's layout")],
    target: Annotated[Path, typer.Argument(help="the list, a text file with a noun a line")],
    wordnet: Annotated[Path, typer.Option(help="WordNet's folder, which knows nouns")] = WORDNET,
) -> None:
    """Lists what a model that saw these sets can name; beside a checkpoint it is nouns.txt."""
    with working("reading the sets"):
        relations = Relations(WordNet(wordnet))
        settings = Settings(source="photographs", root=root)
        photographs = Photographs(settings, split="train")
        shown = choose_taught(photographs, relations=relations)
        names = sorted(word.names[0] for word in taught_words(shown, relations=relations))
        with atomic_file(target) as file:
            file.write("".join(f"{name}\n" for name in names).encode())
    typer.echo(f"{target} holds {len(names)} nouns.")


if __name__ == "__main__":
    app()
