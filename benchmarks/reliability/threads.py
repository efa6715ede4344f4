"""Threads on one model: does each get the very answer that it would get alone?"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Annotated

import typer

from benchmarks.reliability.questions import (
    TINY_BUNDLE,
    VERBS,
    digest_answer,
    load_exact,
    make_subjects,
)
from benchmarks.suite import Measuring, ModelName, Seed
from samclip_sdk import SamClip

IMAGES = 6

MIX = {
    "classify": 0.15,
    "embed_image": 0.20,
    "embed_region": 0.05,
    "embed_text": 0.305,
    "segment": 0.18,
    "segment_text": 0.05,
    "instances": 0.015,
    "segment_everything": 0.04,
    "stream": 0.01,
}
"""How often each verb is asked: those that take long more seldom."""


def plan_calls(calls: int, *, seed: int) -> list[tuple[str, int]]:
    """Verbs and the numbers of their images, every verb once at least, in a mixed order."""
    generator = random.Random(seed)
    more = generator.choices([*MIX], [*MIX.values()], k=max(0, calls - len(MIX)))
    plan = [(verb, generator.randrange(IMAGES)) for verb in (*MIX, *more)]
    generator.shuffle(plan)
    return plan


def run_threads(
    load: Callable[[], SamClip], plan: Sequence[tuple[str, int]], *, threads: int, seed: int
) -> Iterator[tuple[str, str]]:
    """Asks one model from many threads, and another one, alone, for the answers.

    `load` is called twice: the first calls of the threads meet a model of which no graph is open
    yet.

    Yields:
        The verb of each call, and how it was answered: the "same", an "other" answer, which differs
        in any bit from the one alone, or "failed" with an error.
    """
    with load() as alone:
        subjects = make_subjects(alone, images=IMAGES, seed=seed)
        expected = {
            (verb, number): digest_answer(ask(alone, subject))
            for verb, ask in VERBS.items()
            for number, subject in enumerate(subjects)
        }
    with load() as model, ThreadPoolExecutor(threads) as pool:

        def judge(call: tuple[str, int]) -> tuple[str, str]:
            verb, number = call
            try:
                same = digest_answer(VERBS[verb](model, subjects[number])) == expected[call]
            except Exception:  # whatever it is, it is counted, and the others go on
                return verb, "failed"
            return verb, "same" if same else "other"

        try:
            yield from pool.map(judge, plan)
        finally:
            pool.shutdown(cancel_futures=True)


def threads(
    measured: Measuring,
    size: Annotated[int, typer.Option(min=1, help="calls of all threads together")] = 100_000,
    threads: Annotated[int, typer.Option(min=1, help="that ask at once")] = 8,
    model: ModelName = TINY_BUNDLE,
    seed: Seed = 0,
) -> None:
    """Asks one model from many threads, and compares every answer with the one alone."""
    load = partial(load_exact, model)
    with load() as loaded:
        measured.of(loaded)
    measured.settings["images"] = IMAGES
    plan = plan_calls(size, seed=seed)
    outcomes = run_threads(load, plan, threads=threads, seed=seed)
    found = Counter(measured.track(outcomes, "calls", total=size))
    asked = Counter(verb for verb, _ in plan)
    for verb in VERBS:
        measured.add(f"threads: {verb}", calls=asked[verb], other=found[verb, "other"])
    failed = sum(count for (_, what), count in found.items() if what == "failed")
    measured.add("threads", n=size, failed=failed)
