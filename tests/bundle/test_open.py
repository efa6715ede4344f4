from __future__ import annotations

import errno
import hashlib
import json
import shutil
import stat
import zipfile
from pathlib import Path
from typing import Any

import pytest

from samclip_sdk.bundle import open as bundle_module
from samclip_sdk.bundle.open import Bundle, cache_folder, embedded_bundles, open_bundle
from samclip_sdk.errors import BundleError, BundleSchemaError, BundleTamperedError, StorageError
from tests.example_bundle import contents, manifest, write_files


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


def pack(folder: Path, *, prefix: str = "") -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, prefix + file.relative_to(folder).as_posix())
    return path


def test_opens_a_folder(folder: Path) -> None:
    bundle = open_bundle(folder)
    (found,) = bundle.graph_files("image_encoder@64", runtime="onnx")
    assert found.path.read_bytes() == b"graph image_encoder@64"
    assert found.sha256 == hashlib.sha256(b"graph image_encoder@64").hexdigest()
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


@pytest.mark.parametrize("as_zip", [False, True])
@pytest.mark.parametrize(
    "name", ["onnx/image_encoder@64.onnx", "onnx/image_encoder.weights", "tokenizer.json"]
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


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "onnx/../../secret", "c:\\secret"])
def test_a_path_that_climbs_out(tmp_path: Path, path: str) -> None:
    (tmp_path / "secret").write_bytes(b"{}")
    content = manifest()
    content["files"].append({**content["files"][0], "path": path})
    with pytest.raises(BundleSchemaError, match="not a plain relative path"):
        open_bundle(write_bundle(tmp_path / "example", content))


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
    monkeypatch.setattr(bundle_module, "ASSETS", tmp_path)
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
