from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from samclip_sdk.bundle import open as bundle_module
from samclip_sdk.bundle.manifest import MAX_MANIFEST_BYTES
from samclip_sdk.bundle.open import Bundle, cache_folder, embedded_bundles, open_bundle
from samclip_sdk.errors import BundleError, BundleSchemaError, BundleTamperedError
from samclip_sdk.system.records import MAX_VALUES
from tests.example_bundle import contents, manifest, onnx_file, put, write_bundle, write_files
from tests.refusals import refused
from tests.source_tree import ROOT


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache, in a place of the test's own."""
    folder = tmp_path / "cache"
    monkeypatch.setattr("platformdirs.user_cache_path", lambda *_: folder)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "example")


def pack(folder: Path, *, prefix: str = "", compression: int = zipfile.ZIP_DEFLATED) -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", compression) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, prefix + file.relative_to(folder).as_posix())
    return path


def test_opens_a_folder_or_a_link_to_it(folder: Path, tmp_path: Path) -> None:
    bundle = open_bundle(folder)
    (found,) = bundle.graph_files("image_encoder@64", runtime="onnx")
    assert found.path.read_bytes() == onnx_file("graph image_encoder@64")
    assert found.sha256 == hashlib.sha256(onnx_file("graph image_encoder@64")).hexdigest()
    assert bundle.graph_files("mask_decoder", runtime="onnx", precision="fp32")
    assert bundle.file("tokenizer.json").read_bytes() == b"{}"
    bundle.verify()
    (tmp_path / "current").symlink_to(folder)
    open_bundle(tmp_path / "current").verify()


@pytest.mark.parametrize("prefix", ["", "example/"])
def test_opens_a_zip(folder: Path, cache: Path, prefix: str) -> None:
    bundle = open_bundle(pack(folder, prefix=prefix))
    bundle.verify()
    assert bundle.id == open_bundle(folder).id
    assert bundle.root == (cache / "bundles" / bundle.id).resolve()
    assert [each.name for each in cache_folder().iterdir()] == [bundle.id]


def test_unpacks_a_zip_once_and_again_when_the_cache_is_spoilt(folder: Path) -> None:
    path = pack(folder)
    weights = open_bundle(path).file("onnx/image_encoder.weights")
    before = weights.stat().st_ino
    open_bundle(path)
    assert weights.stat().st_ino == before
    weights.write_bytes(b"spoilt")
    open_bundle(path).verify()


@pytest.mark.parametrize("kind", ["dangling", "circle", "elsewhere", "file"])
def test_whatever_lies_in_the_cache_at_the_id_of_a_bundle_makes_room(
    folder: Path, tmp_path: Path, kind: str
) -> None:
    path = cache_folder() / open_bundle(folder).id
    path.parent.mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "precious").touch()
    leads_to = {"dangling": "nowhere", "circle": path, "elsewhere": tmp_path / "elsewhere"}
    if kind == "file":
        path.touch()
    else:
        path.symlink_to(leads_to[kind])
    open_bundle(pack(folder)).verify()
    assert not path.is_symlink()
    assert [each.name for each in cache_folder().iterdir()] == [path.name]
    assert (tmp_path / "elsewhere" / "precious").exists()


def test_a_cached_bundle_may_lie_elsewhere(folder: Path, tmp_path: Path) -> None:
    bundle = open_bundle(pack(folder))
    shutil.move(bundle.root, tmp_path / "elsewhere")
    (cache_folder() / bundle.id).symlink_to(tmp_path / "elsewhere")
    assert open_bundle(pack(folder)).root == (tmp_path / "elsewhere").resolve()
    assert (cache_folder() / bundle.id).is_symlink()


# --- what is refused ---------------------------------------------------------------------------


def open_everything(source: Path) -> None:
    bundle = open_bundle(source)
    for graph in bundle.manifest.graphs:
        bundle.graph_files(graph, runtime="onnx")
    bundle.file("tokenizer.json")


def flip_last_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def lead_out(path: Path) -> None:
    """Puts a file or folder elsewhere, and a link in its place."""
    elsewhere = path.parents[1] / f"elsewhere of {path.name}"
    shutil.move(path, elsewhere)
    path.symlink_to(elsewhere)


