"""A worker process: one model, questions in on standard input, answers out.

    python -m samclip_sdk.serve.worker

The first message names the model to open. One thread reads the next batch and decodes its image
while the model runs. The worker ends when the front process ends, in whatever way.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import time
import traceback
import warnings
from contextlib import suppress
from typing import Any, BinaryIO

import numpy as np

from samclip_sdk.client import SamClip
from samclip_sdk.errors import SamClipError, SamClipWarning, TextError
from samclip_sdk.runtimes.options import RuntimeOptions, why_refused
from samclip_sdk.serve.batching import Ask, BatchAnswerer, DecodedImage
from samclip_sdk.serve.errors import name_of, status_of
from samclip_sdk.serve.wire import read_message, write_message


def main() -> None:
    """Answers batches until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # on Ctrl-C the front process ends this one
    inlet, outlet = _own_pipes()
    opening = read_message(inlet)
    if opening is None:
        return
    options = opening[0]
    try:
        model, model_info = open_model(options["model"])
    except SamClipError as error:
        write_message(outlet, {"failed": str(error)})
        return
    answerer = BatchAnswerer(
        model, megapixels=options["megapixels"], embeddings_mb=options["embeddings_mb"]
    )
    write_message(outlet, {"ready": model_info})
    read: queue.SimpleQueue[Batch] = queue.SimpleQueue()
    threading.Thread(target=_read_on, args=(inlet, answerer, read), daemon=True).start()
    warnings.simplefilter("ignore", UserWarning)  # this package's, and Pillow's of damaged metadata
    while True:
        try:
            answer_batch(read.get(), answerer, outlet)
        except BrokenPipeError:
            return


def open_model(chosen: dict[str, Any]) -> tuple[SamClip, dict[str, Any]]:
    """Opens a model; returns it, and the fields of `schema.Model` with the warnings.

    Raises:
        SamClipError: an error of `SamClip.load`.
    """
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", SamClipWarning)
        model = _load(chosen)
        if chosen["vocabulary"] is not None:
            model.load_vocabulary(chosen["vocabulary"])
        warm_up(model)
    manifest, source = model.manifest, model.source
    return model, {
        "name": manifest.name,
        "revision": manifest.revision,
        "runtime": source.runtime,
        "precision": source.precision,
        "resolution": manifest.tasks.segmentation.resolution,
        "random_weights": manifest.random_weights,
        "warnings": [" ".join(str(each.message).split()) for each in warned],
    }


def _load(chosen: dict[str, Any]) -> SamClip:
    """Loads a model with this worker's share of the cores, whatever runtime "auto" takes.

    The first load has no `threads`: with them, a runtime that takes no number of threads would not
    be a candidate of "auto". A second load costs little, since graphs are opened later.
    """
    own = ("cores", "runtime", "vocabulary")
    options = {name: value for name, value in chosen.items() if name not in own}
    model = SamClip.load(chosen["runtime"], **options)
    source, cores = model.source, chosen["cores"]
    if not cores or chosen["threads"]:
        return model
    if why_refused(source.runtime, options=RuntimeOptions(threads=cores)):
        return model
    model.close()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SamClipWarning)  # The first load has warned already.
        same = {"precision": source.precision, "threads": cores}
        return SamClip.load(source.runtime, **options | same)


def warm_up(model: SamClip) -> None:
    """Opens all graphs, so that no request waits for them."""
    grey = np.full((48, 64, 3), 128, dtype=np.uint8)
    model.embed_image(grey)
    model.embed_region(grey, box=[8, 8, 40, 40])
    with suppress(TextError):  # A bundle may have no text encoder.
        model.embed_text("image")


class Batch:
    """Questions about one image.

    Args:
        numbers: the numbers of the jobs, which the answers carry.
        asks: the questions.
        image: the decoded image, or the error of decoding it.
        cached: whether the image was encoded already.
    """

    def __init__(
        self,
        numbers: list[int],
        asks: list[Ask],
        image: DecodedImage | Exception,
        *,
        cached: bool,
    ) -> None:
        self.numbers, self.asks, self.image, self.cached = numbers, asks, image, cached


def answer_batch(batch: Batch, answerer: BatchAnswerer, outlet: BinaryIO) -> None:
    """Answers all questions of a batch, with an error if need be; then reports the batch done."""
    started, left = time.perf_counter(), dict(enumerate(batch.numbers))
    try:
        if isinstance(batch.image, Exception):
            raise batch.image
        for index, answer in answerer.answer(batch.image, batch.asks):
            number = left.pop(index)
            if isinstance(answer, SamClipError):
                _refuse(outlet, number, answer)
            else:
                write_message(outlet, {"job": number, "status": 200}, answer)
    except SamClipError as error:
        for number in left.values():
            _refuse(outlet, number, error)
    except BrokenPipeError:
        raise
    except Exception as error:
        trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        for number in left.values():
            write_message(outlet, {"job": number, "status": 500, "trace": trace})
    took_s = time.perf_counter() - started
    write_message(outlet, {"done": batch.numbers, "seconds": took_s, "cached": batch.cached})


def _refuse(outlet: BinaryIO, number: int, error: SamClipError) -> None:
    header = {"job": number, "status": status_of(error), "error": name_of(error)}
    write_message(outlet, header, str(error).encode())


def _read_on(inlet: BinaryIO, answerer: BatchAnswerer, read: queue.SimpleQueue[Batch]) -> None:
    """Reads batches and decodes their images ahead; at most two batches are here at a time."""
    while True:
        message = read_message(inlet)
        if message is None:
            os._exit(0)  # The front process is gone: nobody waits for the running batch.
        header, content = message
        image: DecodedImage | Exception
        cached = answerer.knows(header["picture"])
        try:
            image = answerer.prepare(header["picture"], content, asks=header["asks"])
        except Exception as error:  # It is raised again where the answer is written.
            image = error
        read.put(Batch(header["jobs"], header["asks"], image, cached=cached))


def _own_pipes() -> tuple[BinaryIO, BinaryIO]:
    """The two pipes, moved so that nothing else uses them; prints go to standard error."""
    inlet, outlet = os.dup(sys.stdin.fileno()), os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), sys.stdin.fileno())
    return os.fdopen(inlet, "rb"), os.fdopen(outlet, "wb")


if __name__ == "__main__":
    main()
