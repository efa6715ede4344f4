"""The files of a lexicon: the embedding of each word, and what it is to the taught ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from samclip_sdk.errors import one_line
from samclip_sdk.system.atomic_file import atomic_file
from training.errors import TrainingError
from training.files import write_json
from training.teachers.weights import SETTINGS_NAME, save_weights
from training.text.lexicon import Relation

LEXICON = "lexicon"
"""The stage that makes it, and its folder among the runs."""

LEXICON_FILE, NAMES_FILE = "lexicon.json", "names.safetensors"


@dataclass(frozen=True)
class LexiconWord:
    """The entry of a word, beside its embedding.

    Attributes:
        relation: to the taught words `of`; see `training.text.lexicon.Place`. A plural has its
            singular's.
        of: the first names of those; of a taught word, its own.
        taught: whether images, or a class of ImageNet's, show it under its own embedding.
        plural_of: its singular, if it is a plural.
    """

    relation: Relation
    of: tuple[str, ...]
    taught: bool = False
    plural_of: str | None = None


def write_lexicon(
    words: Mapping[str, LexiconWord],
    names: Mapping[str, Tensor],
    run: Path,
    *,
    provenance: Mapping[str, Any],
) -> None:
    """Writes each word with what is known of it, its embedding [E], and how they came about."""
    content = {name: asdict(word) for name, word in words.items()}
    with atomic_file(run / LEXICON_FILE) as file:
        file.write(f"{json.dumps(content, indent=0, ensure_ascii=False)}\n".encode())
    save_weights(names, run / NAMES_FILE)
    write_json(run / SETTINGS_NAME, {"provenance": dict(provenance)})


def read_lexicon(run: Path) -> dict[str, LexiconWord]:
    """Reads the words; raises TrainingError if the file is missing or damaged."""
    path = run / LEXICON_FILE
    try:
        content = json.loads(path.read_bytes())
        return {
            name: LexiconWord(**{**word, "of": tuple(word["of"])}) for name, word in content.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _no_lexicon(path, error) from error


def read_names(run: Path) -> dict[str, Tensor]:
    """Reads the embeddings of the words; raises TrainingError if the file is missing or damaged."""
    try:
        return load_file(run / NAMES_FILE)
    except (OSError, SafetensorError) as error:
        raise _no_lexicon(run / NAMES_FILE, error) from error


def _no_lexicon(path: Path, error: Exception) -> TrainingError:
    told = f"{path} is of no lexicon ({one_line(error)})"
    return TrainingError(f"{told}: run the stage {path.parent.name} first")