def link_to_itself(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    path.symlink_to(path.name)


def make_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def lengthen(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b" ")


def swell(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(MAX_MANIFEST_BYTES + 1)


TAMPERED, BROKEN, SCHEMA = BundleTamperedError, BundleError, BundleSchemaError
DAMAGES: list[tuple[str, Callable[[Path], object], type[Exception], str]] = [
    ("onnx/image_encoder_64.onnx", flip_last_byte, TAMPERED, "image_encoder_64.onnx"),
    ("onnx/image_encoder.weights", flip_last_byte, TAMPERED, "image_encoder.weights"),
    ("tokenizer.json", flip_last_byte, TAMPERED, "tokenizer.json"),
    ("tokenizer.json", lengthen, TAMPERED, "tokenizer.json"),
    # It expands, and is not unpacked.
    ("tokenizer.json", lambda path: path.write_bytes(bytes(50_000_000)), TAMPERED, "tokenizer"),
    ("onnx/mask_decoder.onnx", Path.unlink, BROKEN, "mask_decoder.onnx"),
    ("manifest.json", Path.unlink, BROKEN, "manifest.json"),
    ("manifest.json", swell, BROKEN, "too large"),
    *(
        ("manifest.json", lambda path, data=data: path.write_bytes(data), SCHEMA, "")
        for data in (b"", b"{", b"[]", b"\xff\xfe", b'{"schema_version": 1}')
    ),
]
UNPACKED_DAMAGES: list[tuple[str, Callable[[Path], object], type[Exception], str]] = [
    ("tokenizer.json", lead_out, BROKEN, "tokenizer.json"),
    ("manifest.json", lead_out, BROKEN, "manifest.json"),
    ("onnx", lead_out, BROKEN, "onnx"),
    ("tokenizer.json", link_to_itself, BROKEN, "tokenizer.json"),
    ("manifest.json", link_to_itself, BROKEN, "manifest.json"),
    ("onnx", link_to_itself, BROKEN, "onnx"),
    ("tokenizer.json", make_pipe, BROKEN, "regular file"),
    ("manifest.json", make_pipe, BROKEN, "regular file"),
]


@pytest.mark.parametrize(
    ("as_zip", "name", "damage", "error", "word"),
    [
        *((False, *row) for row in (*DAMAGES, *UNPACKED_DAMAGES)),
        *((True, *row) for row in DAMAGES),
    ],
)
def test_a_damaged_bundle_is_refused_and_leaves_nothing(
    folder: Path,
    as_zip: bool,
    name: str,
    damage: Callable[[Path], object],
    error: type[Exception],
    word: str,
) -> None:
    damage(folder / name)
    source = pack(folder) if as_zip else folder
    refused(lambda: open_everything(source), error, word)
    assert not cache_folder().exists() or not list(cache_folder().iterdir())


def more_files(path: str) -> Callable[[dict[str, Any]], object]:
    return lambda content: content["files"].append(content["files"][0] | {"path": path})


NO_TENSORS: dict[str, Any] = {"inputs": [], "outputs": []}
LONG = "x" * 60_000


def reverse(content: dict[str, Any], *keys: str) -> None:
    for key in keys:
        content = content[key]
    content.reverse()


ENCODER = ("graphs", "text_encoder", "artifacts")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda content: content["graphs"].pop("mask_decoder"), "mask_decoder"),
        # Found before anything else: another version may have other fields.
        (lambda content: content.update(schema_version=0, layers=[]), "version 0"),
        (lambda content: content.update(schema_version=2), "version 2"),
        (lambda content: content.update(schema_version="1"), "version 1"),
        (lambda content: content.update(schema_version=None), "version None"),
        (lambda content: content.update(schema_version=LONG), "xxx"),
        *(
            (more_files(path), "relative path")
            for path in (
                *("../secret", "/etc/passwd", "onnx/../../secret", "c:\\secret", "a\0b", "c:a"),
                *("two\nlines", "mirrored\u202e", f"../{LONG}", "", ".", "a//b", "a/", "./a"),
            )
        ),
        (lambda content: put(content, "\ud800", "files", 0, "path"), ""),  # no text can hold it
        (lambda content: put(content, LONG, "name"), "name"),
        (lambda content: put(content, "red\x1b[31m", "name"), "name"),
        (lambda content: put(content, "MIT\nand more", "licences", 0, "spdx"), "spdx"),
        (lambda content: put(content, 1, LONG), "xxx"),
        (lambda content: put(content, NO_TENSORS, "graphs", LONG), "xxx"),
        (lambda content: put(content, NO_TENSORS, "graphs", f"image_encoder@1{'0' * 4000}"), "000"),
        (lambda content: put(content, NO_TENSORS, "graphs", "image_encoder@32"), "image_encoder"),
        (lambda content: put(content, [999, 0, 0], "image", "pad_colour"), "pad_colour"),
        (lambda content: put(content, [0, -1, 0], "image", "pad_colour"), "pad_colour"),
        (lambda content: put(content, 0.0, "mask_treshold"), "mask_treshold"),
        (lambda content: put(content, {"edition": "one_prompt"}, "text_to_mask"), "text_to_mask"),
        (lambda content: content["graphs"].pop("clip_head@32"), "clip_head@32"),
        (lambda content: put(content, {}, "graphs", "depth_head"), "depth_head"),
        (
            lambda content: put(
                content, content["graphs"]["clip_head@64"], "graphs", "clip_head@50"
            ),
            "50",
        ),
        (lambda content: reverse(content, "graphs", "image_encoder@64", "outputs"), "outputs"),
        (
            lambda content: put(content, 3, "graphs", "mask_decoder", "outputs", 0, "shape", 1),
            "outputs of mask_decoder",
        ),
        (lambda content: put(content, [], *ENCODER), "text_encoder"),
        (lambda content: put(content, [], *ENCODER, 0, "parity", "measurements"), "measurement"),
        (lambda content: put(content, "../text_encoder.onnx", *ENCODER, 0, "path"), "../text"),
        (lambda content: put(content, [], "files"), "tokenizer.json"),
        (
            lambda content: content["files"].append(
                content["files"][0] | {"path": "Tokenizer.json"}
            ),
            "two files of the bundle",
        ),
        (lambda content: put(content, "center_crop", "tasks", "segmentation", "crop"), "letterbox"),
        (lambda content: put(content, 14, "image", "patch_size"), "patch_size"),
        (lambda content: put(content, ["a photo of a dog."], "text", "templates"), "templates"),
        (lambda content: put(content, float("inf"), "calibration", "scale"), "scale"),
        (lambda content: put(content, 1e308, "calibration", "mask_bias"), "mask_bias"),
        (lambda content: put(content, 1.0, "calibration", "presence_threshold"), "presence"),
    ],
)
def test_a_manifest_that_cannot_be_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], word: str
) -> None:
    content = manifest()
    change(content)
    folder = write_bundle(tmp_path / "example", content)
    refused(lambda: open_bundle(folder), BundleSchemaError, word)


