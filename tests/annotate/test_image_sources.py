"""Images of patterns, Parquet files and URLs, and what is wrong with some of them."""

from __future__ import annotations

import io
import json
import os
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from samclip_sdk import ImageError, RuntimeMissingError
from samclip_sdk.annotate.annotation_log import log_path, shards_path
from samclip_sdk.annotate.annotator import Annotator, annotate_folder
from samclip_sdk.annotate.image_sources import Listing, list_source
from samclip_sdk.annotate.ray_workers import check_address, find_cluster
from samclip_sdk.errors import ClusterError, OptionError, StorageError
from tests.command import fails, table
from tests.fake_source import FakeSource, fake_client, sample_image
from tests.refusals import refused

NAMES = ["a.png", "b/1.jpg", "b/c/2.png", "d.png"]


@pytest.fixture
def store() -> Iterator[Any]:
    """A store of objects in memory, empty before and after."""
    files = fsspec.filesystem("memory")
    files.store.clear()
    yield files
    files.store.clear()


def content(width: int = 40) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(sample_image(30, width)).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    for number, name in enumerate([*NAMES, ".hidden.png", "b/.cache/3.png", "notes.txt"]):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content(40 + number))
    return root


def annotated(tmp_path: Path, source: str | Path, *more: str) -> dict[str, Any]:
    output = tmp_path / "out.json"
    table("annotate", source, "dog", "-o", output, "--restart", *more)
    found: dict[str, Any] = json.loads(output.read_text())
    del found["info"]
    return found


def names(listing: Listing) -> list[str]:
    return [each.name for each in listing.images]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.png", ["a.png", "d.png"]),
        ("**/*", NAMES),
        ("**/*.jpg", ["b/1.jpg"]),
        ("b/[c]/*", ["c/2.png"]),
        ("?.png", ["a.png", "d.png"]),
    ],
)
def test_a_pattern(folder: Path, pattern: str, found: list[str]) -> None:
    """Names are relative to the folder in front of it; hidden files and notes are none."""
    assert names(list_source(folder / pattern)) == found
    assert names(list_source(os.path.relpath(folder / pattern))) == found


def test_a_folder_that_is_called_like_a_pattern(folder: Path) -> None:
    odd = folder.rename(folder.with_name("photos [2024]"))
    assert names(list_source(odd)) == NAMES


@pytest.mark.usefixtures("sources")
def test_every_way_to_the_same_images_gives_the_same(
    folder: Path, tmp_path: Path, store: Any
) -> None:
    expected = annotated(tmp_path, folder)
    assert [each["file_name"] for each in expected["images"]] == NAMES
    store.put(str(folder), "/bucket", recursive=True)
    store.pipe("/all.zip", zipped(folder))
    for source in (
        f"{folder}/**/*",
        f"file://{folder}",
        "memory://bucket",
        "memory://bucket/**",
        "zip://::memory://all.zip",
    ):
        assert annotated(tmp_path, source) == expected, source


def zipped(folder: Path) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in NAMES:
            archive.write(folder / name, name)
    return stream.getvalue()


def test_a_remote_image_that_was_replaced_is_another(store: Any) -> None:
    store.pipe("/bucket/a.png", content())
    (before,) = list_source("memory://bucket").images
    store.pipe("/bucket/a.png", content())
    (after,) = list_source("memory://bucket").images
    assert before.size_bytes == after.size_bytes
    assert before.modified_ns != after.modified_ns
    store.rm("/bucket/a.png")
    refused(before.content, ImageError, "a.png")


@pytest.mark.usefixtures("sources")
@pytest.mark.parametrize("kind", ["bytes", "struct", "path"])
def test_columns_of_parquet(folder: Path, tmp_path: Path, kind: str) -> None:
    bodies = [(folder / name).read_bytes() for name in NAMES]
    table = {
        "bytes": {"bytes": bodies, "path": NAMES},
        "struct": {"image": [{"bytes": body, "path": "x"} for body in bodies]},
        "path": {"note": NAMES, "path": [*NAMES[:3], NAMES[0], None, "gone.png"]},
    }[kind]
    if kind == "path":
        table["note"] = [*NAMES, "", ""]
    parquet.write_table(pa.table(table), folder / "p.parquet", row_group_size=3)
    found = annotated(tmp_path, folder / "p.parquet")
    expected = annotated(tmp_path, folder)
    if kind == "path":
        assert [each["file_name"] for each in found["images"]] == NAMES[:3]
        told = skipped(list_source(folder / "p.parquet"))
        assert list(told) == ["p.parquet#3", "p.parquet#4", "gone.png"]
        assert "a.png" in told["p.parquet#3"]
        chosen = annotated(tmp_path, folder / "p.parquet", "--column", "note")
        assert [each["file_name"] for each in chosen["images"]] == NAMES
    else:
        assert found["annotations"] == expected["annotations"]
        assert [each["file_name"] for each in found["images"]] == [
            f"p.parquet#{row}" for row in range(4)
        ]


