"""What the parser of a command of ours has against a command line, without running it."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from samclip_sdk.cli.app import app
from training.photographs import app as photographs

_USAGE_ERROR = typer.BadParameter.__mro__[1]  # click's, of the click that typer brings along


def usage_problem(words: Sequence[str], *, whole: bool = True) -> str:
    """What is wrong with a command line; empty if nothing is, or if it is none of ours.

    Whether files exist is not asked.

    Args:
        words: of the command line.
        whole: whether its arguments must all be there; prose may name a command alone.
    """
    match [Path(words[0]).name, *words[1:]]:
        case ["samclip", *arguments]:
            command = typer.main.get_command(app)
        case ["python", "-m", "export", *arguments]:
            single = typer.Typer()
            single.command()(importlib.import_module("export.__main__").main)
            command = typer.main.get_command(single)
        case ["python", "-m", "training.photographs", *arguments]:
            command = typer.main.get_command(photographs)
        case ["python", "-m", "training" | "benchmarks" as package, *arguments]:
            command = typer.main.get_command(importlib.import_module(f"{package}.__main__").app)
        case _:
            return ""
    return _problem(command, arguments, whole=whole)


def _problem(command: Any, arguments: list[str], *, whole: bool) -> str:
    context = typer.Context(command, info_name=command.name)
    try:
        values, left, _ = command.make_parser(context).parse_args(args=arguments)
    except _USAGE_ERROR as error:
        return error.format_message()
    if hasattr(command, "get_command"):  # a group: what is left begins with a command's name
        if not left:
            return "the command is missing" if whole else ""
        chosen = command.get_command(context, left[0])
        return _problem(chosen, left[1:], whole=whole) if chosen else f"no command {left[0]}"
    missing = [each.name for each in command.params if each.required and not values.get(each.name)]
    if whole and missing and "help" not in values:
        return f"{', '.join(missing)} missing"
    return f"unexpected {' '.join(left)}" if left else ""
