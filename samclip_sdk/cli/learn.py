"""`samclip learn`: teaches a label by examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from samclip_sdk.cli.checks import check_output, check_picture, read_numbers
from samclip_sdk.cli.options import (
    AsJson,
    ModelOptions,
    RunOptions,
    TextCache,
    Vocabulary,
    grouped,
)
from samclip_sdk.cli.terminal import WrongUsageError, print_json, print_line, print_table, working
from samclip_sdk.client import Array, SamClip
from samclip_sdk.engine.regions import score_labels
from samclip_sdk.results.image_embedding import ImageEmbedding
from samclip_sdk.text.tokenizer import check_labels, clean_text

Positives = Annotated[
    list[str] | None,
    typer.Option(help="an example: IMAGE:X0,Y0,X1,Y1 (a box) or IMAGE:X,Y; repeatable"),
]
Negatives = Annotated[
    list[str] | None, typer.Option(help="an example of another thing, in the same form; repeatable")
]
Example = tuple[Path, list[float]]
"""A picture, and a box or a point in it, in pixels."""


@grouped
def learn(
    label: Annotated[str, typer.Argument(metavar="LABEL", help="such as: 'my mug'")],
    *,
    positive: Positives = None,
    negative: Negatives = None,
    score: Annotated[
        float, typer.Option(help="the score that the examples shall have, 0.5 to 1")
    ] = 0.95,
    vocabulary: Vocabulary = None,
    text_cache: TextCache = True,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="the vocabulary pack to write, .safetensors")
    ] = Path("vocabulary.safetensors"),
    opened: ModelOptions,
    run: RunOptions,
    as_json: AsJson = False,
) -> None:
    """Teach a label by examples; write a vocabulary pack with it and the labels of --vocabulary."""
    with working("learning") as display:
        positives = [_example(text, option="--positive") for text in positive or ()]
        negatives = [_example(text, option="--negative") for text in negative or ()]
        if not positives:
            raise WrongUsageError("give --positive, once at least")
        check_labels([label])
        check_output(output, endings=(".safetensors",))
        pictures = dict.fromkeys(path for path, _ in [*positives, *negatives])
        for path in pictures:
            check_picture(path)
        with opened.load(run, display=display, text_cache=text_cache) as samclip:
            packed = samclip.load_vocabulary(vocabulary) if vocabulary else ()
            encoded = {path: samclip.encode_image(path) for path in pictures}
            wanted = _regions(samclip, positives, encoded=encoded)
            unwanted = _regions(samclip, negatives, encoded=encoded)
            learned = samclip.learn_label(label, wanted, negatives=unwanted, score=score)
            labels = [each for each in packed if clean_text(each) != clean_text(label)] + [label]
            samclip.save_vocabulary(output, labels)
            calibration = samclip.manifest.calibration
    scores = [
        float(score_labels(region, texts=learned[None], calibration=calibration)[0])
        for region in [*wanted, *unwanted]
    ]
    if as_json:
        print_json({"output": str(output), "labels": labels, "scores": scores})
        return
    examples = [*(positive or ()), *(negative or ())]
    kinds = ["positive"] * len(positives) + ["negative"] * len(negatives)
    rows = zip(examples, kinds, (f"{each:.3f}" for each in scores), strict=True)
    print_table(("example", "", "score"), list(rows))
    print_line(f"{output}: {', '.join(labels)}")


def _regions(
    samclip: SamClip, examples: Sequence[Example], *, encoded: Mapping[Path, ImageEmbedding]
) -> list[Array]:
    """The embedding of each example."""
    return [
        samclip.embed_region(
            encoded[path],
            box=numbers if len(numbers) == 4 else None,
            point=numbers if len(numbers) == 2 else None,
        )
        for path, numbers in examples
    ]


def _example(text: str, *, option: str) -> Example:
    """Reads "mug.jpg:10,20,200,220" or "mug.jpg:50,60"."""
    path, colon, numbers = text.rpartition(":")
    if not path or not colon:
        raise WrongUsageError(f"{option} {text!r} is not IMAGE:X0,Y0,X1,Y1 or IMAGE:X,Y")
    return Path(path), read_numbers(numbers, option=option, counts=(2, 4))
