"""`samclip push`: puts a bundle onto a hub."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from samclip_sdk.bundle.hub.push import push_bundle
from samclip_sdk.cli.options import AsJson
from samclip_sdk.cli.terminal import print_json, print_line, working


def push(
    model: Annotated[str, typer.Argument(metavar="BUNDLE", help="a bundle's folder, .zip or name")],
    repository: Annotated[
        str,
        typer.Argument(
            metavar="ORG/NAME", help="of the hub, made if it is not there; or org/name@branch"
        ),
    ],
    *,
    private: Annotated[
        bool, typer.Option("--private", help="a new repository is for its owner alone")
    ] = False,
    licence: Annotated[
        str | None,
        typer.Option("--license", help="its name on the hub; by default what the manifest states"),
    ] = None,
    base_model: Annotated[
        list[str] | None, typer.Option(help="a repository that it was made of; repeatable")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(help="of the model card; repeatable")] = None,
    message: Annotated[str | None, typer.Option(help="of the commit")] = None,
    as_json: AsJson = False,
) -> None:
    """Upload a bundle, verified, with its model card. Log in before: `hf auth login`, HF_TOKEN."""
    with working(
        "opening", if_interrupted="nothing is seen of it; what was uploaded is not sent again"
    ) as display:
        pushed = push_bundle(
            model,
            repository,
            private=private,
            licence=licence,
            base_models=base_model or (),
            tags=tag or (),
            message=message,
            on_progress=display.show,
        )
    if as_json:
        print_json(dataclasses.asdict(pushed))
        return
    print_line(f"{pushed.url} holds the bundle {pushed.bundle_id}, at {pushed.commit}")
