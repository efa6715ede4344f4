"""Writes the licences of what the wheel and its extras install, while mkdocs builds the page."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from importlib.metadata import metadata as metadata_of
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT = "samclip-sdk"
LEFT_OUT = ("dev", "docs", "peers", "test")
"""Extras of those who work on the project, which nobody gets with the wheel."""

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
MARKER = "<!-- licences -->"
NOT_HERE = "not installed where the table was made"
_LONGEST = 60


@dataclass(frozen=True)
class Dependency:
    """A package that the wheel or an extra installs.

    Attributes:
        name: as the index has it.
        licence: as the package says it.
        needed_by: "base" or the names of extras.
    """

    name: str
    licence: str
    needed_by: tuple[str, ...]


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replaces the marker; mkdocs calls this for each page."""
    return markdown.replace(MARKER, licence_table()) if MARKER in markdown else markdown


def closure() -> list[Dependency]:
    """What the wheel and its extras install on this system, by name."""
    table = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    declared = {"base": table["dependencies"], **table["optional-dependencies"]}
    found: dict[str, set[str]] = {}
    for extra in sorted(set(declared) - set(LEFT_OUT)):
        for name in _reach(_own(declared, extra)):
            found.setdefault(name, set()).add(extra)
    return [
        Dependency(
            name,
            licence=licence_of(name),
            needed_by=("base",) if "base" in needed_by else tuple(sorted(needed_by)),
        )
        for name, needed_by in sorted(found.items())
    ]


def licence_table() -> str:
    """The table in Markdown: a row for all that the same extras need."""
    groups: dict[str, dict[str, list[str]]] = {}
    for each in closure():
        licences = groups.setdefault(", ".join(each.needed_by), {})
        licences.setdefault(each.licence.replace("|", "/"), []).append(each.name)
    rows = [
        f"| {needed_by} | {'; '.join(_named(licences))} |"
        for needed_by, licences in sorted(
            groups.items(), key=lambda row: (row[0] != "base", row[0])
        )
    ]
    return "\n".join(["| needed by | packages by licence |", "|---|---|", *rows])


def _named(licences: dict[str, list[str]]) -> list[str]:
    """Each licence with the names of its packages."""
    return [f"{licence}: {', '.join(names)}" for licence, names in sorted(licences.items())]


def licence_of(name: str) -> str:
    """A package's licence: the expression, else the classifiers, else its first short line."""
    try:
        found = metadata_of(name)
    except PackageNotFoundError:
        return NOT_HERE
    if found["License-Expression"]:
        return str(found["License-Expression"])
    classifiers = [
        each.rpartition(" :: ")[2]
        for each in found.get_all("Classifier") or ()
        if each.startswith("License ::")
    ]
    if classifiers:
        return " / ".join(sorted(classifiers))
    first = str(found["License"] or "").strip().partition("\n")[0]
    known = first not in ("", "UNKNOWN") and len(first) <= _LONGEST
    return first if known else "see the package"


def _own(declared: dict[str, list[str]], extra: str) -> list[Requirement]:
    """What an extra of the project asks for, with those of the other extras that it names."""
    found = []
    for each in map(Requirement, declared[extra]):
        if each.name == PROJECT:
            found += [own for other in sorted(each.extras) for own in _own(declared, other)]
        elif each.marker is None or each.marker.evaluate():
            found.append(each)
    return found


def _reach(requirements: Sequence[Requirement]) -> set[str]:
    """The packages that these install, with theirs."""
    reached: set[str] = set()
    left = list(requirements)
    while left:
        each = left.pop()
        name = canonicalize_name(each.name)
        extras = {"", *each.extras}
        if name in reached and not each.extras:
            continue
        reached.add(name)
        for extra in extras:
            left += [
                found for found in _requirements(name, extra) if extra or not _has_extra(found)
            ]
    return reached


def _requirements(name: str, extra: str) -> list[Requirement]:
    """What a package asks for here, if it is installed; with an extra, what that adds."""
    try:
        declared = [Requirement(each) for each in distribution(name).requires or ()]
    except PackageNotFoundError:
        return []
    return [
        each
        for each in declared
        if (not extra or _has_extra(each))
        and (each.marker is None or each.marker.evaluate({"extra": extra}))
    ]


def _has_extra(requirement: Requirement) -> bool:
    return requirement.marker is not None and bool(re.search(r"\bextra\b", str(requirement.marker)))
