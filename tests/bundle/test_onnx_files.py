"""What an .onnx file reads besides itself is what the manifest lists, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import onnx
import pytest

from samclip_sdk.bundle.onnx_files import named_files
from samclip_sdk.bundle.open import open_bundle
from samclip_sdk.errors import BundleError, BundleSchemaError
from tests.bundle.test_signature import write_keys
from tests.command import fails
from tests.drawings import TINY_BUNDLE
from tests.example_bundle import contents, manifest, stored, write_bundle, write_files
from tests.refusals import refused

GRAPH = "onnx/mask_decoder.onnx"


def ways(message: Any = onnx.ModelProto.DESCRIPTOR, passed: Any = ()) -> Iterator[tuple[str, ...]]:
    """The fields on every way down to a tensor, through no kind of message twice."""
    for field in message.fields:
        inner = field.message_type
        if inner is not None and inner.name == "TensorProto":
            yield (field.name,)
        elif inner is not None and inner.name not in passed:
            yield from ((field.name, *way) for way in ways(inner, (*passed, inner.name)))


def model_with(way: Sequence[str], *, location: str = "unlisted.bin") -> onnx.ModelProto:
    """A model with a tensor there, whose numbers lie in another file."""
    model = onnx.ModelProto(ir_version=10, producer_name="a test")
    model.graph.initializer.add(name="inside", raw_data=b"location" * 10)
    part: Any = model
    for name in way:
        part = getattr(part, name)
        part = part.add() if hasattr(part, "add") else part
    part.name, part.data_location = "w", onnx.TensorProto.EXTERNAL
    for key, value in (("offset", "0"), ("location", location), ("length", "4")):
        part.external_data.add(key=key, value=value)
    return model


WAYS = list(ways())


@pytest.mark.parametrize("way", WAYS, ids=".".join)
def test_finds_external_data_wherever_a_model_may_hold_it(
    tmp_path: Path, way: tuple[str, ...]
) -> None:
    (tmp_path / "a.onnx").write_bytes(model_with(way).SerializeToString())
    assert named_files(tmp_path / "a.onnx") == {"unlisted.bin"}


def test_there_are_ways_of_every_kind() -> None:
    through = {name for way in WAYS for name in way}
    assert {"sparse_initializer", "functions", "training_info", "g", "tensors"} <= through


@pytest.mark.parametrize("precision", ["", ".fp16", ".int8"])
def test_agrees_with_onnx_on_real_graphs(precision: str) -> None:
    path = TINY_BUNDLE / "onnx" / f"text_encoder{precision}.onnx"
    model = onnx.load(path, load_external_data=False)
    locations = {
        entry.value
        for tensor in model.graph.initializer
        for entry in tensor.external_data
        if entry.key == "location"
    }
    assert locations
    assert named_files(path) == locations


def onnx_message(tag: int, content: bytes) -> bytes:
    size, sizes = len(content), []
    while size > 0x7F:
        sizes.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([tag, *sizes, size]) + content


def nested() -> bytes:
    """Graphs in each other, more than any model has, around what may be a place."""
    content = b"location"
    for _ in range(100):  # a graph, its node, that one's attribute
        for tag in (0x32, 0x2A, 0x0A):
            content = onnx_message(tag, content)
    return onnx_message(0x3A, content)


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"<?xml version='1.0'?><net/>", b"\x1c\0\0\0TFL3", b"\x00\x00", b"\x0b\x0c"),
        *(b"\x3a\x05abc", b"\x3a\xff\xff\xff", b"\x08" + b"\xff" * 20, b"\x3d\0\0"),
        model_with(("graph", "node", "attribute", "t")).SerializeToString()[:-3],
        b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\xba\x80\x80\x80\x10\x00",  # the graph's field, and 2**32 more
        nested(),
    ],
)
def test_what_is_no_onnx_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.onnx").write_bytes(content)
    refused(lambda: named_files(tmp_path / "a.onnx"), BundleError, "a.onnx")


def write_reading(folder: Path, *, location: str, listed: bool = False) -> Path:
    """A bundle one graph of which reads another file, whose sha256 is right where it is listed."""
    files, content = contents(), manifest()
    files[GRAPH] = model_with(("graph", "initializer"), location=location).SerializeToString()
    (artifact,) = content["graphs"]["mask_decoder"]["artifacts"]
    artifact |= stored(GRAPH, files[GRAPH])
    if listed:
        files[f"onnx/{location}"] = b"1234"
        artifact["weights"] = [stored(f"onnx/{location}", b"1234")]
    write_files(write_bundle(folder, content), files)
    return folder


def test_what_is_listed_opens(tmp_path: Path) -> None:
    bundle = open_bundle(write_reading(tmp_path / "bundle", location="weights.bin", listed=True))
    bundle.verify()
    assert bundle.graph_files("mask_decoder", runtime="onnx")


@pytest.mark.parametrize(
    "location",
    [
        *("unlisted.bin", "../unlisted.bin", "/etc/hostname", "image_encoder.weights", ""),
        *("*/_ORT_MEM_ADDR_/*", "..\\unlisted.bin", "two\nlines", "x" * 60_000),
    ],
)
def test_what_is_not_listed_is_refused(tmp_path: Path, location: str) -> None:
    """As is the weights file of another graph: this one's manifest entry does not name it."""
    folder = write_reading(tmp_path / "bundle", location=location)
    (folder / "onnx" / "unlisted.bin").write_bytes(b"1234")
    bundle = open_bundle(folder)
    for call in (lambda: bundle.graph_files("mask_decoder", runtime="onnx"), bundle.verify):
        refused(call, BundleError, "mask_decoder.onnx")


def test_it_is_not_signed(tmp_path: Path) -> None:
    folder = write_reading(tmp_path / "bundle", location="unlisted.bin")
    (folder / "onnx" / "unlisted.bin").write_bytes(b"1234")
    private, _ = write_keys(tmp_path, "ours")
    assert "mask_decoder.onnx" in fails("sign", folder, "--key", private)
    assert not (folder / "manifest.sig").exists()


def test_a_graph_is_called_onnx(tmp_path: Path) -> None:
    """By another name a runtime takes it for something else, with other files beside it."""
    content = manifest()
    (artifact,) = content["graphs"]["mask_decoder"]["artifacts"]
    artifact["path"] = "onnx/mask_decoder.xml"
    folder = write_bundle(tmp_path, content)
    refused(lambda: open_bundle(folder), BundleSchemaError, "mask_decoder.xml")
