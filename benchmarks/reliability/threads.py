"""Threads on one model: does each get the very answer that it would get alone?"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated

import typer

from benchmarks.reliability.questions import (
    TINY_BUNDLE,
    VERBS,
    ModelPath,
    ask,
    digest_answer,
    load_exact,
    make_subjects,
)
from benchmarks.suite import Measuring, Seed
from samclip_sdk import SamClip

PICTURES = 6

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
"""The share of each verb among the calls: those that take long are asked more seldom."""

SECONDS_BETWEEN = 0.5


def plan_calls(calls: int, *, seed: int) -> list[tuple[str, int]]:
    """Verbs and the numbers of their pictures, every verb once at least, in a mixed order."""
    counts = {verb: max(1, round(calls * share)) for verb, share in MIX.items()}
    counts["embed_text"] = max(1, counts["embed_text"] + calls - sum(counts.values()))
    generator = random.Random(seed)
    plan = [(verb, generator.randrange(PICTURES)) for verb in VERBS for _ in range(counts[verb])]
    generator.shuffle(plan)
    return plan


def run_threads(
    load: Callable[[], SamClip],
    *,
    threads: int,
    calls: int,
    seed: int,
    on_progress: Callable[[int, int], None],
) -> tuple[Counter[str], Counter[str]]:
    """Asks one model from many threads, and another one, alone, for the answers.

    `load` is called twice: the first calls of the threads meet a model of which no graph is open
    yet. `on_progress` is told how many calls are done, of how many; it may raise to stop them.

    Returns:
        How often each verb was asked; and how many calls "failed", by an error, or got an "other
        VERB": an answer that differs, in any bit, from the one alone.
    """
    with load() as alone:
        subjects = make_subjects(alone, pictures=PICTURES, seed=seed)
        expected = {
            (verb, number): digest_answer(ask(alone, verb, subject))
            for verb in VERBS
            for number, subject in enumerate(subjects)
        }
    plan = plan_calls(calls, seed=seed)
    lanes: list[Counter[str]] = [Counter() for _ in range(threads)]
    stop = threading.Event()

    def work(lane: Counter[str], mine: Sequence[tuple[str, int]]) -> None:
        for verb, number in mine:
            if stop.is_set():
                return
            try:
                same = digest_answer(ask(model, verb, subjects[number])) == expected[verb, number]
                lane[f"other {verb}"] += not same
            except Exception:  # whatever it is, it is counted, and the others go on
                lane["failed"] += 1
            lane["done"] += 1

    with load() as model:
        workers = [
            threading.Thread(target=work, args=(lane, plan[place::threads]))
            for place, lane in enumerate(lanes)
        ]
        for worker in workers:
            worker.start()
        try:
            while any(worker.is_alive() for worker in workers):
                on_progress(sum(lane["done"] for lane in lanes), len(plan))
                workers[-1].join(SECONDS_BETWEEN)
        finally:
            stop.set()
            for worker in workers:
                worker.join()
    return Counter(verb for verb, _ in plan), sum(lanes, Counter())


def threads(
    measured: Measuring,
    size: Annotated[int, typer.Option(min=1, help="calls of all threads together")] = 100_000,
    threads: Annotated[int, typer.Option(min=1, help="that ask at once")] = 8,
    model: ModelPath = TINY_BUNDLE,
    seed: Seed = 0,
) -> None:
    """Asks one model from many threads, and compares every answer with the one alone."""
    load = partial(load_exact, model)
    with load() as loaded:
        measured.of(loaded)
    measured.settings["pictures"] = PICTURES
    told = partial(measured.say, "calls")
    asked, found = run_threads(load, threads=threads, calls=size, seed=seed, on_progress=told)
    for verb in VERBS:
        measured.add(f"threads: {verb}", calls=asked[verb], other=found[f"other {verb}"])
    measured.add("threads", n=size, failed=found["failed"])
