"""What looks at answers would find each kind of fault."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from samclip_sdk import Classification, SamClipError
from tests.fuzz.answers import SECRET, SECRET_SIZE, check_reply
from tests.fuzz.promises import holds, judge
from tests.fuzz.wire import Reply

ROOT = Path(__file__).parents[2]


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
    line = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tmp_path / "test_it.py"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run(line, cwd=ROOT, env=environment, capture_output=True).returncode != 0
    assert (tmp_path / "test_it.txt").read_text().startswith("{'number': ")


def raises(error: BaseException) -> Callable[[Path], object]:
    def call(folder: Path) -> None:
        raise error

    return call


def answers(*probs: float) -> Classification:
    return Classification(["a", "b"], np.array(probs, np.float32), np.zeros(2), np.zeros(2))


@pytest.mark.parametrize(
    "call",
    [
        *map(raises, (ValueError("no"), SystemExit(3), SamClipError("two\nlines here"))),
        *map(raises, (SamClipError("wordless"), SamClipError("very " * 1000))),
        lambda folder: warnings.warn("of nothing", RuntimeWarning, 1),
        lambda folder: (folder / "left.json").touch(),
        lambda folder: answers(0.5, 0.4),
        lambda folder: answers(np.nan, 1.0),
    ],
)
def test_what_breaks_a_promise(tmp_path: Path, call: Callable[[Path], object]) -> None:
    def check(answer: object) -> None:
        if answer is not None:
            holds(answer)

    with pytest.raises((AssertionError, ValueError)):
        judge(lambda: call(tmp_path), folder=tmp_path, check=check)
    assert not list(tmp_path.iterdir())


def test_what_keeps_them(tmp_path: Path) -> None:
    refused = raises(SamClipError("the value 5 is too large"))
    assert judge(lambda: refused(tmp_path), folder=tmp_path) == "refusal"
    touch = (tmp_path / "left.json").touch
    assert judge(touch, folder=tmp_path, writes=("*.json",)) == "answer"
    assert judge(lambda: answers(0.5, 0.5), folder=tmp_path, check=holds) == "answer"


PROBLEM = {"error": "Refused", "message": "it is too large", "request_id": "7"}
MASK = {
    **{"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0},
    "score": 0.5,
    "bbox": [0, 0, 2, 2],
    "area": 4,
    "segmentation": {"size": [2, 2], "counts": "04"},
    "prompt_index": 0,
}
PICTURE = {"id": 1, "file_name": "image", "height": 2, "width": 2}
MASKS = {
    "images": [PICTURE],
    "categories": [{"id": 1, "name": "object"}],
    "annotations": [MASK],
    "speed": {},
}
LINES = b'{"image_index":0,"found":0,"images":[{"height":2,"width":2}]}\n'
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
        (replied({"answers": [{**MASKS, "images": [{**PICTURE, "width": 3}]}]}), "of a picture"),
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
