"""The settings of the stages that teach words."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from training.data_config import Photographs, Settings
from training.loop_config import Optimisation


class TextTeacherConfig(Settings):
    """The text teacher: MiniLM's sentences, mapped to the space of EfficientNet-Lite2's classifier.

    Fitted to the names of its 1,000 classes in all of `templates`, with `noise` on the sentences,
    in batches of which a first name is `direct_weight` times as often as another. Of the synonyms
    `held_out_share` are left out. `nouns` other nouns keep their neighbours.
    """

    task: Literal["text_teacher"]
    wordnet: Path = Path("/usr/share/wordnet")
    templates: tuple[str, ...] = Field(default=("{}", "a photo of a {}.", "a {}"), min_length=1)
    hidden_dim: int = Field(default=768, gt=0)
    nouns: int = Field(default=8000, ge=0)
    held_out_share: float = Field(default=0.2, ge=0, lt=1)
    steps: int = Field(default=1500, gt=0)
    batch: int = Field(default=512, gt=0)
    learning_rate: float = Field(default=3e-3, gt=0)
    weight_decay: float = Field(default=0.05, ge=0)
    noise: float = Field(default=0.015, ge=0)
    direct_weight: float = Field(default=20.0, gt=0)
    neighbour_weight: float = Field(default=3.0, ge=0)
    seed: int = 0


class LexiconConfig(Settings):
    """The words that a model is to know, with the embeddings that pictures and texts learn.

    They are the `count` commonest nouns of what can be seen, every name of `photographs` and of
    ImageNet's classes, and their plurals. Taught are the classes, and names of masks or boxes in
    `least_pictures` pictures, or of `least_tagged` pictures as a whole. `words` have embeddings of
    their own, whether or not they are shown. The text teacher embeds words in `template`; a class's
    own direction weighs `class_weight` beside its name, and the mean of kinds `kinds_weight` beside
    the name of what they are kinds of. Of taught words, those that have nothing to do with one
    another end below the cosine `apart`, and those with a parent or a grandparent in common below
    `related_apart`; `keep` holds them where they began.
    """

    task: Literal["lexicon"]
    wordnet: Path = Path("/usr/share/wordnet")
    photographs: Photographs
    template: str = Field(default="a photo of a {}.", pattern=r"\{\}")
    count: int = Field(default=20_000, ge=0)
    words: tuple[str, ...] = ()
    least_pictures: int = Field(default=2, gt=0)
    least_tagged: int = Field(default=5, gt=0)
    class_weight: float = Field(default=0.3, ge=0)
    kinds_weight: float = Field(default=0.5, ge=0)
    apart: float = Field(default=0.35, gt=0, lt=1)
    related_apart: float = Field(default=0.6, gt=0, lt=1)
    keep: float = Field(default=0.02, ge=0)
    steps: int = Field(default=300, gt=0)
    learning_rate: float = Field(default=5e-3, gt=0)


class Corpus(Settings):
    """Texts from WordNet: `count` to learn from and `held_out` others, drawn by `seed`.

    `captions` is a text file, a caption a line, which a tenth of the texts come from.
    """

    wordnet: Path = Path("/usr/share/wordnet")
    captions: Path | None = None
    count: int = Field(default=240_000, gt=0)
    held_out: int = Field(default=20_000, gt=0)
    seed: int = 0


class TextEncoderTrainingConfig(Settings):
    """The text encoder that ships, taught by the stage text_teacher.

    It starts from those `layers` of MiniLM, or goes on from the folder `starts_from`, a text
    encoder's or a merged checkpoint's. It learns the teacher's embeddings of the corpus, `batch`
    texts at a time; `sentence_weight` is of MiniLM's own sentences beside them. With `names_share`,
    such a share of what it learns is words, whose embeddings are those of the stage lexicon; texts
    of the corpus that are no more than such a word have these, too.
    Of MiniLM's word pieces it keeps as many as the model's `vocab_size` says, those that the corpus
    uses first.
    """

    task: Literal["text_encoder"]
    corpus: Corpus = Corpus()
    starts_from: Path | None = None
    layers: tuple[int, ...] = ()
    batch: int = Field(gt=0)
    sentence_weight: float = Field(default=1.0, ge=0)
    names_share: float = Field(default=0.0, ge=0, lt=1)
    optimisation: Optimisation

    @model_validator(mode="after")
    def _check(self) -> TextEncoderTrainingConfig:
        if bool(self.layers) == (self.starts_from is not None):
            raise ValueError("give layers of MiniLM to start from, or starts_from, and not both")
        return self
