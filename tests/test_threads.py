"""One model, many threads; and what a forked child may do with its parent's model."""

from __future__ import annotations

import pickle
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from samclip_sdk import SamClip
from samclip_sdk.bundle.open import open_bundle
from samclip_sdk.runtimes.options import RuntimeOptions
from samclip_sdk.runtimes.session import Session
from samclip_sdk.runtimes.source import BundleSource
from tests.drawings import TINY_BUNDLE
from tests.fake_source import FakeSource
from tests.own_process import run_program
from tests.refusals import refused

LABELS = ["dog", "apple", "sky"]
THREADS = 8


class Counting(BundleSource):
    """Counts how often each graph is opened."""

    def __init__(self) -> None:
        super().__init__(
            open_bundle(TINY_BUNDLE),
            runtime="onnx",
            precision=None,
            options=RuntimeOptions(threads=1),
        )
        self.opened: Counter[str] = Counter()

    def session(self, graph: str) -> Session:
        self.opened[graph] += 1
        return super().session(graph)


def test_eight_threads_get_what_one_gets() -> None:
    """From the first use on, which is when graphs are opened and labels embedded."""
    generator = np.random.default_rng(0)
    images = [generator.integers(0, 256, (90, 120, 3), dtype=np.uint8) for _ in range(4)]

    def ask(model: SamClip, image: Any) -> list[np.ndarray]:
        encoded = model.encode_image(image)
        texts = model.segment_text(encoded, LABELS, threshold=0)
        masks = model.segment(encoded, points=[[20, 20]])
        answers = [model.classify(encoded, LABELS).logits, model.embed_image(encoded)]
        return [*answers, texts.asked.score_maps, texts.class_map, masks.low_res_masks, masks.masks]

    with SamClip(Counting()) as alone:
        expected = [ask(alone, image) for image in images]
    source = Counting()
    start = threading.Barrier(THREADS)

    def work(shift: int) -> None:
        start.wait()
        for turn in range(2 * len(images)):
            index = (shift + turn) % len(images)
            for mine, wanted in zip(ask(model, images[index]), expected[index], strict=True):
                assert np.allclose(mine, wanted, atol=1e-4)

    with SamClip(source) as model, ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(THREADS)))
    assert set(source.opened.values()) == {1}


def test_a_model_is_not_pickled(tmp_path: Path) -> None:
    refused(lambda: pickle.dumps(SamClip(FakeSource(tmp_path))), TypeError, "each process")


FORK = """
import multiprocessing, os, sys, threading
import numpy as np
from samclip_sdk import SamClip, SamClipError

image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)

def load():
    return SamClip.load({runtime!r}, precision="fp32", threads=2, text_cache=False)

def ask(model):
    return model.segment_text(image, ["dog"], threshold=0).scores

def same(model):
    return "same" if np.allclose(ask(model), expected, atol=1e-4) else "other"

model = load()
expected, go_on = ask(model), True

def work():
    while go_on:
        ask(model)

def child(queue):
    try:
        with model:
            ask(model)
    except SamClipError as error:
        queue.put("refused" if '"spawn"' in str(error) else str(error))
    if {anew}:
        queue.put(same(load()))

busy = threading.Thread(target=work)  # holds locks, and the runtime's threads, as others fork
busy.start()
context = multiprocessing.get_context("fork")
for _ in range({children}):
    queue = context.SimpleQueue()
    process = context.Process(target=child, args=(queue,))
    process.start()
    process.join(60)
    print(queue.get() if process.exitcode == 0 else "hangs", flush=True)
    print(queue.get() if {anew} and process.exitcode == 0 else "", flush=True)
    process.kill()
for end in (sys.exit, lambda: (model.close(), os._exit(0))):
    child = os.fork()
    if not child:
        end()  # which frees the model: nothing may wait for threads that stayed behind
    print("exit", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
# Not before: a thread that ends holds a lock of OpenVINO, which its exit in a child would wait for.
go_on = False
busy.join()
print("parent", same(model))
"""


READING = """
import os, signal, threading
from PIL import Image
from samclip_sdk.image.loading import load_image

image, forked, started = Image.new("RGB", (8, 6)), threading.Event(), threading.Event()

def wait():
    started.set()
    forked.wait()

image.load = wait
threading.Thread(target=load_image, args=(image,)).start()
started.wait()
child = os.fork()
if not child:
    signal.alarm(20)
    del image.load
    print(load_image(image).shape, flush=True)
    os._exit(0)
print("exit", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
os._exit(0)
"""


class TestFork:
    def run(self, runtime: str, *, children: int, anew: bool) -> list[str]:
        done = run_program(FORK.format(runtime=runtime, children=children, anew=anew))
        return done.stdout.splitlines()

    def test_a_child_loads_a_model_of_its_own(self) -> None:
        """On onnxruntime, which starts anew beside the parent's."""
        said = self.run("onnx", children=3, anew=True)
        assert said == [*["refused", "same"] * 3, "exit 0", "exit 0", "parent same"]

    def test_openvino_says_what_to_do(self) -> None:
        said = self.run("openvino", children=1, anew=False)
        assert said == ["refused", "", "exit 0", "exit 0", "parent same"]

    def test_an_image_that_another_thread_was_reading(self) -> None:
        """Pillow's images are read by one thread at a time: in the child, nobody holds the lock."""
        assert run_program(READING).stdout == "(6, 8, 3)\nexit 0\n"
