"""CLIP's byte-pair vocabulary -> `tokenizer.json`, equal to open_clip's SimpleTokenizer."""

from __future__ import annotations

import gzip
import importlib.util
from pathlib import Path

from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE

START, END = "<start_of_text>", "<end_of_text>"
_WORD_END = "</w>"
_MERGES = 49152 - 256 - 2
# open_clip's pattern. It ignores case throughout, and so skips one mark: U+0345, the iota
# subscript, is no letter but its capital is.
_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|\p{L}+|\p{N}|[^\s\p{L}\p{N}\x{345}]+"


def find_vocabulary() -> Path:
    """Finds CLIP's merges in the installed open_clip package, without importing it (or torch).

    Raises:
        FileNotFoundError: open_clip is not installed.
    """
    spec = importlib.util.find_spec("open_clip")
    if spec is None or spec.origin is None:
        raise FileNotFoundError(
            'CLIP\'s vocabulary comes with open_clip: pip install "open_clip_torch>=2.30"'
        )
    return Path(spec.origin).with_name("bpe_simple_vocab_16e6.txt.gz")


def build_tokenizer(vocabulary: Path, *, context_length: int = 77) -> Tokenizer:
    """Builds the tokenizer.

    It takes cleaned text (`samclip_sdk.text.clean_text`: ftfy, HTML entities, whitespace, lower
    case), adds the start and end tokens, truncates before the end token and pads with zeros.

    Args:
        vocabulary: the gzipped list of merges, in order of rank, after one line of header.
        context_length: ids of a text, with start and end.
    """
    lines = gzip.decompress(vocabulary.read_bytes()).decode("utf-8").split("\n")
    merges = [(first, second) for first, second in map(str.split, lines[1 : _MERGES + 1])]
    letters = _byte_letters()
    tokens = [*letters, *(letter + _WORD_END for letter in letters)]
    tokens += [first + second for first, second in merges]
    tokens += [START, END]
    vocab = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(BPE(vocab=vocab, merges=merges, end_of_word_suffix=_WORD_END))
    # Cleaned text is lower-case already; readers in other languages may forget.
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="removed", invert=True),
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


def write_tokenizer(path: Path, *, context_length: int = 77) -> None:
    """Writes `tokenizer.json` from the vocabulary in the installed open_clip package."""
    build_tokenizer(find_vocabulary(), context_length=context_length).save(str(path), pretty=False)


def _byte_letters() -> list[str]:
    """CLIP's letter for each byte, in the order of its vocabulary: printable bytes come first."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + index) for index in range(len(others))]
