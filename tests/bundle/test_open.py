from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from samclip_sdk.bundle import open as bundle_module
from samclip_sdk.bundle.manifest import MAX_MANIFEST_BYTES
from samclip_sdk.bundle.open import Bundle, cache_folder, embedded_bundles, open_bundle
from samclip_sdk.errors import BundleError, BundleSchemaError, BundleTamperedError, StorageError
from samclip_sdk.system.records import MAX_VALUES
from tests.example_bundle import contents, manifest, onnx_file, write_files
from tests.source_tree import ROOT


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache, in a place of the test's own."""
    folder = tmp_path / "cache"
    monkeypatch.setattr("platformdirs.user_cache_path", lambda *_: folder)
    return folder


def write_bundle(folder: Path, content: dict[str, Any] | None = None) -> Path:
    files = {**contents(), "manifest.json": json.dumps(content or manifest()).encode()}
    write_files(folder, files)
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


def test_opens_a_folder(folder: Path) -> None:
    bundle = open_bundle(folder)
    (found,) = bundle.graph_files("image_encoder@64", runtime="onnx")
    assert found.path.read_bytes() == onnx_file("graph image_encoder@64")
    assert found.sha256 == hashlib.sha256(onnx_file("graph image_encoder@64")).hexdigest()
    assert bundle.graph_files("mask_decoder", runtime="onnx", precision="fp32")
    assert bundle.file("tokenizer.json").read_bytes() == b"{}"
    bundle.verify()


def test_the_id_depends_on_the_content(folder: Path, tmp_path: Path) -> None:
    other = write_bundle(tmp_path / "other", {**manifest(), "revision": "2"})
    ids = {open_bundle(each).id for each in (folder, str(folder), other)}
    assert len(ids) == 2
    assert all(len(each) == 16 for each in ids)


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
    place = cache_folder() / open_bundle(folder).id
    place.parent.mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "precious").touch()
    leads_to = {"dangling": "nowhere", "circle": place, "elsewhere": tmp_path / "elsewhere"}
    if kind == "file":
        place.touch()
    else:
        place.symlink_to(leads_to[kind])
    open_bundle(pack(folder)).verify()
    assert not place.is_symlink()
    assert [each.name for each in cache_folder().iterdir()] == [place.name]
    assert (tmp_path / "elsewhere" / "precious").exists()


def test_a_cached_bundle_may_lie_elsewhere(folder: Path, tmp_path: Path) -> None:
    bundle = open_bundle(pack(folder))
    shutil.move(bundle.root, tmp_path / "elsewhere")
    (cache_folder() / bundle.id).symlink_to(tmp_path / "elsewhere")
    assert open_bundle(pack(folder)).root == (tmp_path / "elsewhere").resolve()
    assert (cache_folder() / bundle.id).is_symlink()


UNPACKS = """
import sys
import platformdirs
from pathlib import Path
from samclip_sdk.bundle import zipped
from samclip_sdk.bundle.open import open_bundle

def stop(folder, target):
    print("all is unpacked", flush=True)
    sys.stdin.read()

platformdirs.user_cache_path = lambda *_: Path(sys.argv[2])
zipped.settle = stop
open_bundle(sys.argv[1])
"""


