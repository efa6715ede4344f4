"""Importing a runtime neither writes about this device nor opens a connection."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from samclip_sdk.system.packages import import_onnxruntime, import_openvino

ROOT = Path(__file__).parents[2]

# Runs a model in a process of its own; prints each connection, open socket and sender of telemetry.
PROGRAM = """
import os, sys

def tell(event, arguments):
    if event.startswith(("socket.", "http.", "urllib.")):
        print(event, str(arguments)[:100])

sys.addaudithook(tell)
from samclip_sdk import SamClip
with SamClip.load(sys.argv[1]) as model:
    model.embed_text("a dog")
descriptors = "/proc/self/fd"
for each in os.listdir(descriptors) if os.path.isdir(descriptors) else ():
    place = os.path.join(descriptors, each)
    if os.path.islink(place) and os.readlink(place).startswith("socket:"):
        print(os.readlink(place))
print(*(name for name in sys.modules if name == "openvino_telemetry"), end="")
"""


@pytest.mark.parametrize(
    "runtime", ["onnx", pytest.param("openvino", marks=pytest.mark.other_runtime)]
)
def test_nothing_is_sent_or_noted_down(tmp_path: Path, runtime: str) -> None:
    own = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    home = {"HOME": tmp_path, "XDG_CACHE_HOME": tmp_path / "c", "XDG_DATA_HOME": tmp_path / "d"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, runtime],
        cwd=ROOT,
        env={**own, **{name: str(path) for name, path in home.items()}, "CI": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )
    assert (done.stdout, done.stderr) == ("", "")
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert all("samclip-sdk" in path.parts for path in written), written


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    import_onnxruntime()
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "0"
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY")
    import_onnxruntime()
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"


@pytest.mark.other_runtime
def test_the_sender_can_be_imported_afterwards() -> None:
    import_openvino()
    assert importlib.import_module("openvino_telemetry").__name__ in sys.modules