def images(path: Path, *values: object, kind: pa.DataType | None = None) -> Path:
    """A Parquet file with structs as Hugging Face's, whose `bytes` may be anything."""
    kind = kind and pa.struct([("bytes", kind)])
    column = pa.array([{"bytes": each} for each in values], kind)
    parquet.write_table(pa.table({"image": column}), path)
    return path


@pytest.mark.parametrize(
    "kind", [pa.binary(), pa.large_binary(), pa.binary(len(content())), pa.binary_view()], ids=str
)
def test_a_struct_holds_bytes_of_any_kind(tmp_path: Path, kind: pa.DataType) -> None:
    (found,) = list_source(images(tmp_path / "t.parquet", content(), kind=kind)).images
    assert found.content() == content()


@pytest.mark.parametrize("value", ["abc", [300], 0.5, 10**12, None], ids=str)
def test_a_struct_whose_bytes_are_none_holds_no_images(tmp_path: Path, value: object) -> None:
    path = images(tmp_path / "t.parquet", value)
    there = "it has image (struct<bytes: "
    refused(lambda: list_source(path), StorageError, path, "no column", there)


def skipped(listing: Listing) -> dict[str, str]:
    return {each.name: each.reason for each in listing.skipped}


def rows(path: Path, *values: str) -> Path:
    parquet.write_table(pa.table({"path": list(values)}), path)
    return path


