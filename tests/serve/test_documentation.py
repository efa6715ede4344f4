"""What docs/how-to/serve.md shows a server to be asked is asked of one."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import subprocess
from typing import Any

import httpx
import pytest

from samclip_sdk.serve.settings import Limits
from tests.docs.pages import ROOT, blocks
from tests.serve.running_server import running

PAGE = "docs/how-to/serve.md"


@pytest.mark.slow
def test_what_the_page_shows_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    asked = [block for block in blocks(PAGE) if block.reason == "needs a server"]
    assert [block.language for block in asked] == ["bash", "python", "python"]
    printed: list[io.StringIO] = []
    names: dict[str, Any] = {}
    with running() as server:
        for block in asked:
            code = block.code.replace("http://127.0.0.1:8080", server.url)
            if block.language == "python":
                printed.append(io.StringIO())
                with contextlib.redirect_stdout(printed[-1]):
                    exec(compile(code, PAGE, "exec"), names)
            elif shutil.which("curl"):
                done = subprocess.run(["bash", "-c", code], capture_output=True, check=True)
                assert len(json.loads(done.stdout)["answers"][0]["presence"]) == 2
        with pytest.raises(RuntimeError, match="upload it"):
            names["Client"](server.url).ask("text", "0" * 64, labels=["dog"])
    httpx_printed, client_printed = (each.getvalue() for each in printed)
    assert '{"image_index":0,"' in httpx_printed
    assert client_printed.startswith("dog 0.")
    assert len(asked[-1].code.strip().splitlines()) <= 30


def test_the_page_tells_the_limits_that_there_are(client: httpx.Client) -> None:
    page = (ROOT / PAGE).read_text(encoding="utf-8")
    told = {name: value for name, value in vars(Limits()).items() if name != "stop_s"}
    for name, value in told.items():
        option = f"`--{name.replace('_', '-')}`"
        assert option in page, option
        rows = [line for line in page.splitlines() if line.startswith(f"| {option}")]
        assert all(f"| {value} |" in row for row in rows), rows
    paths = client.get("/openapi.json").json()["paths"]
    assert not [path for path in paths if f" {path}`" not in page]
