"""The file that tells of a lexicon's words what each is to the taught ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from samclip_sdk.errors import one_line
from samclip_sdk.system.atomic_file import atomic_file
from training.errors import TrainingError
from training.text.lexicon import Relation

LEXICON = "lexicon"
"""The stage that makes it, and its folder among the runs."""

LEXICON_FILE = "lexicon.json"


@dataclass(frozen=True)
class LexiconWord:
    """The entry of a word, beside its embedding.

    Attributes:
        relation: to the taught words `of`; see `training.text.lexicon.Place`. A plural has its
            singular's.
        of: the first names of those; of a taught word, its own.
        taught: whether pictures, or a class of ImageNet's, show it under its own embedding.
        plural_of: its singular, if it is a plural.
    """

    relation: Relation
    of: tuple[str, ...]
    taught: bool = False
    plural_of: str | None = None


def write_lexicon(words: Mapping[str, LexiconWord], run: Path) -> None:
    """Writes lexicon.json: each word with what is known of it."""
    content = {name: asdict(word) for name, word in words.items()}
    with atomic_file(run / LEXICON_FILE) as file:
        file.write(f"{json.dumps(content, indent=0, ensure_ascii=False)}\n".encode())


def read_lexicon(run: Path) -> dict[str, LexiconWord]:
    """Reads what `write_lexicon` wrote.

    Raises:
        TrainingError: the file is missing or damaged.
    """
    path = run / LEXICON_FILE
    try:
        content = json.loads(path.read_bytes())
        return {
            name: LexiconWord(**{**word, "of": tuple(word["of"])}) for name, word in content.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrainingError(
            f"{path} is no lexicon ({one_line(error)}): run the stage {run.name} first"
        ) from error
