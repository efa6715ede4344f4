"""The pages of the documentation, and what is between their fences.

A fenced block of Python or bash is run by `test_pages`, in the page's order. A text block right
below one is what it prints. A block that cannot be run here says so in the comment above it:

    <!-- not run: needs an NVIDIA GPU -->
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = tuple(
    str(path.relative_to(ROOT))
    for path in (
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "examples" / "README.md",
        *sorted((ROOT / "docs").rglob("*.md")),
    )
)
_FENCE = re.compile(
    r"(?:^<!-- not run: (?P<reason>[^\n]+) -->\n+)?"
    r"^ *```(?P<language>\w*)[^\n]*\n(?P<code>.*?)^ *```$"
    r"(?:\n+^ *```text\n(?P<output>.*?)^ *```$)?",
    flags=re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        line: where it begins, from 1.
        language: "python" or "bash".
        code: what is between the fences.
        output: what the page says that it prints; None if it does not say.
        reason: why it is not run; empty if it is.
    """

    line: int
    language: str
    code: str
    output: str | None
    reason: str

    def commands(self) -> list[list[str]]:
        """The command lines of a bash block, without their comments."""
        lines = self.code.replace("\\\n", " ").splitlines()
        return [words for line in lines if (words := shlex.split(line, comments=True))]


def blocks(page: str) -> list[Block]:
    """The blocks of a page that are programs, in their order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        if match["language"] in ("python", "bash"):
            line = text.count("\n", 0, match.start("code"))
            block = Block(
                line, match["language"], match["code"], match["output"], match["reason"] or ""
            )
            found.append(block)
    return found


def inline_commands(page: str) -> list[list[str]]:
    """The command lines of samclip and of this repository's packages that stand in the prose."""
    text = _FENCE.sub("", (ROOT / page).read_text(encoding="utf-8"))
    found = re.findall(r"`((?:samclip|python -m (?:export|training|benchmarks)) [^`]+)`", text)
    return [shlex.split(command) for command in found]