def test_the_next_run_removes_what_a_killed_one_unpacked(
    folder: Path, tmp_path: Path, cache: Path
) -> None:
    path = pack(folder)
    with subprocess.Popen(
        [sys.executable, "-c", UNPACKS, str(path), str(cache)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "all is unpacked\n"
        other = open_bundle(pack(write_bundle(tmp_path / "other", manifest() | {"revision": "2"})))
        assert len(list(cache_folder().glob(".*.partial"))) == 1  # the living one's
        process.kill()
    bundle = open_bundle(path)
    bundle.verify()
    assert {each.name for each in cache_folder().iterdir()} == {bundle.id, other.id}


def test_what_another_process_has_just_unpacked_stays(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It came after this one had looked, and uses it already."""
    path = pack(folder)
    taking_turns, theirs = bundle_module.taking_turns, []

    @contextmanager
    def be_second(place: Path) -> Iterator[None]:
        monkeypatch.setattr(bundle_module, "taking_turns", taking_turns)
        theirs.append(open_bundle(path).root.stat().st_ino)
        with taking_turns(place):
            yield

    monkeypatch.setattr(bundle_module, "taking_turns", be_second)
    assert [open_bundle(path).root.stat().st_ino] == theirs


@pytest.mark.parametrize("as_zip", [False, True])
@pytest.mark.parametrize(
    "name", ["onnx/image_encoder_64.onnx", "onnx/image_encoder.weights", "tokenizer.json"]
)
def test_a_changed_byte(folder: Path, name: str, as_zip: bool) -> None:
    data = bytearray((folder / name).read_bytes())
    data[-1] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(BundleTamperedError, match=name.rpartition("/")[2]):
        open_everything(pack(folder) if as_zip else folder)
    assert not cache_folder().exists() or not list(cache_folder().iterdir())


def open_everything(source: Path) -> None:
    bundle = open_bundle(source)
    for graph in bundle.manifest.graphs:
        bundle.graph_files(graph, runtime="onnx")
    bundle.file("tokenizer.json")


@pytest.mark.parametrize("as_zip", [False, True])
def test_a_missing_file(folder: Path, as_zip: bool) -> None:
    (folder / "onnx" / "mask_decoder.onnx").unlink()
    with pytest.raises(BundleError, match=r"mask_decoder\.onnx is missing"):
        open_everything(pack(folder) if as_zip else folder)


def test_a_longer_file_is_not_read(folder: Path) -> None:
    with (folder / "tokenizer.json").open("ab") as file:
        file.write(b" ")
    with pytest.raises(BundleTamperedError, match=r"tokenizer\.json"):
        open_bundle(folder).file("tokenizer.json")


def test_a_missing_graph(tmp_path: Path) -> None:
    content = manifest()
    del content["graphs"]["mask_decoder"]
    with pytest.raises(BundleSchemaError, match="the graph mask_decoder is missing"):
        open_bundle(write_bundle(tmp_path / "example", content))


def test_a_graph_that_is_not_there(folder: Path) -> None:
    bundle = open_bundle(folder)
    with pytest.raises(BundleError, match=r"no graph clip_head@128, only .*clip_head@32"):
        bundle.graph_files("clip_head@128", runtime="onnx")
    with pytest.raises(BundleError, match="has text_encoder for onnx fp32, not for coreml"):
        bundle.graph_files("text_encoder", runtime="coreml")
    with pytest.raises(BundleError, match="not for onnx int8"):
        bundle.graph_files("text_encoder", runtime="onnx", precision="int8")
    with pytest.raises(BundleError, match=r"has no golden/index\.json"):
        bundle.file("golden/index.json")


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_an_unknown_schema_version(tmp_path: Path, version: object) -> None:
    """Found before anything else: another version may have other fields."""
    content = {"schema_version": version, "layers": []}
    with pytest.raises(BundleSchemaError, match=f"schema version {version}; .* reads 1"):
        open_bundle(write_bundle(tmp_path / "example", content))


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff\xfe", b'{"schema_version": 1}'])
def test_a_damaged_manifest(folder: Path, data: bytes) -> None:
    (folder / "manifest.json").write_bytes(data)
    for source in (folder, pack(folder)):
        with pytest.raises(BundleSchemaError) as caught:
            open_bundle(source)
        assert "\n" not in str(caught.value)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no bundle nonsense"):
        open_bundle("nonsense")
    with pytest.raises(BundleError, match=r"no manifest\.json"):
        open_bundle(tmp_path)
    (tmp_path / "text.zip").write_text("not a zip")
    with pytest.raises(BundleError, match=r"not a \.zip"):
        open_bundle(tmp_path / "text.zip")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    with pytest.raises(BundleError, match=r"no manifest\.json"):
        open_bundle(tmp_path / "empty.zip")


def test_a_truncated_zip(folder: Path) -> None:
    path = pack(folder)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BundleError, match=r"not a \.zip"):
        open_bundle(path)


@pytest.mark.parametrize(
    "path",
    [
        "../secret",
        "/etc/passwd",
        "onnx/../../secret",
        "c:\\secret",
        "a\0b",
        "two\nlines",
        "mirrored\u202e",
        "../" + "x" * 60_000,
    ],
)
def test_a_path_that_climbs_out_or_cannot_be_printed(tmp_path: Path, path: str) -> None:
    (tmp_path / "secret").write_bytes(b"{}")
    content = manifest()
    content["files"].append({**content["files"][0], "path": path})
    with pytest.raises(BundleSchemaError, match="not a plain relative path") as caught:
        open_bundle(write_bundle(tmp_path / "example", content))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600


def test_a_path_that_no_text_can_hold(folder: Path) -> None:
    """A lone surrogate: JSON can spell it, and no file system can store it."""
    content = (folder / "manifest.json").read_bytes()
    (folder / "manifest.json").write_bytes(content.replace(b'"tokenizer.json"', b'"\\ud800"'))
    with pytest.raises(BundleSchemaError) as caught:
        open_bundle(folder)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("source", ["a\0b", "\ud800", "x" * 60_000])
def test_a_source_that_no_file_can_be_called(source: str) -> None:
    with pytest.raises(BundleError, match="there is no bundle") as caught:
        open_bundle(source)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("name",), "x" * 60_000),
        (("name",), "red\x1b[31m"),
        (("licences", 0, "spdx"), "MIT\nand more"),
        (("x" * 60_000,), 1),
        (("graphs", "x" * 60_000), {"inputs": [], "outputs": []}),
        (("graphs", f"image_encoder@1{'0' * 4000}"), {"inputs": [], "outputs": []}),
        (("graphs", "image_encoder@32"), {"inputs": [], "outputs": []}),
        (("schema_version",), "x" * 60_000),
        (("image", "pad_colour"), [999, 0, 0]),
        (("image", "pad_colour"), [0, -1, 0]),
    ],
)
def test_absurd_values_are_refused_in_one_sane_line(
    tmp_path: Path, keys: tuple[Any, ...], value: object
) -> None:
    content = manifest()
    part: Any = content
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = value
    with pytest.raises(BundleSchemaError) as caught:
        open_bundle(write_bundle(tmp_path / "example", content))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("as_zip", [False, True])
@pytest.mark.parametrize("kind", ["list", "lists in lists", "unknown keys", "graphs"])
def test_more_values_than_any_manifest_has(
    folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str, as_zip: bool
) -> None:
    """Each that is wrong takes a kilobyte or two, so that nobody may begin to validate them."""
    many = MAX_VALUES + 1
    content: dict[str, Any] = {"schema_version": 1}
    if kind == "list":
        content["files"] = [0] * many
    elif kind == "lists in lists":
        content["licences"] = [[[]] * 100] * (many // 100 + 1)
    elif kind == "unknown keys":
        content |= {str(number): {} for number in range(many)}
    else:
        content["graphs"] = {str(number): {} for number in range(many)}
    (folder / "manifest.json").write_text(json.dumps(content))
    monkeypatch.setattr(bundle_module, "TypeAdapter", lambda _: pytest.fail("it is validated"))
    with pytest.raises(BundleSchemaError, match=f"it holds more than {MAX_VALUES} values"):
        open_bundle(pack(folder) if as_zip else folder)


def test_the_default_is_far_from_the_limit() -> None:
    content = (bundle_module.EMBEDDED / "samclip-mobile" / "manifest.json").read_bytes()
    assert content.count(b",") < MAX_VALUES / 5


@pytest.mark.parametrize("name", ["tokenizer.json", "manifest.json"])
def test_a_link_that_climbs_out(folder: Path, tmp_path: Path, name: str) -> None:
    shutil.move(folder / name, tmp_path / "elsewhere")
    (folder / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match="leads out of the bundle"):
        open_bundle(folder).file(name)


def test_a_linked_folder_that_climbs_out(folder: Path, tmp_path: Path) -> None:
    shutil.move(folder / "onnx", tmp_path / "onnx")
    (folder / "onnx").symlink_to(tmp_path / "onnx")
    with pytest.raises(BundleError, match="leads out of the bundle"):
        open_bundle(folder).graph_files("mask_decoder", runtime="onnx")


@pytest.mark.parametrize("name", ["tokenizer.json", "manifest.json", "onnx"])
def test_a_circle_of_links(folder: Path, name: str) -> None:
    if name == "onnx":
        shutil.rmtree(folder / name)
    else:
        (folder / name).unlink()
    (folder / name).symlink_to(name)
    with pytest.raises(BundleError, match="levels of symbolic links"):
        open_everything(folder)


def test_a_bundle_that_is_a_circle_of_links(tmp_path: Path) -> None:
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(BundleError, match="there is no bundle"):
        open_bundle(tmp_path / "round")


@pytest.mark.parametrize("name", ["tokenizer.json", "manifest.json"])
def test_a_pipe_is_not_waited_for(folder: Path, name: str) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(BundleError, match="it is no regular file"):
        open_everything(folder)


@pytest.mark.parametrize("as_zip", [False, True])
def test_a_manifest_beyond_all_measure_is_not_read(folder: Path, as_zip: bool) -> None:
    with (folder / "manifest.json").open("r+b") as file:
        file.truncate(MAX_MANIFEST_BYTES + 1)
    with pytest.raises(BundleError, match="too large"):
        open_bundle(pack(folder) if as_zip else folder)


def test_a_link_to_the_bundle_is_fine(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to(folder)
    open_bundle(tmp_path / "current").verify()


@pytest.mark.parametrize("member", ["../secret", "/tmp/secret", "a/../../secret", "a\\..\\b"])
def test_a_member_that_climbs_out(folder: Path, tmp_path: Path, member: str) -> None:
    path = pack(folder)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(zipfile.ZipInfo(member), b"stolen")
    with pytest.raises(BundleError, match="leads out of it"):
        open_bundle(path)
    assert not (tmp_path / "secret").exists()


def test_a_member_that_is_a_link(folder: Path) -> None:
    path = pack(folder)
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(BundleError, match="a link or a device"):
        open_bundle(path)


def test_a_long_member_is_cut_in_the_message(folder: Path) -> None:
    path = pack(folder)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../" + "x" * 60_000, b"")
    with pytest.raises(BundleError, match=r"leads out of it: \.\./x+ \.\.\. x+") as caught:
        open_bundle(path)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    "compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=["stored", "deflated"]
)
def test_damage_anywhere_in_a_zip(folder: Path, compression: int) -> None:
    whole = pack(folder, compression=compression).read_bytes()
    path = folder.with_suffix(".zip")
    messages = []
    for place in range(0, len(whole), len(whole) // 150):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        shutil.rmtree(cache_folder(), ignore_errors=True)
        try:
            open_bundle(path).verify()
        except BundleError as error:
            messages.append(str(error))
    assert len(messages) > 75
    assert not [each for each in messages if len(each) > 600 or not each.isprintable()]


@pytest.mark.filterwarnings("ignore:Duplicate name")  # on purpose
def test_a_member_twice(folder: Path) -> None:
    path = pack(folder)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("tokenizer.json", b"other")
    with pytest.raises(BundleError, match="two members of one name"):
        open_bundle(path)


def test_a_member_that_expands_is_not_unpacked(folder: Path) -> None:
    (folder / "tokenizer.json").write_bytes(bytes(50_000_000))
    with pytest.raises(BundleTamperedError, match=r"tokenizer\.json"):
        open_bundle(pack(folder))


@pytest.mark.parametrize(
    "compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA], ids=["bzip2", "lzma"]
)
def test_a_compression_without_a_limit_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, compression: int
) -> None:
    """Python's bzip2 and lzma give out all that a member expands to, whatever is asked for."""
    path = pack(folder, compression=compression)
    monkeypatch.setattr(zipfile.ZipExtFile, "read", lambda *_: pytest.fail("a member is read"))
    with pytest.raises(BundleError, match=r"neither stored nor deflated: .*zip the folder again"):
        open_bundle(path)


def test_no_member_expands_beyond_what_is_asked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a header says of the size may be a lie: how much is read has a limit of its own."""
    asked: list[int] = []
    read = zipfile.ZipExtFile.read

    def note(self: zipfile.ZipExtFile, size: int = -1) -> bytes:
        asked.append(size)
        return read(self, size)

    monkeypatch.setattr(zipfile.ZipExtFile, "read", note)
    open_bundle(pack(folder)).verify()
    assert min(asked) > 0
    assert max(asked) <= MAX_MANIFEST_BYTES + 1


def lying_about_its_size(path: Path, *, member: str, size: int) -> None:
    """A .zip whose headers say another size of a member, in both places."""
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        local = archive.getinfo(member).header_offset
    central = content.rindex(member.encode()) - 46
    for place in (local + 22, central + 24):
        content[place : place + 4] = size.to_bytes(4, "little")
    path.write_bytes(content)


@pytest.mark.parametrize("size", [0, 100, MAX_MANIFEST_BYTES])
def test_a_header_that_lies(folder: Path, size: int) -> None:
    with (folder / "manifest.json").open("ab") as file:
        file.write(b" " * (MAX_MANIFEST_BYTES + 1))
    path = pack(folder)
    lying_about_its_size(path, member="manifest.json", size=size)
    with pytest.raises(BundleError, match="damaged"):
        open_bundle(path)


def test_memory_that_does_not_suffice_is_an_error_of_the_bundle(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bytes:
        raise MemoryError

    path = pack(folder)
    monkeypatch.setattr(zipfile.ZipExtFile, "read", fail)
    with pytest.raises(BundleError, match="takes more memory than there is"):
        open_bundle(path)


def test_a_full_disk_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, write_bytes = pack(folder), Path.write_bytes

    def fail(self: Path, data: bytes) -> int:
        if self.name == "manifest.json":
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_bytes(self, data)

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(StorageError, match="No space left on device"):
        open_bundle(path)
    assert list(cache_folder().iterdir()) == []


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


@pytest.mark.parametrize(
    ("parity", "proven"),
    [
        ({"measured_on": None, "measurements": []}, False),
        ({"measured_on": "an interpreter", "on_target": False}, False),
        ({"measured_on": "this"}, True),
    ],
)
def test_says_what_was_never_compared_on_its_runtime(
    tmp_path: Path, parity: dict[str, Any], proven: bool
) -> None:
    content = manifest()
    (artifact,) = content["graphs"]["text_encoder"]["artifacts"]
    artifact["parity"] = artifact["parity"] | parity
    bundle = open_bundle(write_bundle(tmp_path / "example", content))
    (file,) = bundle.graph_files("text_encoder", runtime="onnx")
    assert file.proven == proven


def test_opens_an_embedded_bundle(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle_module, "EMBEDDED", tmp_path)
    assert embedded_bundles() == ("example",)
    assert open_bundle("example").root == folder.resolve()
    with pytest.raises(BundleError, match=r"embedded bundle's name \(example\)"):
        open_bundle("other")


def test_a_bundle_is_read_by_its_manifest_alone(folder: Path) -> None:
    """Files that the manifest does not list are not part of it."""
    (folder / "extra.bin").write_bytes(b"?")
    bundle = Bundle(folder, content=(folder / "manifest.json").read_bytes())
    with pytest.raises(BundleError, match=r"has no extra\.bin"):
        bundle.file("extra.bin")


@pytest.mark.parametrize("model", ["samclip-mobile", ROOT / "tests" / "bundles" / "samclip-tiny"])
def test_no_file_of_a_bundle_needs_escaping_in_a_url(model: str | Path) -> None:
    paths = [stored.path for stored in open_bundle(model).manifest.stored_files()]
    assert any(path.startswith("onnx/image_encoder_") for path in paths)
    assert [path for path in paths if quote(path) != path] == []
