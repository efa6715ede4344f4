"""The photographs that a bundle's weights were trained on, and the terms of each set."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from samclip_sdk.bundle.manifest import Manifest

_CLOSED = re.compile(
    r"research|unknown|google|absent|no licence|not stated|\bweb\b|\bweb sites\b|-N[CD]\b| N[CD]\b",
    re.IGNORECASE,
)


def training_sets(manifest: Manifest) -> dict[str, str]:
    """Set -> its terms, of all stages of the training; {} if the provenance names none."""
    found: dict[str, str] = {}
    stage: Any = manifest.provenance.get("checkpoint", manifest.provenance)
    while isinstance(stage, Mapping):
        sets = stage.get("photographs")
        if isinstance(sets, Mapping) and all(isinstance(terms, str) for terms in sets.values()):
            found = {str(name): str(terms) for name, terms in sets.items()} | found
        stage = stage.get("starts_from")
    return dict(sorted(found.items()))


def is_restricted(terms: str) -> bool:
    """Whether a line of terms says that not everybody may use the photographs, or does not say.

    These are terms for research only or not for commerce, and photographs from the web or of
    unknown origin.
    """
    return not terms.strip() or _CLOSED.search(terms) is not None


def told_terms(sets: Mapping[str, str]) -> str:
    """One line about the terms of the sets; empty if there are none."""
    if not sets:
        return ""
    restricted = sum(map(is_restricted, sets.values()))
    sets_of = f"{len(sets)} set{'s' * (len(sets) > 1)} of photographs"
    if not restricted:
        return f"trained on {sets_of}, all with terms that let anybody use them"
    return f"trained on {sets_of}, {restricted} of them for research only or of unknown terms"
