"""Command lines of every verb: exit codes 0, 1 and 2, one line of error, JSON that is JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random

from PIL import Image
from typer.core import TyperCommand, TyperGroup, TyperOption
from typer.main import get_command
from typer.testing import CliRunner

from samclip_sdk.cli.app import app
from samclip_sdk.errors import SamClipError
from tests.fuzz.oracle import LONGEST_MESSAGE, Case
from tests.fuzz.values import TEXTS, WORDS, pixels, shown
from tests.fuzz.world import World

NUMBERS = (
    *(
        "0",
        "1",
        "2",
        "-1",
        "0.5",
        "nan",
        "inf",
        "1e400",
        "abc",
        "",
        "9" * 20,
        "1,2",
        "0x10",
        "١",
        "1_0",
    ),
)
POINTS = (
    *(
        "10,10",
        "59,39",
        "60,40",
        "-1,5",
        "1,2,0",
        "1,2,3",
        "1,2,-1",
        "1",
        "1,2,3,4",
        "a,b",
        ",",
        "",
    ),
    *(
        "nan,nan",
        "inf,1",
        "1e9,1",
        "1 ,2",
        "1,2.5",
        "1,2,0.5",
        "1,1,20,20",
        "0,0,61,41",
        "20,20,1,1",
    ),
)
ESCAPES = "\x1b]0;owned\x07\x1b[2J\n\u202e :dog: [red].jpg"
IMAGES = (
    *(*("p.jpg",) * 12, "bad.jpg", "e.jpg", "d", "none.jpg", "", "\0", "/dev/null"),
    *("x" * 300, ESCAPES),
)
OUTPUTS = (
    *("out.png", "out.json", "out.npz", "out.npy", "out.mp4", "out.safetensors", "out.jpg", ""),
    *("none/out.png", "d", "\0.json", ".png", "/proc/x.json", "x" * 300 + ".json", "out.PNG"),
)
FILES = (
    "labels.txt",
    "latin.txt",
    "twice.txt",
    "blank.txt",
    "none",
    "d",
    "pack.safetensors",
    "p.jpg",
)
EXAMPLES = (
    "p.jpg:1,1,20,20",
    "p.jpg:5,5",
    "p.jpg",
    ":1,1",
    "none.jpg:1,1",
    "p.jpg:",
    "p.jpg:a,b",
    "::",
)
CHOICES = {
    "--runtime": ("onnx", "onnx", "torch", "coreml", "tensorrt", "x", ""),  # auto measures
    "--precision": ("fp32", "fp16", "int8", "x", "auto", ""),
    "--device": ("cpu", "cuda", "cuda:99", "mps", "x", ""),
    "--provider": ("CPUExecutionProvider", "CUDAExecutionProvider", "x", ""),
    "--compute-units": ("all", "cpu_only", "x", ""),
    "--tiles": ("1x2", "30", "0x1", "x", "2x", "1x2x3", "99x99", "-1", ""),
    "--labels-file": FILES,
    "--vocabulary": FILES,
    "--folder": ("d", "none", "", "x" * 300),
    "--output": OUTPUTS,
    "--point": POINTS,
    "--box": POINTS,
    "--positive": EXAMPLES,
    "--negative": EXAMPLES,
    "--image": IMAGES,
    "--label": (*WORDS, *TEXTS),
    "--text": (*WORDS, *TEXTS),
}
SLOW = ("tune", "bench", "compile", "verify", "info")
"""They measure or look around for seconds: they are given models that they refuse."""


def subject(world: World) -> Callable[[Random], Case]:
    _write_files(world)
    root = get_command(app)
    assert isinstance(root, TyperGroup)
    models = (
        *([str(world.bundle)] * 8),
        *("none", "d", "p.jpg", "", ".", "\0", "../none", "bad.jpg", "x" * 300, ESCAPES),
    )

    def draw(rng: Random) -> Case:
        name = rng.choice(sorted(root.commands))
        line = [name, *_arguments(name, rng), *_options(root.commands[name], models, rng)]
        if name not in SLOW and "--runtime" not in line:
            line += ["--runtime", "onnx"]
        if name in SLOW:
            line += ["--model", rng.choice(models[8:])]
        elif "--model" not in line:
            line += ["--model", str(world.bundle)]
        return Case(
            f"samclip {shown(line)}", lambda: _run(line), writes=("work/*",), keeps=("xdg_*",)
        )

    return draw


def _write_files(world: World) -> None:
    work = world.work
    Image.fromarray(pixels(Random(0), 40, 60)).save(work / "p.jpg")
    contents = {
        "bad.jpg": b"x",
        "e.jpg": b"",
        "labels.txt": b"dog\ncat\n",
        "latin.txt": b"\xff\xfe\x00",
        "twice.txt": b"dog\ndog\n",
        "blank.txt": b"\n\n",
        ESCAPES: b"x",
    }
    for name, content in contents.items():
        (work / name).write_bytes(content)
    (work / "d").mkdir()
    Image.fromarray(pixels(Random(1), 20, 30)).save(work / "d" / "a.png")
    (work / "d" / ESCAPES).write_bytes(b"x")
    world.model.save_vocabulary(work / "pack.safetensors", ["dog", "zebra"])


def _arguments(name: str, rng: Random) -> list[str]:
    odd = TEXTS if rng.random() < 0.3 else ()
    texts = [rng.choice((*WORDS, *odd)) for _ in range(rng.randrange(1, 4))]
    image = rng.choice(IMAGES)
    match name:
        case "classify" | "text":
            return [image, *texts]
        case "annotate" | "video":
            return [rng.choice(("d", "d", "d", image, ".", "none", f"{ESCAPES}*")), *texts]
        case "segment" | "everything":
            return [image]
        case "embed":
            return [image] if rng.random() < 0.6 else []
        case "learn":
            return texts[:1]
        case _:
            return []


def _options(command: TyperCommand, models: tuple[str, ...], rng: Random) -> list[str]:
    """Some of a command's options, with values that they may have and others."""
    found: list[str] = []
    options = [each for each in command.params if isinstance(each, TyperOption)]
    for option in rng.sample(options, min(len(options), rng.choice((0, 1, 1, 2, 4)))):
        name = rng.choice((*option.opts, *option.secondary_opts))
        if name == "--help":
            continue
        found.append(name)
        if not option.is_flag:
            pool = models if name == "--model" else CHOICES.get(option.opts[0], NUMBERS)
            found.append(rng.choice(pool))
    if "--points-per-side" in {name for each in options for name in each.opts}:
        found += ["--points-per-side", rng.choice(("2", "0", "x"))]
    return found


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
            json.loads(each, parse_constant=_refuse_constant)


def _refuse_constant(name: str) -> None:
    raise AssertionError(f"{name} in the JSON")
