"""Bundles: files damaged, swapped, gone; manifests edited; consistent attackers.

An attacker who also writes the manifest's sha256 anew is consistent: then nothing but the content
of the file itself can be refused.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

from samclip_sdk.bundle.manifest import MANIFEST_NAME
from samclip_sdk.bundle.open import open_bundle
from tests.fuzz.damage import damaged
from tests.fuzz.oracle import Case, holds
from tests.fuzz.values import shown
from tests.fuzz.world import World, open_tiny

LEAVES: tuple[object, ...] = (
    *(
        None,
        True,
        "",
        "x",
        "../../etc/passwd",
        "/etc/passwd",
        "a\\b",
        "C:/x",
        "a\0b",
        "manifest.json",
    ),
    *(-1, 0, 1, 2**31, 2**63, 10**30, 1e308, -1e308, 1.5, [], {}, [None], "1", 999, ["{}"] * 100),
)
RAW = (
    *(b"", b"{}", b"[]", b"null", b"1", b"{" * 100_000, b"[" * 100_000, b'{"a":' * 50_000),
    *(b'{"schema_version": 1, "%s": [%s0]}' % (key, b"0," * 10**6) for key in (b"files", b"x")),
    b'{"schema_version": 1, "graphs": {%s}}' % b",".join(b'"%d":{}' % i for i in range(10**5)),
    *(b'{"schema_version": NaN}', b'{"schema_version": 1e999}', b'{"schema_version": true}'),
    *(b"\xff\xfe{}", b"\xef\xbb\xbf{}", b'{"schema_version": 1, "schema_version": 2}'),
)
HOSTILE_PARTS: tuple[dict[str, object], ...] = (
    {"type": "Replace", "pattern": {"String": "d"}, "content": "d" * 10**6},
    {"type": "Replace", "pattern": {"Regex": "(.*)*x"}, "content": ""},
    {"type": "Prepend", "prepend": "d" * 10**6},
    {
        "type": "Split",
        "pattern": {"Regex": "(.+)+$x"},
        "behavior": "Isolated",
        "invert": False,
    },
)
Files = dict[str, bytes | str | None]
"""Path -> bytes; a link's target, or "" for a folder; None for a file that is gone."""


def subject(world: World) -> Callable[[Random], Case]:
    whole = (world.bundle / MANIFEST_NAME).read_bytes()
    manifest = json.loads(whole)
    files = _used_files(manifest)

    def draw(rng: Random) -> Case:
        kind = rng.choice((_damaged_file, _odd_file, _edited, _edited, _raw, _consistent))
        said, changes = kind(rng, world.bundle, manifest, files)
        verb = rng.choice((_use, open_tiny, _verify))

        def run() -> object:
            with _changed(world.bundle, changes):
                return verb(world, world.bundle) if verb is _use else verb(world.bundle)

        check = holds if verb is _use else lambda answer: None
        return Case(f"{said}, {verb.__name__}", run, check=check)

    return draw


def _use(world: World, bundle: Path) -> object:
    with open_tiny(bundle) as model:
        return model.segment_text(world.picture, ["dog"], threshold=0.0)


def _verify(bundle: Path) -> None:
    open_bundle(bundle).verify()


def _used_files(manifest: dict[str, Any]) -> list[str]:
    """The files that opening a bundle in fp32 reads, the tokenizer first."""
    artifacts = [
        each
        for name, graph in manifest["graphs"].items()
        if name.partition("@")[0] not in ("letterbox", "text_to_mask")
        for each in graph["artifacts"]
        if (each["runtime"], each["precision"]) == ("onnx", "fp32")
    ]
    weights = [file["path"] for each in artifacts for file in each["weights"]]
    return ["tokenizer.json", *(each["path"] for each in artifacts), *dict.fromkeys(weights)]


@contextmanager
def _changed(bundle: Path, changes: Files) -> Iterator[None]:
    """A bundle some of whose files are others."""
    kept = bundle.with_name("kept")
    kept.mkdir(exist_ok=True)
    try:
        for path, new in changes.items():
            (kept / path).parent.mkdir(parents=True, exist_ok=True)
            os.replace(bundle / path, kept / path)
            if isinstance(new, bytes):
                (bundle / path).write_bytes(new)
            elif new == "":
                (bundle / path).mkdir()
            elif new is not None:
                os.symlink(new, bundle / path)
        yield
    finally:
        for path in changes:
            place = bundle / path
            if place.is_dir() and not place.is_symlink():
                place.rmdir()
            os.replace(kept / path, place)
        shutil.rmtree(kept)


