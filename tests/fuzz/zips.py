"""Zipped bundles: members that lead out, links, two of one name, bombs, lies, bytes damaged."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from collections.abc import Callable
from functools import partial
from random import Random

from samclip_sdk.bundle.open import open_bundle
from tests import example_bundle
from tests.fuzz.damage import damaged
from tests.fuzz.oracle import Case
from tests.fuzz.world import World

NAMES = (
    *(
        "/abs",
        "../up",
        "a/../../up",
        "..\\up",
        "C:/x",
        "a//b",
        "./a",
        "a/./b",
        "~/x",
        "con",
        "x" * 300,
    ),
    *(
        "é",
        "\u202e",
        "manifest.json",
        "MANIFEST.JSON",
        "f/manifest.json",
        "manifest.json/x",
        ".",
        "/",
    ),
    *("onnx", "onnx/", "tokenizer.json", "\ud800"),
)
WAYS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2)
RAW = (b"", b"PK", b"PK\5\6" + bytes(18), b"x" * 1000, b"PK\3\4" + bytes(200))
LINK, PIPE = 0o120777 << 16, 0o010644 << 16


def subject(world: World) -> Callable[[Random], Case]:
    files = {"manifest.json": json.dumps(example_bundle.manifest()).encode()}
    files |= example_bundle.contents()

    def draw(rng: Random) -> Case:
        said, content = rng.choice((_members, _lying, _damaged, _damaged))(files, rng)
        path = world.work / "case.zip"
        path.write_bytes(content)
        # What is unpacked into the cache stays there, and is whole.
        return Case(
            f"a .zip: {said}", partial(_open_twice, path), writes=("xdg_cache_home/*/bundles/*",)
        )

    return draw


def _open_twice(path: object) -> None:
    """The second time from the cache."""
    opened = open_bundle(str(path))
    opened.verify()
    again = open_bundle(str(path))
    assert (again.id, again.root) == (opened.id, opened.root)


def _members(files: dict[str, bytes], rng: Random) -> tuple[str, bytes]:
    """A .zip with one odd thing in it."""
    members: list[tuple[str, bytes, int]] = [(name, data, 0) for name, data in files.items()]
    place = rng.randrange(len(members))
    name, data, _ = members[place]
    kind = rng.choice(
        ("more", "link", "pipe", "gone", "twice", "in a folder", "other", "bomb", "as is")
    )
    if kind == "more":
        odd = rng.choice(NAMES)
        members.append((odd, b"x", rng.choice((0, LINK))))
        kind = f"one more, {odd[:30]!a}"
    elif kind in ("link", "pipe"):
        members[place] = (name, b"/etc/passwd", LINK if kind == "link" else PIPE)
    elif kind == "gone":
        del members[place]
    elif kind == "twice":
        members.append(members[place])
    elif kind == "in a folder":
        depth = rng.choice(("f/", "f/g/", "/", "../", "f//"))
        members = [(depth + name, data, mode) for name, data, mode in members]
    elif kind == "other":
        members[place] = (name, damaged(data, rng)[1], 0)
    elif kind == "bomb":
        members[place] = (name, bytes(20_000_000), 0)
    return f"{kind}, {name}", _zipped(members, compression=rng.choice(WAYS))


def _lying(files: dict[str, bytes], rng: Random) -> tuple[str, bytes]:
    """A .zip whose headers say another size of a member, which may be one that expands."""
    name = rng.choice(("manifest.json", *files))
    size = rng.choice((0, 1, 100, len(files[name]), 2**24, 2**31, 2**32 - 1))
    expands = rng.random() < 0.5
    members = [
        (each, bytes(2_000_000) if expands and each == name else data, 0)
        for each, data in files.items()
    ]
    content = bytearray(_zipped(members, compression=rng.choice(WAYS)))
    central = content.rindex(name.encode()) - 46
    local = int.from_bytes(content[central + 42 : central + 46], "little")
    for place in (local + 22, central + 24):
        content[place : place + 4] = size.to_bytes(4, "little")
    return f"{name}, which {'expands' if expands else 'is'}, has {size} bytes, it says", bytes(
        content
    )


def _damaged(files: dict[str, bytes], rng: Random) -> tuple[str, bytes]:
    if rng.random() < 0.05:
        raw = rng.choice(RAW)
        return repr(raw[:10]), raw
    compression = rng.choice(WAYS)
    content = _zipped([(name, data, 0) for name, data in files.items()], compression=compression)
    way, content = damaged(content, rng)
    return f"{way}, compression {compression}", content


def _zipped(members: list[tuple[str, bytes, int]], *, compression: int) -> bytes:
    content = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(content, "w", compression) as archive:
        warnings.simplefilter("ignore")  # Python warns of two members of one name
        for name, data, mode in members:
            info = zipfile.ZipInfo(name.encode("utf-8", "replace").decode())
            info.external_attr, info.compress_type = mode, compression
            info.create_system = 3
            archive.writestr(info, data)
    return content.getvalue()
