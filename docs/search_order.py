"""Ranks how-tos before other pages in the site's search, and tables of benchmarks after them."""

from __future__ import annotations

from typing import Any

BOOSTS = {
    **{"how-to/": 4.0, "integrations.md": 4.0, "training.md": 2.0, "embed/": 2.0},
    **{"benchmarks/": 0.1, "performance.md": 0.2},
}
"""The beginning of a page's address -> the weight of its matches."""


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Sets how much a page weighs in the search; mkdocs calls this for each page."""
    for start, boost in BOOSTS.items():
        if page.file.src_uri.startswith(start):
            page.meta.setdefault("search", {"boost": boost})
    return markdown
