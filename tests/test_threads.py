"""One model, many threads; and what a forked child may do with its parent's model."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
import weakref
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from samclip_sdk import ImageEmbedding, SamClip
from samclip_sdk.bundle.open import open_bundle
from samclip_sdk.runtimes.options import RuntimeOptions
from samclip_sdk.runtimes.session import Session
from samclip_sdk.runtimes.source import BundleSource
from tests.drawings import TINY_BUNDLE
from tests.fake_source import FakeSource, HeadsDiffer, picture

LABELS = ["dog", "apple", "sky"]
THREADS = 8


def test_no_picture_gets_the_answer_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread replaces what the CLIP head gave last, just as this one looks at it."""
    interrupt: list[Callable[[], object]] = []

    class Interrupted(weakref.ref[ImageEmbedding]):
        def __call__(self) -> ImageEmbedding | None:
            if interrupt:
                interrupt.pop()()
            return super().__call__()

    monkeypatch.setattr("samclip_sdk.engine.engine.weakref.ref", Interrupted)
    model = SamClip(HeadsDiffer(tmp_path))
    image, other = model.encode_image([picture(50, 100), picture(60, 90)])
    expected = model.embed_image(image)
    assert not np.allclose(expected, model.embed_image(other))
    model.embed_image(image)
    interrupt.append(lambda: model.embed_image(other))
    np.testing.assert_array_equal(model.embed_image(image), expected)
    assert not interrupt


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
    pictures = [generator.integers(0, 256, (90, 120, 3), dtype=np.uint8) for _ in range(4)]

    def ask(model: SamClip, image: Any) -> list[np.ndarray]:
        encoded = model.encode_image(image)
        texts = model.segment_text(encoded, LABELS, threshold=0)
        masks = model.segment(encoded, points=[[20, 20]])
        answers = [model.classify(encoded, LABELS).logits, model.embed_image(encoded)]
        return [*answers, texts.asked.score_maps, texts.class_map, masks.low_res_masks, masks.masks]

    with SamClip(Counting()) as alone:
        expected = [ask(alone, image) for image in pictures]
    source = Counting()
    start = threading.Barrier(THREADS)
    problems: list[object] = []

    def work(shift: int) -> None:
        start.wait()
        try:
            for turn in range(2 * len(pictures)):
                place = (shift + turn) % len(pictures)
                found = ask(model, pictures[place])
                for mine, wanted in zip(found, expected[place], strict=True):
                    if not np.allclose(mine, wanted, atol=1e-4):
                        problems.append((shift, place))
        except Exception as error:
            problems.append(error)

    with SamClip(source) as model:
        threads = [threading.Thread(target=work, args=(shift,)) for shift in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert problems == []
    assert set(source.opened.values()) == {1}


def test_a_model_is_not_pickled(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="load it in each process"):
        pickle.dumps(SamClip(FakeSource(tmp_path)))


FORK = """
import multiprocessing, os, sys, threading
import numpy as np
from samclip_sdk import SamClip, SamClipError

picture = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
model = SamClip.load({runtime!r}, precision="fp32", threads=2, text_cache=False)
ask = lambda: model.segment_text(picture, ["dog"], threshold=0).scores
expected, go_on = ask(), True

def work():
    while go_on:
        ask()

def child(queue):
    try:
        queue.put("same" if np.allclose(ask(), expected, atol=1e-4) else "other")
    except SamClipError as error:
        queue.put(str(error))

busy = threading.Thread(target=work)  # holds locks, and the runtime's threads, as others fork
busy.start()
context = multiprocessing.get_context("fork")
for _ in range({children}):
    queue = context.SimpleQueue()
    process = context.Process(target=child, args=(queue,))
    process.start()
    process.join(60)
    print(queue.get() if process.exitcode == 0 else "hangs", flush=True)
    process.kill()
if not os.fork():
    sys.exit()  # which frees the model: nothing may wait for threads that stayed behind
print("exit", os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
go_on = False
busy.join()
print("parent", "same" if np.allclose(ask(), expected, atol=1e-4) else "other")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
class TestFork:
    def run(self, runtime: str, *, children: int) -> list[str]:
        code = FORK.format(runtime=runtime, children=children)
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code],
            capture_output=True,
            text=True,
            check=True,
            timeout=240,
        )
        return done.stdout.splitlines()

    def test_onnxruntime_starts_anew_in_the_child(self) -> None:
        assert self.run("onnx", children=3) == [*["same"] * 3, "exit 0", "parent same"]

    @pytest.mark.other_runtime
    def test_others_say_what_to_do(self) -> None:
        said = (
            "the model was in use before this process was forked, and openvino does not survive "
            'that: load the model in the child, which multiprocessing starts by "spawn"'
        )
        assert self.run("openvino", children=1) == [said, "exit 0", "parent same"]
