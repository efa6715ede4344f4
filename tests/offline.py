"""Every verb and command, with sockets that raise: `python -m tests.offline WHAT FOLDER`.

WHAT is a runtime, whose verbs are called, or "commands". Prints what asked for a socket, a sender
of telemetry that was imported, and "done". The folder takes the place of the user's home.
"""

from __future__ import annotations

import inspect
import os
import socket
import sys
from contextlib import suppress
from pathlib import Path

EVENTS = ("socket.", "http.", "urllib.", "ftplib.", "smtplib.")
WITH_NETWORK = {"push", "serve"}
"""Commands that are asked for it."""


def forbid_network(folder: Path) -> None:
    """Makes each use of Python's sockets an error, and tells of it."""
    names = ("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME")
    os.environ.update({name: str(folder / name) for name in names})

    def refuse(event: str, arguments: tuple[object, ...]) -> None:
        if event.startswith(EVENTS):
            print(event, str(arguments)[:100])
            raise OSError(f"the test forbids {event}")

    sys.addaudithook(refuse)


def run_verbs(runtime: str, folder: Path) -> None:
    """Calls every public method of SamClip."""
    import numpy as np

    from samclip_sdk import SamClip
    from tests.drawings import TINY_BUNDLE
    from tests.own_things import write_things

    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    pack, own = folder / "pack.safetensors", write_things(folder, images=4)
    called = {"load", "close"}
    with SamClip.load(runtime, model=TINY_BUNDLE, threads=1) as model:
        region = model.embed_region(image, box=[5, 5, 40, 40])
        calls = {
            "prepare_image": lambda: model.prepare_image(image),
            "encode_image": lambda: model.encode_image(image),
            "embed_image": lambda: model.embed_image(image),
            "embed_region": lambda: model.embed_region(image, point=[5, 5]),
            "embed_text": lambda: model.embed_text("a dog"),
            "classify": lambda: model.classify(image, ["dog", "cat"]),
            "segment": lambda: model.segment(image, points=[[5, 5]]),
            "segment_text": lambda: model.segment_text(image, ["dog"], threshold=0.0),
            "segment_instances": lambda: model.segment_instances(image, ["dog"], threshold=0.0),
            "segment_everything": lambda: model.segment_everything(image, points_per_side=2),
            "stream": lambda: list(model.stream([image, image], ["dog"])),
            "learn_label": lambda: model.learn_label("my mug", region),
            "learn_coco": lambda: model.learn_coco(own, images=folder),
            "label_digests": lambda: model.label_digests(["my mug"]),
            "label_thresholds": lambda: model.label_thresholds(["my mug"]),
            "save_vocabulary": lambda: model.save_vocabulary(pack, ["my mug", "dog"]),
            "load_vocabulary": lambda: model.load_vocabulary(pack),
            "nearest_words": lambda: model.nearest_words("dogs"),
            "read_labels": lambda: model.read_labels(["dogs", "qwxz"]),
            "embed_labels": lambda: model.embed_labels(["dog"]),
        }
        for call in calls.values():
            call()
    public = {name for name, _ in inspect.getmembers(SamClip, callable) if name[0] != "_"}
    assert public == called | set(calls), public ^ (called | set(calls))


def run_commands(folder: Path) -> None:
    """Runs every command of the command line."""
    from typer.main import get_command
    from typer.testing import CliRunner

    from samclip_sdk.cli.app import app
    from tests.drawings import TINY_BUNDLE
    from tests.source_tree import ROOT

    os.chdir(folder)
    dog = str(ROOT / "examples" / "images" / "dog.jpg")
    model = ("--model", str(TINY_BUNDLE))
    onnx = (*model, "--runtime", "onnx")
    images = folder / "images"
    images.mkdir()
    (images / "dog.jpg").write_bytes(Path(dog).read_bytes())
    lines = {
        "classify": (dog, "dog", "cat", *onnx),
        "segment": (dog, "--point", "10,10", *onnx),
        "text": (dog, "dog", "-o", "dog.png", *onnx),
        "instances": (dog, "dog", "-o", "dog.png", *onnx),
        "everything": (dog, "--points-per-side", "2", *onnx),
        "embed": (dog, *onnx),
        "learn": ("my dog", "--positive", f"{dog}:10,10,90,90", *onnx),
        "annotate": (str(images), "dog", *onnx),
        "video": (str(images), "dog", "-o", "film.mp4", *onnx),
        "info": model,
        "words": ("dogs", *onnx),
        "verify": (*onnx, "--precision", "fp32"),
        "sign": (str(TINY_BUNDLE), "--key", "none.pem"),
        "bench": (*onnx, "--seconds", "0.01", "--unverified"),
        "tune": (*onnx, "--precision", "auto"),
        "compile": model,
    }
    commands = set(get_command(app).commands) - WITH_NETWORK
    assert commands == set(lines), commands ^ set(lines)
    for name, line in lines.items():
        result = CliRunner().invoke(app, [name, *line])
        refused = {"sign", "compile"}  # there is neither a key nor a GPU
        assert (result.exit_code == 0) != (name in refused), f"{name}: {result.output}"


def print_sockets() -> None:
    """Those that native code has opened, where the system tells."""
    descriptors = "/proc/self/fd"
    for each in os.listdir(descriptors) if os.path.isdir(descriptors) else ():
        with suppress(OSError):
            target = os.readlink(os.path.join(descriptors, each))
            if target.startswith("socket:"):
                print(target)


def main() -> None:
    what, folder = sys.argv[1], Path(sys.argv[2])
    forbid_network(folder)
    if what == "commands":
        run_commands(folder)
    elif what == "lookup":
        with suppress(OSError):
            socket.getaddrinfo("localhost", 80)
    else:
        run_verbs(what, folder)
    print_sockets()
    for name in {"openvino_telemetry"} & set(sys.modules):
        print(name)
    print("done")


if __name__ == "__main__":
    main()
