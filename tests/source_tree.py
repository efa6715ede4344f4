"""The sources of the project as syntax trees: its modules, and what each of them imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]

FOLDERS = ("samclip_sdk", "export", "training", "benchmarks", "examples")
"""Where the code is, tests aside."""


@cache
def sources() -> dict[str, Path]:
    """Dotted name -> file, of every module of every folder."""
    return {
        dotted_name(path.relative_to(ROOT)): path
        for folder in FOLDERS
        for path in sorted((ROOT / folder).rglob("*.py"))
    }


def dotted_name(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


@cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imported_names(tree: ast.Module) -> Iterator[str]:
    """Yields the dotted names that a module imports anywhere, lazily too.

    `from a import b` may import the module a.b, or the name b of a: both are yielded.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def top_level_names(path: Path) -> set[str]:
    """The packages that a module imports anywhere."""
    return {name.partition(".")[0] for name in imported_names(parse(path))}


@cache
def import_graph() -> dict[str, set[str]]:
    """Module -> the modules that it imports. The root of the wheel is the client's front alone."""
    known = sources()
    graph = {}
    for name, path in known.items():
        found = {each for each in imported_names(parse(path)) if each in known}
        # Importing a.b.c runs a.b too, unless it is the importer's own package, which runs already.
        rooms = {each.rpartition(".")[0] for each in found} & set(known)
        found |= {each for each in rooms if not name.startswith(f"{each}.")}
        graph[name] = found - {name, "samclip_sdk"}
    return graph
