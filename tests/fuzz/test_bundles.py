"""Bundles: files damaged, swapped, gone; manifests edited; consistent attackers; zipped ones.

An attacker who also writes the manifest's sha256 anew is consistent: then nothing but the content
of the file itself can be refused.
"""

from __future__ import annotations

import copy
import io
import json
import os
import shutil
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from samclip_sdk.bundle.files import GraphFile
from samclip_sdk.bundle.manifest import MANIFEST_NAME
from samclip_sdk.bundle.open import open_bundle
from samclip_sdk.runtimes.opening import open_session
from samclip_sdk.runtimes.session import run_graph
from tests import example_bundle
from tests.arithmetic_graph import SPEC, feed
from tests.drawings import TINY_BUNDLE
from tests.executorch_files import STORED, needs_executorch
from tests.fuzz.cases import Damage, Edit, damage, damaged, edited, edits, fuzz
from tests.fuzz.promises import World, holds, open_tiny
from tests.litert_files import write_arithmetic

WHOLE = (TINY_BUNDLE / MANIFEST_NAME).read_bytes()
MANIFEST: dict[str, Any] = json.loads(WHOLE)
TOKENIZER: dict[str, Any] = json.loads((TINY_BUNDLE / "tokenizer.json").read_bytes())
VERSION = b'{"schema_version": 1, '
RAW = (
    *(b"", b"{}", b"[]", b"null", b"1", b"{" * 100_000, b"[" * 100_000, b'{"a":' * 50_000),
    *(VERSION + b'"%b": [%b0]}' % (key, b"0," * 10**6) for key in (b"files", b"x")),
    VERSION + b'"graphs": {%b}}' % b",".join(b'"%d":{}' % i for i in range(10**5)),
    *(b'{"schema_version": NaN}', b'{"schema_version": 1e999}', b'{"schema_version": true}'),
    *(b"\xff\xfe{}", b"\xef\xbb\xbf{}", VERSION + b'"schema_version": 2}', WHOLE + b"x"),
    *(b" " * (17 << 20) + WHOLE, WHOLE.decode().encode("utf-16")),
)


def _used_files() -> list[str]:
    """The files that opening the bundle in fp32 reads, the tokenizer first."""
    artifacts = [
        each
        for name, graph in MANIFEST["graphs"].items()
        if name.partition("@")[0] not in ("letterbox", "text_to_mask")
        for each in graph["artifacts"]
        if (each["runtime"], each["precision"]) == ("onnx", "fp32")
    ]
    weights = [file["path"] for each in artifacts for file in each["weights"]]
    return ["tokenizer.json", *(each["path"] for each in artifacts), *dict.fromkeys(weights)]


FILES = _used_files()
Files = dict[str, bytes | str | None]
"""Path -> bytes; a link's target, or "" for a folder; None for a file that is gone."""

verbs = st.sampled_from(("use", "open", "verify"))


@contextmanager
def _changed(bundle: Path, changes: Files) -> Iterator[None]:
    """A bundle some of whose files are others."""
    kept = bundle.with_name("kept")
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
            target = bundle / path
            if target.is_dir() and not target.is_symlink():
                target.rmdir()
            os.replace(kept / path, target)
        shutil.rmtree(kept)


def ask(world: World, verb: str, changes: Files) -> None:
    def run() -> object:
        with _changed(world.bundle, changes):
            if verb == "verify":
                open_bundle(world.bundle).verify()
                return []
            with open_tiny(world.bundle) as model:
                used = verb == "use"
                return model.segment_text(world.image, ["dog"], threshold=0.0) if used else []

    world.judge(run, check=holds)


@fuzz(
    1,
    path=st.sampled_from([*FILES, MANIFEST_NAME]),
    new=st.sampled_from(
        (None, "", b"", "itself", "/etc/passwd", "../../bundle/NOTICE", "/dev/zero", *FILES[:4])
    ),
    verb=verbs,
)
def test_swapped_files(world: World, path: str, new: bytes | str | None, verb: str) -> None:
    if new in FILES:
        new = (world.bundle / str(new)).read_bytes()
    ask(world, verb, {path: Path(path).name if new == "itself" else new})


manifests = st.one_of(
    *(st.builds(lambda edit: json.dumps(edited(MANIFEST, edit)).encode(), edits()),) * 3,
    st.builds(lambda ways: damaged(WHOLE, ways), damage),
    st.sampled_from(RAW),
)


@fuzz(4, content=manifests, verb=verbs)
def test_manifests(world: World, content: bytes, verb: str) -> None:
    ask(world, verb, {MANIFEST_NAME: content})


def consistent(path: str, content: bytes) -> Files:
    """A file that is another, and a manifest that says so."""
    manifest = copy.deepcopy(MANIFEST)
    example_bundle.account_for(manifest, {path: content})
    return {path: content, MANIFEST_NAME: json.dumps(manifest).encode()}