def _damaged_file(
    rng: Random, bundle: Path, manifest: dict[str, Any], files: list[str]
) -> tuple[str, Files]:
    path = rng.choice(files)
    way, content = damaged((bundle / path).read_bytes(), rng)
    return f"{path}: {way}", {path: content}


def _odd_file(
    rng: Random, bundle: Path, manifest: dict[str, Any], files: list[str]
) -> tuple[str, Files]:
    path, other = rng.choice([*files, MANIFEST_NAME]), rng.choice(files)
    odd: tuple[bytes | str | None, ...] = (
        *(None, "", b"", path, Path(path).name, "/etc/passwd", "../../bundle/NOTICE", "/dev/zero"),
        (bundle / other).read_bytes(),
    )
    new = rng.choice(odd)
    return f"{path} is {shown(new)[:40]}", {path: new}


def _edited(
    rng: Random, bundle: Path, manifest: dict[str, Any], files: list[str]
) -> tuple[str, Files]:
    """A manifest with another value somewhere, or without it."""
    edited = copy.deepcopy(manifest)
    node, way = edited, []
    while isinstance(node, (dict, list)) and node and (not way or rng.random() < 0.9):
        parent = node
        way.append(rng.choice(list(node)) if isinstance(node, dict) else rng.randrange(len(node)))
        node = node[way[-1]]
    if rng.random() < 0.2:
        del parent[way[-1]]
        said = "left out"
    else:
        parent[way[-1]] = value = rng.choice(LEAVES)
        said = shown(value)
    return f"{'.'.join(map(str, way))}: {said[:60]}", {MANIFEST_NAME: json.dumps(edited).encode()}


def _raw(
    rng: Random, bundle: Path, manifest: dict[str, Any], files: list[str]
) -> tuple[str, Files]:
    whole = (bundle / MANIFEST_NAME).read_bytes()
    if rng.random() < 0.5:
        raw = rng.choice(
            (*RAW, b" " * (17 << 20) + whole, whole + b"x", whole.decode().encode("utf-16"))
        )
        return f"a manifest that begins with {raw[:20]!r}", {MANIFEST_NAME: raw}
    way, content = damaged(whole, rng)
    return f"a manifest: {way}", {MANIFEST_NAME: content}


def _consistent(
    rng: Random, bundle: Path, manifest: dict[str, Any], files: list[str]
) -> tuple[str, Files]:
    """A file that is damaged, and a manifest that says so."""
    path = rng.choice([*files[:8], *["tokenizer.json"] * 3])
    way, content = damaged((bundle / path).read_bytes(), rng)
    if path == "tokenizer.json" and rng.random() < 0.7:
        way, content = _edited_tokenizer((bundle / path).read_bytes(), rng)
    edited = copy.deepcopy(manifest)
    for record in _records(edited):
        if record["path"] == path:
            record.update(sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))
    return f"{path}, with its sha256: {way}", {
        path: content,
        MANIFEST_NAME: json.dumps(edited).encode(),
    }


def _records(node: Any) -> Iterator[dict[str, Any]]:
    """Every file's record in a manifest."""
    if isinstance(node, dict):
        if "sha256" in node:
            yield node
        node = list(node.values())
    if isinstance(node, list):
        for each in node:
            yield from _records(each)


def _edited_tokenizer(content: bytes, rng: Random) -> tuple[str, bytes]:
    tokenizer = json.loads(content)
    if rng.random() < 0.2:
        part = rng.choice(HOSTILE_PARTS)
        place = "pre_tokenizer" if part["type"] == "Split" else "normalizer"
        parts, key = [part] * rng.randrange(1, 4), f"{place}s".replace("_", "")
        tokenizer[place] = {"type": "Sequence", key: parts}
        return f"{len(parts)} times {part['type']}", json.dumps(tokenizer).encode()
    if rng.random() < 0.2:
        length = rng.choice((0, 1, 2, 76, 78, 2**31, 2**40, 2**60, 2**62))
        tokenizer["truncation"]["max_length"] = length
        tokenizer["padding"]["strategy"] = {"Fixed": length}
        return f"a context of {length}", json.dumps(tokenizer).encode()
    name = rng.choice(list(tokenizer))
    node = tokenizer[name]
    if isinstance(node, dict) and node and rng.random() < 0.7:
        key = rng.choice(list(node))
        node[key] = rng.choice(({}, [], 5, "x", None, -1, 2**32 - 1, 2**40, 2**60))
        return f"{name}.{key} is {shown(node[key])}", json.dumps(tokenizer).encode()
    tokenizer[name] = rng.choice((None, {}, [], 5, "x", {"type": "x"}))
    return f"{name} is {shown(tokenizer[name])}", json.dumps(tokenizer).encode()