@pytest.mark.parametrize(
    ("source", "word"),
    [
        ("nonsense", "nonsense"),
        ("FOLDER", "manifest.json"),
        ("FOLDER/text.zip", "text.zip"),
        ("FOLDER/cut.zip", "cut.zip"),
        ("FOLDER/empty.zip", "manifest.json"),
        ("FOLDER/round", "round"),
        ("a\0b", "no bundle"),
        ("\ud800", "no bundle"),
        (LONG, "no bundle"),
    ],
)
def test_nothing_there(folder: Path, tmp_path: Path, source: str, word: str) -> None:
    (tmp_path / "text.zip").write_text("not a zip")
    (tmp_path / "cut.zip").write_bytes(pack(folder).read_bytes()[:-100])
    zipfile.ZipFile(tmp_path / "empty.zip", "w").close()
    (tmp_path / "round").symlink_to("round")
    path = source.replace("FOLDER", str(tmp_path))
    refused(lambda: open_bundle(path), BundleError, word)


def test_what_a_bundle_does_not_have(folder: Path) -> None:
    """Files that the manifest does not list are not part of it."""
    (folder / "extra.bin").write_bytes(b"?")
    bundle = Bundle(folder, content=(folder / "manifest.json").read_bytes())
    graph_files = bundle.graph_files
    for call, word in (
        (lambda: graph_files("clip_head@128", runtime="onnx"), "clip_head@32"),
        (lambda: graph_files("text_encoder", runtime="coreml"), "coreml"),
        (lambda: graph_files("text_encoder", runtime="onnx", precision="int8"), "int8"),
        (lambda: bundle.file("golden/index.json"), "golden/index.json"),
        (lambda: bundle.file("extra.bin"), "extra.bin"),
    ):
        refused(call, BundleError, word)


