"""Runs the C example on a bundle's golden image, and holds its masks to the golden ones."""

from __future__ import annotations

import json
import re
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
LINE = re.compile(
    r"(?P<file>.*?): (?P<label>.*): presence (?P<presence>[0-9.]+)(?P<absent>, absent)?"
    r"(?P<told>, .*)?"
)
"""What the program says of a label."""

Run = Callable[..., "subprocess.CompletedProcess[str]"]
"""Runs the program with arguments."""


def main(program: str, bundle: Path, folder: Path) -> None:
    """Checks what `program` draws, and what it refuses, with `folder` for its files."""
    content = (bundle / "golden/tensors.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])

    def tensor(key: str) -> tuple[list[int], bytes]:
        start, end = header[key]["data_offsets"]
        return header[key]["shape"], content[8 + length + start : 8 + length + end]

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [program, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    index = json.loads((bundle / "golden/index.json").read_text(encoding="utf-8"))
    goldens = index["text_to_mask"]
    assert goldens, "the bundle has no golden of text_to_mask"
    image, output = folder / "image.ppm", folder / "mask"
    for golden in goldens:
        (height, width, _), pixels = tensor(golden["image"])
        image.write_bytes(b"P6 %d %d 255\n" % (width, height) + pixels)
        answer = run(bundle, image, bundle / golden["pack"], output)
        assert answer.returncode == 0, answer.stderr
        print(answer.stdout, end="")
        found = b""
        for line, expected in zip(answer.stdout.splitlines(), golden["presence"], strict=True):
            said = LINE.fullmatch(line)
            assert said, line
            mask = Path(said["file"]).read_bytes()[-height * width :]
            presence = float(said["presence"])
            assert abs(presence - expected) < 0.001, f"presence {presence}, not {expected}"
            assert bool(said["absent"]) == (255 not in mask), (
                f"only absent labels are empty: {line}"
            )
            found += mask
        pixels = list(zip(found, bits_of(tensor(golden["masks"])[1]), strict=False))
        iou = sum(a == 255 and b for a, b in pixels) / sum(a == 255 or b for a, b in pixels)
        print(f"IoU {iou:.4f}")
        assert iou >= 0.99, "the masks are not the golden ones"

    pack = bundle / goldens[-1]["pack"]
    check_thresholds(run, (bundle, image, pack, output), goldens[-1]["presence"])
    check_read_as(run, (bundle, image, pack, output), goldens[-1]["presence"])
    check_refusals(run, bundle, image, pack)
    check_padding(run, bundle, pack, output)


def check_padding(run: Run, bundle: Path, pack: Path, output: Path) -> None:
    """Sees that the padding is left out where there is any, unless the model needs it."""
    manifest = (bundle / "manifest.json").read_text(encoding="utf-8")
    padded, image = output.with_name("padded"), output.with_name("padded.ppm")
    padded.mkdir()
    (padded / "onnx").symlink_to(bundle / "onnx")
    (padded / "manifest.json").write_text(manifest.replace('"pyramid"', '"tiny_vit"'))
    for width, height in ((1, 1), (40, 40), (20, 50), (50, 20)):
        levels = bytes(index % 251 for index in range(3 * width * height))
        image.write_bytes(b"P6 %d %d 255\n" % (width, height) + levels)
        found, whole = (run(each, image, pack, output).stdout for each in (bundle, padded))
        assert found, "there is no answer"
        assert (found == whole) == (width == height or '"pyramid"' not in manifest), (width, height)


def check_thresholds(run: Run, asked: tuple[Path, ...], odds: list[float]) -> None:
    """Holds labels to the thresholds of their pack, and refuses packs with other ones."""
    bundle, image, pack, output = asked
    edited = output.with_name("edited.safetensors")
    for step in (-0.01, 0.01):
        thresholds = [min(max(each + step, 0.0), 1.0) for each in odds]
        edited.write_bytes(edited_pack(pack, thresholds=json.dumps(thresholds)))
        answer = run(bundle, image, edited, output)
        present = ["absent" not in line for line in answer.stdout.splitlines()]
        wanted = [minimum < each for minimum, each in zip(thresholds, odds, strict=True)]
        assert present == wanted, (thresholds, answer)
    edited.write_bytes(edited_pack(pack, thresholds=json.dumps([None] * len(odds))))
    assert run(bundle, image, edited, output).stdout == run(bundle, image, pack, output).stdout

    cases = json.loads((HERE.parent / "label_cases.json").read_text(encoding="utf-8"))
    for case in cases["thresholds"]:
        if case["thresholds"] is None:
            edited.write_bytes(edited_pack(pack, thresholds=case["stored"]))
            refused = run(bundle, image, edited, output)
            assert refused.returncode == 1, (case["name"], refused)
            assert "threshold from 0 to 1" in refused.stderr, (case["name"], refused)


def check_read_as(run: Run, asked: tuple[Path, ...], odds: list[float]) -> None:
    """Sees that what a pack tells of its labels is told, and that an unknown one is not drawn."""
    bundle, image, pack, output = asked
    edited = output.with_name("edited.safetensors")
    labels = ["dog", '"thresholds"', "\u00c4rmel \U0001f436"]
    common = {"labels": json.dumps(labels), "thresholds": json.dumps([0] * len(odds))}
    cases = json.loads((HERE.parent / "label_cases.json").read_text(encoding="utf-8"))
    for case in cases["read_as"]:
        stored = {} if case["stored"] is None else {"read_as": case["stored"]}
        edited.write_bytes(edited_pack(pack, **common, **stored))
        answer = run(bundle, image, edited, output)
        if case["read_as"] is None:
            assert answer.returncode == 1, (case["name"], answer)
            assert "what it is read as" in answer.stderr, (case["name"], answer)
            continue
        assert answer.returncode == 0, (case["name"], answer)
        said = lines_of(answer)
        assert [each["label"] for each in said] == labels, (case["name"], answer)
        for each, reading, presence in zip(said, case["read_as"], odds, strict=True):
            unknown = reading is not None and reading["kind"] == "unknown"
            assert (each["told"] or "") == told(reading), (case["name"], answer)
            assert bool(each["absent"]) == unknown, (case["name"], answer)
            assert abs(float(each["presence"]) - presence) < 0.001, (case["name"], answer)
        for allowed in ("--allow-unknown", "0"):
            found = lines_of(run(bundle, image, edited, output, allowed))
            assert not any(each["absent"] for each in found), (case["name"], found)
        if any(line["absent"] for line in said):
            found = lines_of(run(bundle, image, edited, output, "1"))
            assert all(each["absent"] for each in found), (case["name"], found)


def lines_of(answer: subprocess.CompletedProcess[str]) -> list[re.Match[str]]:
    """What the program says of each label."""
    found = list(map(LINE.fullmatch, answer.stdout.splitlines()))
    assert found, answer
    return [each for each in found if each is not None]


def told(reading: dict[str, Any] | None) -> str:
    """How the program says a reading, beside the label's presence."""
    if reading is None:
        return ""
    words = ", ".join(reading["words"])
    if reading["kind"] == "read_as":
        return f", read as {words}"
    return f", not known, nearest {words} {reading['cosine']:.2f}"


def check_refusals(run: Run, bundle: Path, image: Path, pack: Path) -> None:
    """Sees that what is no bundle, image or pack, or cannot be written, is told in one line."""
    folder, output = image.parent, image.with_name("mask")
    wrong = folder / "wrong"
    wrong.write_bytes(b"GIF89a, no image and no pack")
    old = folder / "old.safetensors"
    old.write_bytes(edited_pack(pack, schema_version="1"))
    for arguments, word in (
        ((bundle, image), "usage"),
        ((folder, image, pack, output), "manifest.json"),
        ((bundle, wrong, pack, output), "PPM"),
        ((bundle, image, wrong, output), "safetensors"),
        ((bundle, image, old, output), "save it again"),
        ((bundle, image, pack, output, "1.5"), "usage"),
        ((bundle, image, pack, output, "--allow"), "usage"),
        ((bundle, image, pack, folder / "nowhere" / "mask"), "cannot write"),
    ):
        refused = run(*arguments)
        assert refused.returncode == 1, (arguments, refused)
        assert word in refused.stderr, (arguments, refused)
        print("refused:", refused.stderr.strip().splitlines()[-1])


def edited_pack(pack: Path, **changed: str) -> bytes:
    """A pack of three labels with other metadata."""
    content = pack.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"].update(changed)
    edited = json.dumps(header).encode()
    return struct.pack("<Q", len(edited)) + edited + content[8 + length :]


def bits_of(packed: bytes) -> list[int]:
    """The bits of bytes, the most significant of each first."""
    return [byte >> (7 - index) & 1 for byte in packed for index in range(8)]


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
