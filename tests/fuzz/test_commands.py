"""Command lines of every verb: exit codes 0, 1 and 2, one line of error, JSON that is JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from hypothesis import strategies as st
from PIL import Image
from typer.core import TyperGroup, TyperOption
from typer.main import get_command
from typer.testing import CliRunner

from samclip_sdk.cli.app import app
from samclip_sdk.errors import SamClipError
from tests.fuzz.cases import fuzz, noise, odd_texts, texts, words
from tests.fuzz.promises import LONGEST_MESSAGE, World, refuse_constant

ESCAPES = "\x1b]0;owned\x07\x1b[2J\n\u202e :dog: [red].jpg"
LONG = "x" * 300
CONTENTS = {
    "bad.jpg": b"x",
    "e.jpg": b"",
    "labels.txt": b"dog\ncat\n",
    "latin.txt": b"\xff\xfe\x00",
    "twice.txt": b"dog\ndog\n",
    "blank.txt": b"\n\n",
    ESCAPES: b"x",
}
MODEL = "the model"
"""Stands for the bundle's folder until a command is run."""

NUMBERS = (
    *("0", "1", "2", "-1", "0.5", "nan", "inf", "1e400", "abc", "", "9" * 20, "1,2", "0x10", "١"),
)
POINTS = (
    *("10,10", "59,39", "60,40", "-1,5", "1,2,0", "1,2,3", "1,2,-1", "1", "1,2,3,4", "a,b", ","),
    *("", "nan,nan", "inf,1", "1e9,1", "1 ,2", "1,2,0.5", "1,1,20,20", "0,0,61,41", "20,20,1,1"),
)
IMAGES = (*("p.jpg",) * 12, *CONTENTS, "d", "none.jpg", "", "\0", "/dev/null", LONG)
OUTPUTS = (
    *("out.png", "out.json", "out.npz", "out.npy", "out.mp4", "out.safetensors", "out.jpg", ""),
    *("none/out.png", "d", "\0.json", ".png", "/proc/x.json", f"{LONG}.json", "out.PNG"),
)
FILES = (*CONTENTS, "none", "d", "pack.safetensors", "p.jpg")
EXAMPLES = ("p.jpg:1,1,20,20", "p.jpg:5,5", "p.jpg", ":1,1", "none.jpg:1,1", "p.jpg:", "p.jpg:a,b")
CHOICES: dict[str, Sequence[str]] = {
    "--runtime": ("onnx", "onnx", "torch", "coreml", "tensorrt", "x", ""),  # auto measures
    "--precision": ("fp32", "fp16", "int8", "x", "auto", ""),
    "--device": ("cpu", "cuda", "cuda:99", "mps", "x", ""),
    "--provider": ("CPUExecutionProvider", "CUDAExecutionProvider", "x", ""),
    "--compute-units": ("all", "cpu_only", "x", ""),
    "--tiles": ("1x2", "30", "0x1", "x", "2x", "1x2x3", "99x99", "-1", ""),
    "--labels-file": FILES,
    "--vocabulary": FILES,
    "--folder": ("d", "none", "", LONG),
    "--ray": ("localhost:1", "[::1]:1", "127.0.0.1:99999"),  # where no cluster is; it starts none
    "--output": OUTPUTS,
    "--point": POINTS,
    "--box": POINTS,
    "--positive": EXAMPLES,
    "--negative": EXAMPLES,
    "--image": IMAGES,
    "--points-per-side": ("2", "0", "x"),
}
NO_MODELS = ("none", "d", "p.jpg", "", ".", "\0", "../none", "bad.jpg", LONG, ESCAPES)
SLOW = {"tune", "bench", "compile", "verify", "info"}
"""They measure or look around for seconds, and take a model and options alone."""

ROOT = get_command(app)
assert isinstance(ROOT, TyperGroup)


@st.composite
def lines(draw: st.DrawFn) -> list[str]:
    name = draw(st.sampled_from(sorted(set(ROOT.commands) - SLOW)))
    line = [name, *_arguments(draw, name)]
    options = [each for each in ROOT.commands[name].params if isinstance(each, TyperOption)]
    names = {each for option in options for each in option.opts}
    for option in draw(st.lists(st.sampled_from(options), max_size=4)) if options else ():
        opt = draw(st.sampled_from((*option.opts, *option.secondary_opts)))
        if opt not in ("--help", "--model"):
            line += [opt] if option.is_flag else [opt, draw(_values(option.opts[0]))]
    if "--points-per-side" in names:
        line += ["--points-per-side", draw(st.sampled_from(CHOICES["--points-per-side"]))]
    if "--runtime" not in line:
        line += ["--runtime", "onnx"]
    model = st.just(MODEL) | st.just(MODEL) | st.sampled_from(NO_MODELS)
    return [*line, "--model", draw(model)]


def _values(option: str) -> st.SearchStrategy[str]:
    if option in ("--label", "--text"):
        return texts
    return st.sampled_from(CHOICES.get(option, NUMBERS))


def _arguments(draw: st.DrawFn, name: str) -> list[str]:
    image = draw(st.sampled_from(IMAGES))
    names = draw(st.lists(words | words | odd_texts, min_size=1, max_size=3))
    match name:
        case "classify" | "text" | "instances":
            return [image, *names]
        case "annotate" | "video":
            images = ("d", "d", "d", image, ".", "none", f"{ESCAPES}*")
            return [draw(st.sampled_from(images)), *names]
        case "segment" | "everything":
            return [image]
        case "embed":
            return [image] if draw(st.booleans()) else []
        case "learn":
            return names[:1]
        case _:
            return []


@pytest.fixture(scope="module")
def files(world: World) -> None:
    work = world.work
    Image.fromarray(noise(0, 40, 60)).save(work / "p.jpg")
    for name, content in CONTENTS.items():
        (work / name).write_bytes(content)
    (work / "d").mkdir()
    Image.fromarray(noise(1, 20, 30)).save(work / "d" / "a.png")
    (work / "d" / ESCAPES).write_bytes(b"x")
    world.model.save_vocabulary(work / "pack.safetensors", ["dog", "zebra"])


NO_NAME = ["segment", "p.jpg", "--provider", "", "--runtime", "onnx", "--model", MODEL]


@fuzz(2, examples=[{"line": NO_NAME}], line=lines())
def test_commands(world: World, files: None, line: list[str]) -> None:
    line = [str(world.bundle) if word == MODEL else word for word in line]
    world.judge(lambda: _run(line), writes=("work/*",), keeps=("xdg_*",))


def _run(line: list[str]) -> None:
    """Runs a command; what it refuses becomes a SamClipError with its line."""
    result = CliRunner().invoke(app, line)
    error = result.exception
    if error is not None and not isinstance(error, SystemExit):
        raise error
    assert result.exit_code in (0, 1, 2), f"exit code {result.exit_code}"
    assert all(line.isprintable() for line in result.stdout.split("\n")), result.stdout
    if result.exit_code == 1:
        *told, last = result.stderr.strip().splitlines()
        assert all(each.startswith(("warning: ", "error: ")) for each in told), result.stderr
        assert last.startswith("error: "), result.stderr
        raise SamClipError(last)
    if result.exit_code == 2:
        assert result.stderr.strip(), "a refusal without a word"
        assert len(result.stderr) < 3 * LONGEST_MESSAGE, result.stderr
        raise SamClipError(f"wrong usage: {result.stderr.split()[-1]}")
    if "--json" in line:
        for each in result.stdout.splitlines():
            json.loads(each, parse_constant=refuse_constant)