def test_a_strangers_parquet_names_only_what_is_below_its_folder(
    folder: Path, tmp_path: Path, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(content())
    (folder / "link.png").symlink_to(secret)
    (folder / "out").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe.png")
    store.pipe("/bucket/a.png", content())
    asked: list[object] = []
    monkeypatch.setattr(fsspec, "open", lambda *given, **_: asked.append(given))
    monkeypatch.setattr(fsspec.core, "url_to_fs", lambda *given, **_: asked.append(given))
    inside = ["a.png", "./b/1.jpg", "b/../d.png", str(folder / "b/c/2.png")]
    outside = ["../secret.png", str(secret), "link.png", "out/secret.png", "/etc/passwd", "/"]
    outside += ["/dev/zero", "..", "b/../../secret.png", f"../{folder.name}x/a.png"]
    urls = [f"file://{secret}", "memory://bucket/a.png", "zip://a.png::memory://b.zip"]
    urls += ["HTTP://a/b"]
    other = ["simplecache::memory://bucket/a.png", "pipe.png", "b", "nul\0.png"]
    listing = list_source(rows(folder / "t.parquet", *inside, *outside, *urls, *other))
    assert names(listing) == inside
    assert not asked
    told = skipped(listing)
    assert all("outside" in told[each] and "--folder" in told[each] for each in outside)
    assert all("--follow-urls" in told[each] for each in urls)
    assert "not a file" in told["pipe.png"] == told["b"]
    assert told.keys() == {*outside, *urls, *other}


def test_the_folder_of_a_parquet_and_its_urls_can_be_given(
    sources: list[FakeSource], folder: Path, tmp_path: Path, store: Any
) -> None:
    store.pipe("/bucket/a.png", content())
    named = ["a.png", "memory://bucket/a.png", "../photos/a.png"]
    parquet_file = rows(tmp_path / "t.parquet", *named)
    assert "a.png" in fails("annotate", parquet_file, "dog", "-o", tmp_path / "out.json")
    assert names(list_source(parquet_file, folder=folder)) == named[::2]
    found = annotated(tmp_path, parquet_file, "--folder", str(folder), "--follow-urls")
    assert [each["file_name"] for each in found["images"]] == named
    (image,) = list_source(parquet_file, folder="memory://bucket").images
    assert image.content() == content()


def test_a_parquet_in_a_store_names_only_what_is_below_its_folder(store: Any) -> None:
    for name in ("in/a.png", "in/b/c.png", "secret.png"):
        store.pipe(f"/bucket/{name}", content())
    table = io.BytesIO()
    inside = ["a.png", "b/c.png"]
    outside = ["../secret.png", "b/../../secret.png", "%2e%2e/secret.png", "..\\secret.png"]
    outside.append("x::memory://bucket/secret.png")
    parquet.write_table(pa.table({"path": [*inside, *outside]}), table)
    store.pipe("/bucket/in/t.parquet", table.getvalue())
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for name, body in (("in/t.parquet", table.getvalue()), ("in/a.png", content())):
            file.writestr(name, body)
    store.pipe("/all.zip", archive.getvalue())
    for source, found in (
        ("memory://bucket/in/t.parquet", inside),
        ("zip://in/t.parquet::memory://all.zip", inside[:1]),
    ):
        listing = list_source(source)
        assert names(listing) == found
        assert all(each.content() == content() for each in listing.images)
        told = skipped(listing)
        assert all("outside" in told[each] for each in outside)


def test_names_in_a_store_that_would_be_another_url(store: Any, tmp_path: Path) -> None:
    """A stranger's archive may call a member anything; its name must not ask another host."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a.png", content())
        file.writestr("x.png::memory://bucket/secret.png", content())
    store.pipe("/all.zip", archive.getvalue())
    store.pipe("/bucket/secret.png", content())
    listing = list_source("zip://::memory://all.zip")
    assert names(listing) == ["a.png"]
    ((name, told),) = skipped(listing).items()
    assert name == "x.png::memory://bucket/secret.png"
    assert "::" in told
    store.pipe("/rows/x::y.parquet", b"")
    refused(lambda: list_source("memory://rows/*.parquet"), StorageError, "x::y.parquet")
    (tmp_path / os.fsdecode(b"latin\xff.png")).write_bytes(content())
    ((name, told),) = skipped(list_source(f"file://{tmp_path}")).items()
    assert name == "latin?.png"
    assert "UTF-8" in told


@pytest.mark.usefixtures("sources")
def test_parquet_files_of_a_pattern_and_of_a_store(tmp_path: Path, store: Any) -> None:
    several = pa.table({"image": [content(), None, b"broken"]})
    for name in ("b.parquet", "a.parquet"):
        parquet.write_table(several, tmp_path / name)
    store.put(str(tmp_path / "*.parquet"), "/rows/")
    for source in (tmp_path / "*.parquet", "memory://rows/*.parquet"):
        found = annotated(tmp_path, source)
        assert [each["file_name"] for each in found["images"]] == ["a.parquet#0", "b.parquet#0"]
    printed = table("annotate", tmp_path / "a.parquet", "dog", "-o", tmp_path / "b.json")
    assert "2 skipped" in printed
    assert "column image" in printed


@pytest.mark.usefixtures("sources")
def test_shards_are_the_joined_file_in_parts(folder: Path, tmp_path: Path) -> None:
    whole = annotated(tmp_path, folder, "--shard-size", "3")
    made = shards_path(tmp_path / "out.json")
    shards = [json.loads(path.read_text()) for path in sorted(made.iterdir())]
    assert [len(each["images"]) for each in shards] == [3, 1]
    for part in ("images", "annotations"):
        assert [each for shard in shards for each in shard[part]] == whole[part]
    assert all(each["categories"] == whole["categories"] for each in shards)
    annotated(tmp_path, folder, "--shard-size", "9")
    assert len(list(made.iterdir())) == 1
    mine = shards_path(tmp_path / "other.json")
    mine.mkdir()
    (mine / "a year of work").touch()
    asked = (folder, "dog", "-o", tmp_path / "other.json", "--shard-size", "3")
    assert "other.shards" in fails("annotate", *asked)
    assert (mine / "a year of work").exists()


@pytest.mark.usefixtures("sources")
def test_the_date_can_be_given(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    table("annotate", folder, "dog", "-o", tmp_path / "out.json")
    info = json.loads((tmp_path / "out.json").read_text())["info"]
    assert info["date_created"] == "1970-01-01T00:00:00+00:00"


# --- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "words", "word"),
    [
        (1, ["FOLDER/*.gif"], "FOLDER/*.gif"),
        (1, ["nowhere/*.png"], "nowhere/*.png"),
        (1, ["nowhere.parquet"], "nowhere.parquet"),
        (1, ["FOLDER/photo.jpg"], "FOLDER/photo.jpg"),
        (1, ["FOLDER/notes.parquet"], "notes.parquet"),
        (1, ["FOLDER/other.parquet"], "no column image, bytes or path"),
        (1, ["FOLDER/other.parquet", "--column", "n"], "no column n"),
        (1, ["FOLDER/other.parquet", "--folder", "nowhere"], "nowhere"),
        (1, ["FOLDER", "--folder", "FOLDER"], "no Parquet"),
        (1, ["FOLDER", "--follow-urls"], "no Parquet"),
        (1, ["FOLDER", "--column", "image"], "no Parquet"),
        (1, ["memory://nowhere"], "memory://nowhere"),
        (1, ["nosuch://bucket"], "nosuch://bucket"),
        (1, ["s3://bucket"], "s3fs"),
        (2, ["FOLDER", "--workers", "2"], "--workers"),
        (1, ["FOLDER", "--ray", "ray://head:10001"], "ray://head:10001"),
        (1, ["FOLDER", "--ray", "127.0.0.1:1"], "127.0.0.1:1"),
        (1, ["FOLDER", "--ray", "127.0.0.1:99999"], "127.0.0.1:99999"),
        (1, ["FOLDER", "--ray"], 'pip install "samclip-sdk[ray]"'),
        # `dog` is a label and no address: all that is wrong is that there is no Ray.
        (1, ["FOLDER", "--ray", "dog"], 'pip install "samclip-sdk[ray]"'),
    ],
)
def test_what_is_refused_before_a_model_is_opened(
    sources: list[FakeSource],
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    words: list[str],
    word: str,
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    (folder / "notes.parquet").write_text("no Parquet")
    parquet.write_table(pa.table({"n": [1, 2]}), folder / "other.parquet")
    source, *more = (each.replace("FOLDER", str(folder)) for each in words)
    labels = () if more[-1:] == ["dog"] else ("dog",)
    arguments = (source, *labels, "-o", tmp_path / "out.json", *more)
    assert word.replace("FOLDER", str(folder)) in fails("annotate", *arguments, code=code)
    assert not sources
    assert not log_path(tmp_path / "out.json").exists()


@pytest.mark.parametrize("given", ["nan", "1e9", "9" * 20, "9" * 5000, "soon\x1b[2J"])
def test_a_date_that_is_none_is_refused_before_the_work(
    sources: list[FakeSource],
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    given: str,
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", given)
    assert "SOURCE_DATE_EPOCH" in fails("annotate", folder, "dog", "-o", tmp_path / "out.json")
    assert not sources[0].runs("image_encoder@64")
    assert not log_path(tmp_path / "out.json").exists()


@pytest.mark.parametrize(
    ("package", "source"), [("fsspec", "s3://bucket"), ("pyarrow.parquet", "p.parquet")]
)
def test_a_missing_package_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, source: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("p.parquet").touch()
    monkeypatch.setitem(sys.modules, package, None)
    refused(lambda: list_source(source), RuntimeMissingError, 'pip install "samclip-sdk[remote]"')


def test_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert check_address(None) == check_address("") == "local"
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    assert check_address(None) == "head:6379"
    assert check_address("auto") == "auto"
    refused(lambda: check_address("dog"), OptionError, "dog")
    refused(lambda: find_cluster("127.0.0.1:1"), ClusterError, "ray start --head")


@pytest.mark.parametrize(
    "name", ["", "a" * 300, "a/" * 3000, "a\0b", "\ud800", "a" * 300 + "*.png"]
)
def test_a_source_that_no_system_could_have(name: str, tmp_path: Path) -> None:
    """`samclip annotate "$FOLDER"`, with FOLDER not set, is not the folder that one is in."""
    error = ImageError if "*" in name else StorageError
    refused(lambda: list_source(name).check(), error, "")
    model, _ = fake_client(tmp_path)
    annotator = Annotator(model, ["dog"])
    refused(lambda: annotate_folder(annotator, name, "out.json"), StorageError, "folder")