@pytest.mark.parametrize("as_zip", [False, True])
@pytest.mark.parametrize("content", [{}, []], ids=["objects", "lists"])
def test_more_values_than_any_manifest_has(
    folder: Path, monkeypatch: pytest.MonkeyPatch, content: object, as_zip: bool
) -> None:
    """Each that is wrong takes a kilobyte or two, so that nobody may begin to validate them."""
    many = {str(number): content for number in range(MAX_VALUES + 1)}
    (folder / "manifest.json").write_text(json.dumps({"schema_version": 1, "graphs": many}))
    monkeypatch.setattr(bundle_module, "TypeAdapter", lambda _: pytest.fail("it is validated"))
    source = pack(folder) if as_zip else folder
    refused(lambda: open_bundle(source), BundleSchemaError, str(MAX_VALUES))


def link_member() -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


@pytest.mark.filterwarnings("ignore:Duplicate name")  # on purpose
@pytest.mark.parametrize(
    ("member", "word"),
    [
        ("../secret", "../secret"),
        ("/tmp/secret", "/tmp/secret"),
        ("a/../../secret", "a/../../secret"),
        ("a\\..\\b", ".."),
        (f"../{LONG}", "../xxx"),
        (link_member(), "link"),
        ("tokenizer.json", "one name"),
    ],
)
def test_a_member_that_cannot_be(
    folder: Path, tmp_path: Path, member: str | zipfile.ZipInfo, word: str
) -> None:
    path = pack(folder)
    with zipfile.ZipFile(path, "a") as archive:
        # As it is: ZipInfo would make slashes of backslashes on Windows only.
        archive.writestr(zipfile.ZipInfo(member) if isinstance(member, str) else member, b"stolen")
    refused(lambda: open_bundle(path), BundleError, word)
    assert not (tmp_path / "secret").exists()


@pytest.mark.parametrize(
    "compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA], ids=["bzip2", "lzma"]
)
def test_a_compression_without_a_limit_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, compression: int
) -> None:
    """Python's bzip2 and lzma give out all that a member expands to, whatever is asked for."""
    path = pack(folder, compression=compression)
    monkeypatch.setattr(zipfile.ZipExtFile, "read", lambda *_: pytest.fail("a member is read"))
    refused(lambda: open_bundle(path), BundleError, "neither stored nor deflated")


def test_memory_that_does_not_suffice_is_an_error_of_the_bundle(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bytes:
        raise MemoryError

    path = pack(folder)
    monkeypatch.setattr(zipfile.ZipExtFile, "read", fail)
    refused(lambda: open_bundle(path), BundleError, "memory")


def test_files_of_fixed_axes_come_together(tmp_path: Path) -> None:
    content = manifest()
    (artifact,) = content["graphs"]["mask_decoder"]["artifacts"]
    packages = []
    for length in (1, 8):
        path = f"coreml/mask_decoder.{length}.mlpackage/Manifest.json"
        stored = content["files"][0] | {"path": path}
        write_files(tmp_path / "example", {path: contents()[content["files"][0]["path"]]})
        packages.append(
            artifact
            | stored
            | {"runtime": "coreml", "axes": {"num_prompts": length}, "weights": []}
        )
    content["graphs"]["mask_decoder"]["artifacts"] += packages
    bundle = open_bundle(write_bundle(tmp_path / "example", content))
    found = bundle.graph_files("mask_decoder", runtime="coreml")
    assert [file.axes for file in found] == [{"num_prompts": 1}, {"num_prompts": 8}]
    assert len(bundle.graph_files("mask_decoder", runtime="onnx")) == 1


def test_opens_an_embedded_bundle(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle_module, "EMBEDDED", tmp_path)
    assert embedded_bundles() == ("example",)
    assert open_bundle("example").root == folder.resolve()
    refused(lambda: open_bundle("other"), BundleError, "example")


@pytest.mark.parametrize("model", ["samclip-mobile", ROOT / "tests" / "bundles" / "samclip-tiny"])
def test_no_file_of_a_bundle_needs_escaping_in_a_url(model: str | Path) -> None:
    paths = [stored.path for stored in open_bundle(model).manifest.stored_files()]
    assert any(path.startswith("onnx/image_encoder_") for path in paths)
    assert [path for path in paths if quote(path) != path] == []
