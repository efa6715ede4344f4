"""Names of bundles on a hub: `org/name`, or `org/name@revision`."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from samclip_sdk.errors import OptionError, one_line

DEFAULT_REVISION = "main"

_NAME = re.compile(r"(?P<id>[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+)(?:@(?P<revision>.+))?", re.DOTALL)
_MAX_ID_LENGTH = 96
_MAX_REVISION_LENGTH = 200
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Repository:
    """A repository of a hub at a revision.

    Attributes:
        id: `org/name`.
        revision: a branch, a tag or a commit's 40 hex digits.
    """

    id: str
    revision: str = DEFAULT_REVISION

    @classmethod
    def parse(cls, name: str | os.PathLike[str], *, revision: str | None = None) -> Repository:
        """Reads a name.

        Args:
            name: `org/name` or `org/name@revision`.
            revision: given beside the name, if the name has none.

        Raises:
            OptionError: no hub has such a name, or two revisions are given.
        """
        found = _NAME.fullmatch(name) if isinstance(name, str) else None
        if found is None or not _is_id(found["id"]):
            raise OptionError(
                f"{one_line(name)} is not the name of a repository, which is org/name or "
                "org/name@revision, of letters, digits and - _ . between them"
            )
        if revision is not None and found["revision"] is not None:
            raise OptionError(
                f"{one_line(name)} names a revision, and revision={one_line(revision)} is given "
                "too: leave one out"
            )
        return cls(found["id"], _checked(revision or found["revision"] or DEFAULT_REVISION))

    @property
    def is_commit(self) -> bool:
        """Whether the revision is a commit, whose files never change."""
        return _COMMIT.fullmatch(self.revision) is not None

    def at(self, commit: str) -> str:
        """The name of the repository at a commit."""
        return f"{self.id}@{commit}"


def is_repository_name(name: str | os.PathLike[str]) -> bool:
    """Whether a hub could have a repository of this name."""
    found = _NAME.fullmatch(name) if isinstance(name, str) else None
    return found is not None and _is_id(found["id"])


def _is_id(text: str) -> bool:
    parts = text.split("/")
    return (
        len(text) <= _MAX_ID_LENGTH
        and all(part[0] not in "-." and part[-1] not in "-." for part in parts)
        and not any(each in text for each in ("--", ".."))
        and not text.endswith((".git", ".zip"))  # The second is a file that is not there.
    )


def _checked(revision: str) -> str:
    """The revision, if git could have it.

    Raises:
        OptionError: git could not.
    """
    text = str(revision)
    bad = not text.isascii() or not text.isprintable() or re.search(r"[\s~^:?*\[\\]|\.\.", text)
    if bad or text[0] in "-/." or len(text) > _MAX_REVISION_LENGTH:
        raise OptionError(
            f"{one_line(revision)} is not a revision: give a branch, a tag or a commit"
        )
    return text