@fuzz(2, path=st.sampled_from(FILES), ways=damage, lies=st.booleans(), verb=verbs)
def test_damaged_files(world: World, path: str, ways: Damage, lies: bool, verb: str) -> None:
    """At times with the sha256 of what they have become."""
    content = damaged((world.bundle / path).read_bytes(), ways)
    ask(world, verb, consistent(path, content) if lies else {path: content})


@fuzz(1, edit=edits(depth=2) | edits(depth=4), verb=verbs)
def test_edited_tokenizers_with_their_sha256(world: World, edit: Edit, verb: str) -> None:
    tokenizer = json.dumps(edited(TOKENIZER, edit)).encode()
    ask(world, verb, consistent("tokenizer.json", tokenizer))


MEMBERS = {MANIFEST_NAME: json.dumps(example_bundle.manifest()).encode()}
MEMBERS |= example_bundle.contents()
NAMES = (
    *("/abs", "../up", "a/../../up", "..\\up", "C:/x", "a//b", "./a", "a/./b", "~/x", "x" * 300),
    *("é", "\u202e", "manifest.json", "MANIFEST.JSON", "f/manifest.json", "manifest.json/x", "."),
    *("/", "onnx", "onnx/", "tokenizer.json", "con"),
)
COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2)
LINK, PIPE = 0o120777 << 16, 0o010644 << 16
SIZES = (0, 1, 100, 2**24, 2**31, 2**32 - 1)
Member = tuple[str, bytes, int]
compressions = st.sampled_from(COMPRESSIONS)
members = st.sampled_from(sorted(MEMBERS))
odd_members = st.tuples(
    members | st.sampled_from(NAMES) | st.text(min_size=1, max_size=20),
    st.sampled_from((b"x", b"/etc/passwd", bytes(20_000_000))),
    st.sampled_from((0, LINK, PIPE)),
)


def zipped(found: Sequence[Member], compression: int) -> bytes:
    content = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(content, "w", compression) as archive:
        warnings.simplefilter("ignore")  # Python warns of two members of one name
        for name, data, mode in found:
            info = zipfile.ZipInfo(name)
            info.external_attr, info.compress_type, info.create_system = mode, compression, 3
            archive.writestr(info, data)
    return content.getvalue()


def unpack(world: World, content: bytes) -> None:
    """Opens it twice, the second time from the cache, where it is whole."""
    path = world.work / "case.zip"
    path.write_bytes(content)

    def run() -> None:
        opened = open_bundle(str(path))
        opened.verify()
        again = open_bundle(str(path))
        assert (again.id, again.root) == (opened.id, opened.root)

    world.judge(run, writes=("xdg_cache_home/*/bundles/*",))
    path.unlink()


@fuzz(
    5,
    gone=st.sets(members, max_size=1),
    more=st.lists(odd_members, max_size=1),
    folder=st.sampled_from(("", "", "", "f/", "f/g/", "/", "../", "f//")),
    compression=compressions,
)
def test_odd_members(
    world: World, gone: set[str], more: list[Member], folder: str, compression: int
) -> None:
    """A member less, or one more: a link, a bomb, a name that is there, or that leads out."""
    found = [(folder + each, data, 0) for each, data in MEMBERS.items() if each not in gone]
    unpack(world, zipped([*found, *more], compression))


@fuzz(
    2,
    examples=[
        {"name": MANIFEST_NAME, "size": size, "compression": zipfile.ZIP_DEFLATED} for size in SIZES
    ],
    name=members,
    size=st.sampled_from(SIZES),
    compression=compressions,
)
def test_sizes_of_members_that_are_lies(
    world: World, name: str, size: int, compression: int
) -> None:
    content = bytearray(zipped([(each, data, 0) for each, data in MEMBERS.items()], compression))
    central = content.rindex(name.encode()) - 46
    local = int.from_bytes(content[central + 42 : central + 46], "little")
    for target in (local + 22, central + 24):
        content[target : target + 4] = size.to_bytes(4, "little")
    unpack(world, bytes(content))


@fuzz(3, ways=damage, compression=compressions)
def test_damaged_zips(world: World, ways: Damage, compression: int) -> None:
    whole = zipped([(name, data, 0) for name, data in MEMBERS.items()], compression)
    unpack(world, damaged(whole, ways))


def open_damaged(world: World, content: bytes, ways: Damage, *, runtime: str) -> None:
    """A file that is cut, or has other bytes, where the manifest's sha256 is of these."""
    path = world.bundle.with_name("graph")
    path.write_bytes(damaged(content, ways))

    def run() -> object:
        session = open_session(runtime, files=[GraphFile(path)], spec=SPEC)
        return run_graph(session, feed(3), graph="arithmetic")

    world.judge(run)


@fuzz(2, ways=damage)
def test_litert_files(world: World, ways: Damage) -> None:
    content = write_arithmetic(world.bundle.with_name("whole.tflite")).read_bytes()
    open_damaged(world, content, ways, runtime="litert")


@needs_executorch
@fuzz(2, ways=damage)
def test_executorch_files(world: World, ways: Damage) -> None:
    """ExecuTorch itself would end the process at some of them."""
    open_damaged(world, STORED.read_bytes(), ways, runtime="executorch")
