"""Writes the page of the command line from the commands' own help, while mkdocs builds it."""

from __future__ import annotations

from typing import Any

import typer

from samclip_sdk.cli.app import app

MARKER = "<!-- commands -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replaces the marker; mkdocs calls this for each page."""
    return markdown.replace(MARKER, render_commands()) if MARKER in markdown else markdown


def render_commands() -> str:
    """A section for each command: its usage, what it does, its arguments and options."""
    group: Any = typer.main.get_command(app)
    context = typer.Context(group, info_name="samclip")
    return "\n".join(
        _section(group.get_command(context, name), context=context)
        for name in group.list_commands(context)
    )


def _section(command: Any, *, context: typer.Context) -> str:
    own = typer.Context(command, info_name=command.name, parent=context)
    records = [parameter.get_help_record(own) for parameter in command.get_params(own)]
    rows = [f"| `{name}` | {_cell(text)} |" for name, text in records if name != "--help"]
    usage = command.get_usage(own).removeprefix("Usage: ")
    lines = [f"## {own.command_path}", "", "```", usage, "```", "", command.help or ""]
    return "\n".join([*lines, "", "| argument or option | |", "|---|---|", *rows, ""])


def _cell(text: str) -> str:
    """Help as a table's cell; what the help puts into brackets is no link."""
    return text.replace("|", r"\|").replace("[", r"\[")
