"""The SDK and clients of its server do the same work in turn, on the same machine."""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Annotated

import numpy as np
import typer

from benchmarks.distinct_pictures import distinct_pictures
from benchmarks.intervals import over_rounds
from benchmarks.serve import load
from benchmarks.suite import Measuring, ModelName, Rounds
from samclip_sdk import SamClip
from samclip_sdk.bundle.open import DEFAULT_MODEL

LABELS = ["dog", "cat", "person"]


def compare(
    measured: Measuring,
    name: str,
    work: Callable[[], Sequence[object]],
    requests: Callable[[], Sequence[load.Request]],
    *,
    server: load.Server,
    clients: Sequence[int],
    rounds: int,
) -> None:
    """Has the SDK and the clients do the same work in turn; the first time does not count.

    A ratio is of a client's rate and the SDK's in the same round; times are of all requests; what
    failed got another status than 200.
    """
    sdk, rates = list[float](), {count: list[float]() for count in clients}
    times = {count: list[float]() for count in clients}
    failed: Counter[int] = Counter()
    for turn in measured.track(range(rounds + 1), name):
        started = time.perf_counter()
        rate = len(work()) / (time.perf_counter() - started)
        sdk += [rate] if turn else []
        for count in clients:
            seconds, took_ms, statuses = load.send_all(
                server, requests(), clients=count, on_answer=lambda: None
            )
            if turn:
                rates[count].append(len(took_ms) / seconds)
                times[count] += took_ms
                failed[count] += sum(statuses.values()) - statuses[200]
    measured.add(name, "sdk", a_second=over_rounds(sdk))
    for count in clients:
        ratios = [mine / theirs for mine, theirs in zip(rates[count], sdk, strict=True)]
        p50, p99 = np.percentile(times[count], [50, 99]).tolist()
        measured.add(
            name,
            str(count),
            n=len(times[count]),
            a_second=over_rounds(rates[count]),
            ratio=over_rounds(ratios),
            p50_ms=p50,
            p99_ms=p99,
            failed=failed[count],
        )


def kill_in_the_middle(
    server: load.Server, requests: Sequence[load.Request], *, clients: int
) -> int:
    """Kills a worker when half of the requests are answered, and counts what is answered."""
    answered = itertools.count(1)

    def count() -> None:
        if next(answered) == len(requests) // 2:
            os.kill(server.workers[0], signal.SIGKILL)

    return load.send_all(server, requests, clients=clients, on_answer=count)[2][200]


def serve(
    measured: Measuring,
    model: ModelName = DEFAULT_MODEL,
    runtime: Annotated[str, typer.Option(help="onnx or openvino")] = "onnx",
    workers: Annotated[int, typer.Option(min=1, help="of the server")] = 2,
    clients: Annotated[list[int], typer.Option(min=1, help="at once; repeatable")] = [1, 4, 16],  # noqa: B006, as typer takes it
    pictures: Annotated[int, typer.Option(min=2, help="of a round")] = 48,
    boxes: Annotated[int, typer.Option(min=2, help="of a round")] = 192,
    rounds: Rounds = 5,
) -> None:
    """Holds the server's throughput and times against the SDK in process; kills a worker too.

    The machine should be idle: the clients need a part of it as well.
    """
    found, asked = distinct_pictures(pictures), load.boxes_of(boxes)
    samclip = SamClip.load(runtime, model=model)
    measured.of(samclip)
    image = samclip.encode_image(found[0])

    def texts() -> list[str]:
        return [each.to_json() for each in samclip.segment_text(iter(found), LABELS)]

    def masks() -> list[str]:
        return [
            samclip.segment(image, boxes=box, multimask_output=False).to_json() for box in asked
        ]

    def uploads() -> list[load.Request]:
        return [load.upload("/v1/text", load.as_new(each), {"labels": LABELS}) for each in found]

    with load.serving(model, "--runtime", runtime, "--workers", str(workers)) as server:
        key = load.store(server, found[0])
        of_boxes = [load.box_request(key, each) for each in asked]
        how = {"server": server, "clients": clients, "rounds": rounds}
        compare(measured, "three labels of a new picture", texts, uploads, **how)
        compare(measured, "a box of one picture", masks, lambda: of_boxes, **how)
    with load.serving(model, "--runtime", runtime, "--workers", "2") as server:
        answered = kill_in_the_middle(server, uploads(), clients=max(clients))
    measured.add("one of two workers is killed", n=len(found), answered=answered)
