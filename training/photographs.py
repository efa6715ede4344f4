"""`python -m training.photographs ZIPS TARGET`: turns zips of photographs into COCO's layout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from samclip_sdk.errors import SamClipError
from training.real.photograph_zips import convert_zips
from training.terminal import drawn_progress

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    zips: Annotated[Path, typer.Argument(help="folder of zips: img/, ids/ and meta.json")],
    target: Annotated[Path, typer.Argument(help="gets a folder a set")],
    complete: Annotated[
        str, typer.Option(help="names of the sets that label everything, with commas between")
    ] = "",
) -> None:
    """Turns every zip in ZIPS into a set in COCO's layout below TARGET."""
    try:
        with drawn_progress() as on_progress:
            names = convert_zips(
                zips,
                target,
                complete=[name for name in complete.split(",") if name],
                on_progress=on_progress,
            )
    except (OSError, SamClipError) as error:
        typer.echo(f"error: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(1) from error
    typer.echo(f"{target} has {len(names)} sets.")


if __name__ == "__main__":
    app()
