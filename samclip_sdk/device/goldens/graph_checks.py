"""Re-runs a bundle's goldens: each is a comparison of this device with eager torch."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.bundle.contract import graph_key
from samclip_sdk.bundle.manifest import GOLDEN_INDEX, GOLDEN_TENSORS, TOKENIZER_NAME
from samclip_sdk.bundle.open import Bundle
from samclip_sdk.device.goldens.check import Check, Tensors
from samclip_sdk.device.goldens.letterbox_check import check_letterbox, letterbox_image
from samclip_sdk.device.goldens.schema import (
    Expected,
    GoldenGraph,
    GoldenIndex,
    GoldenLetterbox,
    GoldenSegment,
    GoldenText,
    golden_error,
    min_cosine,
    read_goldens,
)
from samclip_sdk.engine.classify import embed_image
from samclip_sdk.engine.engine import Engine
from samclip_sdk.engine.one_pass import Pass
from samclip_sdk.engine.segment import decode_in_boxes
from samclip_sdk.errors import BundleError, TextTruncatedWarning, one_line
from samclip_sdk.image.frame import letterbox
from samclip_sdk.image.image_prompts import image_prompts
from samclip_sdk.system.timing import Stopwatch
from samclip_sdk.text.tokenizer import Tokenizer, clean_text

_MAX_COSINE_DISTANCE = {"fp16": 1e-3, "bf16": 1e-3, "int8": 1e-2, "palette6": 2e-2}
"""The bound of one graph in less than fp32, for which the largest error says little."""

_CHAINED = 3  # encoder, prompt encoder and decoder each add their error


def graph_checks(bundle: Bundle, *, engine: Engine, precision: str) -> Iterator[Check]:
    """Runs the goldens that take seconds: preprocessing, graphs, prompts, class embeddings.

    Args:
        bundle: the bundle with the goldens.
        engine: runs the graphs to be checked, on whole squares, which every runtime takes; it stays
            open.
        precision: the graphs' precision; decides the metric and the bounds.

    Yields:
        Each check, as soon as it is made.

    Raises:
        BundleError: the bundle has no goldens, or they are damaged.
    """
    index, tensors = read_verified_goldens(bundle)
    judge = _Judge(tensors, precision=precision)
    yield from _preprocessing(bundle, index, tensors=tensors)
    yield from _graphs(bundle, index, engine=engine, judge=judge)


def read_verified_goldens(bundle: Bundle) -> tuple[GoldenIndex, Tensors]:
    """Verifies the files of a bundle's goldens and reads them.

    Raises:
        BundleError: the bundle has none, or they are damaged.
    """
    for path in (GOLDEN_INDEX, GOLDEN_TENSORS):
        bundle.file(path)
    return read_goldens(bundle.root)


class _Judge:
    """Compares outputs with the expected ones, by the metric of their precision."""

    def __init__(self, tensors: Tensors, *, precision: str) -> None:
        self.tensors = tensors
        self.precision = precision

    def compare(
        self, name: str, output: NDArray[np.generic], *, expected: Expected, chained: bool = False
    ) -> Check:
        wanted = self.tensors[expected.tensor]
        if self.precision == "fp32":
            error = golden_error(output, expected=wanted, step=expected.step)
            return Check(name=name, error=error, bound=expected.max_error)
        sample = output.reshape(-1)[:: expected.step]
        bound = _MAX_COSINE_DISTANCE[self.precision] * (_CHAINED if chained else 1)
        distance = 1 - min_cosine(sample, wanted.reshape(-1), vectors=False)
        return Check(name=f"{name}, cosine distance", error=distance, bound=bound)


def _graphs(
    bundle: Bundle, index: GoldenIndex, *, engine: Engine, judge: _Judge
) -> Iterator[Check]:
    """Checks every single graph, masks and embeddings of images, and class embeddings."""
    # A bundle that serves vocabulary packs only has no text_encoder; every other graph is there.
    graphs = bundle.manifest.graphs
    for golden in index.graphs:
        if golden.graph not in graphs:
            continue
        outputs = _run(golden, engine=engine, tensors=judge.tensors)
        for name, expected in golden.outputs.items():
            yield judge.compare(f"{golden.graph} {name}", outputs[name], expected=expected)
    for prompt in index.segment:
        yield from _segment(prompt, engine=engine, judge=judge)
    for embedded in index.image_embeddings:
        image = judge.tensors[embedded.image].astype(np.uint8)
        embedding = embed_image(Pass(engine, image, task="classification", whole_square=True))
        yield judge.compare(
            "image to image embedding", embedding, expected=embedded.expected, chained=True
        )
    for classes in index.class_embeddings if "text_encoder" in graphs else ():
        embeddings = engine.texts.own_embeddings(classes.labels, clock=Stopwatch())
        yield judge.compare("class embeddings", embeddings, expected=classes.expected)


def _run(
    golden: GoldenGraph, *, engine: Engine, tensors: Tensors
) -> Mapping[str, NDArray[np.generic]]:
    """Runs a golden's graph; the outputs include all that the golden expects.

    Raises:
        BundleError: the golden's inputs or outputs are not those of the graph.
    """
    feed = {name: tensors[key] for name, key in golden.inputs.items()}
    try:
        outputs = engine.run(golden.graph, feed, clock=Stopwatch())
    except ValueError as error:  # The session refuses the inputs.
        raise BundleError(f"the golden of {golden.graph} is of another graph: {error}") from error
    unknown = sorted(golden.outputs.keys() - outputs.keys())
    if unknown:
        raise BundleError(f"the golden of {golden.graph} expects {one_line(unknown)} of it")
    return outputs


def _preprocessing(bundle: Bundle, index: GoldenIndex, *, tensors: Tensors) -> Iterator[Check]:
    """Checks the token ids and the letterbox."""
    if index.texts:
        tokenizer = Tokenizer(
            bundle.file(TOKENIZER_NAME), context_length=bundle.manifest.text.context_length
        )
        wrong = sum(clean_text(golden.text) != golden.cleaned for golden in index.texts)
        yield Check(name=f"{len(index.texts)} texts, cleaned", error=wrong, bound=0)
        wrong = sum(not _same_tokens(golden, tokenizer=tokenizer) for golden in index.texts)
        yield Check(name=f"token ids of {len(index.texts)} texts", error=wrong, bound=0)
    for golden in index.letterbox:
        yield _letterbox(golden, bundle=bundle, tensors=tensors)


def _same_tokens(golden: GoldenText, *, tokenizer: Tokenizer) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TextTruncatedWarning)  # One of the texts is too long.
        ids = tokenizer([golden.text])[0].tolist()
    return bool(ids == [*golden.input_ids, *[0] * (len(ids) - len(golden.input_ids))])


def _letterbox(golden: GoldenLetterbox, *, bundle: Bundle, tensors: Tensors) -> Check:
    if graph_key("image_encoder", golden.resolution) not in bundle.manifest.graphs:
        raise BundleError(f"a golden is of {golden.resolution} px, where the bundle has no graph")
    square, frame = letterbox(
        letterbox_image(golden, tensors=tensors),
        resolution=golden.resolution,
        pad_colour=bundle.manifest.image.pad_colour,
    )
    extent = (frame.resized_height_px, frame.resized_width_px)
    return check_letterbox(golden, square, extent=extent, tensors=tensors)


def _segment(golden: GoldenSegment, *, engine: Engine, judge: _Judge) -> Iterator[Check]:
    """Checks the way from the image to all four masks of one prompt."""
    one = Pass(engine, judge.tensors[golden.image].astype(np.uint8), whole_square=True)
    prompts = image_prompts(
        golden.points or None, point_labels=golden.labels or None, boxes=golden.box
    ).in_model(one.frame, mask_side=one.mask_side)
    masks, scores = decode_in_boxes(one, prompts, tokens=slice(None))
    what = "box" if golden.box else "point"
    found = {"low_res_masks": masks, "iou_predictions": scores}
    for name, output in found.items():
        expected: Expected = getattr(golden, name)
        yield judge.compare(f"image and {what} to {name}", output, expected=expected, chained=True)
