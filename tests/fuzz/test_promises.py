"""What looks at answers would find each kind of fault."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from samclip_sdk import Classification, SamClipError
from tests.fuzz import (
    test_bundles,
    test_commands,
    test_pictures,
    test_questions,
    test_server,
    test_stored,
    test_streams,
)
from tests.fuzz.answers import SECRET, SECRET_SIZE, check_reply
from tests.fuzz.cases import SHARES
from tests.fuzz.promises import holds, judge
from tests.fuzz.site import Site
from tests.fuzz.wire import Reply, exchange

ROOT = Path(__file__).parents[2]
MODULES = (
    *(test_bundles, test_commands, test_pictures, test_questions),
    *(test_server, test_stored, test_streams),
)


def test_all_cases_are_given_to_somebody() -> None:
    assert sum(SHARES.values()) == pytest.approx(100)
    assert {Path(str(each.__file__)) for each in MODULES} == {
        *Path(__file__).parent.glob("test_*.py")
    } - {Path(__file__)}


def run_pytest(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    environ = {**os.environ, **environment}
    return subprocess.run(line, cwd=ROOT, env=environ, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["os._exit(9)", "time.sleep(99)"])
def test_what_a_crash_or_a_hang_was_given_is_kept(tmp_path: Path, fault: str) -> None:
    (tmp_path / "test_it.py").write_text(
        "import os, time\n"
        "from pathlib import Path\n"
        "from hypothesis import strategies as st\n"
        "from tests.fuzz import cases\n"
        f"cases.RUNS, cases.LIMIT_S = Path({str(tmp_path)!r}), 2\n"
        "@cases.fuzz(100, number=st.integers(0, 99))\n"
        f"def test_it(number): assert number < 50 or {fault}\n"
    )
    assert run_pytest(str(tmp_path / "test_it.py"), PYTHONPATH=str(ROOT)).returncode != 0
    told = (tmp_path / "test_it.txt").read_text()
    assert told.startswith("{'number': ")


class TestJudge:
    @pytest.mark.parametrize(
        "error",
        [
            *(ValueError("no"), SystemExit(3), SamClipError("two\nlines here")),
            *(SamClipError("wordless"), SamClipError("very " * 1000)),
        ],
    )
    def test_other_errors(self, tmp_path: Path, error: BaseException) -> None:
        def call() -> None:
            raise error

        with pytest.raises((AssertionError, ValueError)):
            judge(call, folder=tmp_path)

    def test_a_refusal_of_one_line(self, tmp_path: Path) -> None:
        def call() -> None:
            raise SamClipError("the value 5 is too large")

        assert judge(call, folder=tmp_path) == "refusal"

    def test_warnings(self, tmp_path: Path) -> None:
        with pytest.raises(AssertionError, match="RuntimeWarning"):
            judge(lambda: warnings.warn("of nothing", RuntimeWarning, 1), folder=tmp_path)

    def test_files(self, tmp_path: Path) -> None:
        def leave() -> None:
            (tmp_path / "left.json").touch()

        with pytest.raises(AssertionError, match=r"left\.json"):
            judge(leave, folder=tmp_path)
        assert not list(tmp_path.iterdir())
        assert judge(leave, folder=tmp_path, writes=("*.json",)) == "answer"

    @pytest.mark.parametrize("probs", [[0.5, 0.4], [np.nan, 1.0]])
    def test_answers_that_do_not_hold(self, tmp_path: Path, probs: list[float]) -> None:
        array = np.array(probs, dtype=np.float32)
        answer = Classification(["a", "b"], array, np.zeros(2), np.zeros(2))
        with pytest.raises(AssertionError):
            judge(lambda: answer, folder=tmp_path, check=holds)


PROBLEM = {"error": "Refused", "message": "it is too large", "request_id": "7"}
MASK = {
    "score": 0.5,
    "bbox": [0, 0, 2, 2],
    "area": 4,
    "segmentation": {"size": [2, 2], "counts": "04"},
    "prompt_index": 0,
}
MASKS = {"size": [2, 2], "annotations": [MASK], "speed": {}}
LINES = b'{"image_index":0,"found":0,"size":[2,2]}\n'
STORED = {"id": "x", "height": SECRET_SIZE[0], "width": SECRET_SIZE[1]}
NDJSON = "application/x-ndjson"


def replied(content: Any, *, status: int = 200, kind: str = "application/json") -> Reply:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Reply(status, {"content-type": kind, "x-request-id": "7"}, body)


def masks(**changed: Any) -> Reply:
    return replied({"answers": [{**MASKS, "annotations": [{**MASK, **changed}]}]})


def test_replies_that_keep_the_promises() -> None:
    assert check_reply(masks(), verb="segment", sizes=[(2, 2)]) == ""
    refused = check_reply(replied(PROBLEM, status=413), verb="segment")
    assert refused == "413: Refused: it is too large"
    assert check_reply(replied(LINES, kind=NDJSON), verb="text", sizes=[(2, 2)]) == ""


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (replied(PROBLEM, status=500), "status 500"),
        (replied(PROBLEM, status=307), "status 307"),
        (replied({**PROBLEM, "request_id": "8"}, status=422), "another id"),
        (replied(PROBLEM, status=429), "retry after 0"),
        (replied(b"no", status=422, kind="text/html"), "text/html"),
        (replied(SECRET), "its answer holds"),
        (replied(b"Traceback (most recent call last)", status=422), "its answer holds"),
        (replied({"answers": []}), "0 answers"),
        (masks(score=float("nan")), "NaN in the JSON"),
        (masks(area=3), "area 3"),
        (masks(bbox=[1, 0, 2, 2]), "1, 0, 2, 2"),
        (masks(segmentation={"size": [2, 3], "counts": "06"}), "a mask"),
        (masks(segmentation=[[0, 0, 3, 0, 0, 3]]), "beyond the picture"),
        (replied({"answers": [{**MASKS, "size": [2, 3]}]}), "of a picture"),
        (replied({"answers": [{**MASKS, "more": 1}]}), "more"),
        (replied(LINES * 2, kind=NDJSON), "is of 0"),
        (replied(b"", kind=NDJSON), "0 pictures of 1"),
    ],
)
def test_replies_that_break_one(reply: Reply, why: str) -> None:
    with pytest.raises((AssertionError, ValueError), match=why):
        check_reply(reply, verb="segment", sizes=[(2, 2)])


def test_a_picture_of_the_servers_disk() -> None:
    with pytest.raises(AssertionError, match="own disk"):
        check_reply(replied({"answers": [STORED]}), verb="images")


@pytest.mark.parametrize(
    ("errors", "deaths", "known", "why"),
    [
        (["unforeseen error"], 0, b"200 as ever", "it logs"),
        ([], 1, b"200 as ever", "has died"),
        ([], 0, b"200 another", "200 as ever"),
    ],
)
def test_a_server_that_is_no_longer_well(
    monkeypatch: pytest.MonkeyPatch, errors: list[str], deaths: int, known: bytes, why: str
) -> None:
    server: Any = SimpleNamespace(pool=SimpleNamespace(restarts=deaths))
    world: Any = None
    site = Site(server, world, errors, pictures=[], known=known)
    monkeypatch.setattr(site, "ask_known", lambda: b"200 as ever")
    with pytest.raises(AssertionError, match=why):
        site.check_health()


@contextmanager
def listening(answer: Callable[[socket.socket], object]) -> Iterator[tuple[str, int]]:
    """A server of one connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with server.accept()[0] as connection:
                connection.recv(100)
                answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()
        thread.join()


GET = [b"GET / HTTP/1.1\r\n\r\n"]


@pytest.mark.parametrize("then", ["wait", "end if silent"])
def test_a_server_that_hangs(then: Any) -> None:
    done = threading.Event()
    with listening(lambda connection: done.wait(20)) as address:
        try:
            with pytest.raises(AssertionError, match="hangs"):
                exchange(address, GET, then=then, limit_s=0.2)
        finally:
            done.set()


def test_several_replies_and_what_is_none() -> None:
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: b\r\n\r\nok"
    with listening(lambda connection: connection.sendall(whole * 2)) as address:
        replies = exchange(address, GET, then="wait")
    assert replies == [Reply(200, {"content-length": "2", "x-a": "b"}, b"ok")] * 2
    with (
        listening(lambda connection: connection.sendall(whole[:-1])) as address,
        pytest.raises(AssertionError, match="no HTTP"),
    ):
        exchange(address, GET, then="wait")
