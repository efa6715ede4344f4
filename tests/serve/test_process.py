"""`samclip serve` as a process: it starts, is asked, is killed or stopped, and leaves nothing."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from typer.testing import CliRunner

from samclip_sdk.bundle.open import Bundle
from samclip_sdk.cli import serve as cli_serve
from samclip_sdk.cli.app import app
from samclip_sdk.device.auto import find_candidates
from samclip_sdk.runtimes.artifact_sets import RuntimeSet
from samclip_sdk.runtimes.opening import open_session
from samclip_sdk.serve.settings import ModelChoice
from samclip_sdk.serve.worker import open_model
from tests.drawings import TINY_BUNDLE
from tests.serve.running_server import alive

ROOT = Path(__file__).parents[2]
DOG = ROOT / "examples" / "images" / "dog.jpg"


class Served:
    """A running `samclip serve`, and its logs, line by line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[dict[str, Any]] = []

    def wait_for(self, event: str) -> dict[str, Any]:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(json.loads(line))
            if self.lines[-1]["event"] == event:
                return self.lines[-1]
        raise AssertionError(f"it ended without {event!r}: {self.lines}")


@contextmanager
def serving(*options: str, env: dict[str, str] | None = None) -> Iterator[Served]:
    command = [sys.executable, "-m", "samclip_sdk", "serve", str(TINY_BUNDLE), "--port", "0"]
    process = subprocess.Popen(
        [*command, "--runtime", "onnx", *options],
        cwd=ROOT,
        env=os.environ | (env or {}),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield Served(process)
    finally:
        process.kill()
        process.communicate()


def odd_exif() -> bytes:
    """A JPEG whose EXIF is said to have two entries, of which the second is cut off."""
    exif, content = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6
    Image.new("RGB", (32, 24)).save(content, "JPEG", exif=exif)
    one, two = (b"MM\0*\0\0\0\x08\0%c\x01\x12" % count for count in (1, 2))
    assert one in content.getvalue()
    return content.getvalue().replace(one, two)


@pytest.mark.parametrize(
    "signum", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_requests_in_progress_are_answered_before_it_stops(signum: signal.Signals) -> None:
    with serving() as served:
        assert served.wait_for("opening")["api_keys"] == "not asked for"
        worker = served.wait_for("worker ready")["worker"]
        url = served.wait_for("serving")["address"]
        answers: list[httpx.Response] = []
        # Pillow warns of its metadata; what the server logs is lines of JSON all the same.
        assert httpx.post(f"{url}/v1/images", files={"image": odd_exif()}).status_code == 200

        def ask() -> None:
            files = {"image": DOG.read_bytes()}
            request = {"request": '{"points_per_side": 24}'}
            answers.append(
                httpx.post(f"{url}/v1/everything", files=files, data=request, timeout=60)
            )

        asking = threading.Thread(target=ask)
        asking.start()
        while "samclip_requests_in_progress 2.0" not in httpx.get(f"{url}/metrics").text:
            time.sleep(0.01)
        served.process.send_signal(signum)
        asking.join()
        served.wait_for("stopped")
        assert [each.status_code for each in answers] == [200]
        assert served.process.wait(20) == 0
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{url}/health")
        assert not alive(worker)
        assert {each["level"] for each in served.lines} == {"info"}


@pytest.mark.slow
def test_workers_end_with_a_server_that_is_killed() -> None:
    with serving("--workers", "2") as served:
        workers = [served.wait_for("worker ready")["worker"] for _ in range(2)]
        served.process.kill()
        for _ in range(500):
            time.sleep(0.02 * any(map(alive, workers)))
        assert not any(map(alive, workers))


@pytest.mark.parametrize(
    ("options", "threads"),
    [(("--workers", "2"), 3), (("--workers", "2", "--threads", "1"), 1), ((), 0)],
)
@pytest.mark.parametrize("runtime", ["auto", "onnx"])
def test_workers_share_the_cores(
    monkeypatch: pytest.MonkeyPatch, runtime: str, options: tuple[str, ...], threads: int
) -> None:
    """Of six cores; whatever "auto" takes, its graphs are opened with a worker's share."""

    def first(bundle: Bundle, **asked: Any) -> tuple[RuntimeSet, bool]:
        return find_candidates(bundle, **asked)[0], True

    choices: list[ModelChoice] = []
    given: set[int] = set()

    def opened(kind: str, **others: Any) -> Any:
        given.add(others["options"].threads)
        return open_session(kind, **others)

    monkeypatch.setattr(cli_serve, "run_server", lambda choice, **_: choices.append(choice))
    monkeypatch.setattr("os.cpu_count", lambda: 6)
    monkeypatch.setattr("samclip_sdk.device.auto.select", first)
    ran = CliRunner().invoke(app, ["serve", str(TINY_BUNDLE), "--runtime", runtime, *options])
    assert ran.exit_code == 0, ran.output
    monkeypatch.setattr("samclip_sdk.runtimes.source.open_session", opened)
    model, _ = open_model(asdict(choices[0]))
    model.close()
    assert given == {threads}
