"""Goldens that are damaged, or of another bundle, are refused in one line that says why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from samclip_sdk.bundle.manifest import GOLDEN_INDEX, GOLDEN_TENSORS
from samclip_sdk.bundle.open import Bundle, open_bundle
from samclip_sdk.device.goldens.check import Check
from samclip_sdk.device.goldens.graph_checks import graph_checks
from samclip_sdk.device.goldens.schema import GoldenIndex, read_goldens
from samclip_sdk.engine.engine import Engine
from samclip_sdk.errors import BundleError
from samclip_sdk.picture.frame import letterbox
from samclip_sdk.system.records import MAX_VALUES
from samclip_sdk.text.tokenizer import Tokenizer
from tests.example_bundle import contents, manifest, stored, write_files
from tests.fake_source import FakeSource, picture

EMPTY: dict[str, Any] = {
    "texts": [],
    "letterbox": [],
    "graphs": [],
    "segment": [],
    "class_embeddings": [],
    "image_embeddings": [],
    "score_maps": [],
    "masks": [],
    "text_to_mask": [],
}
SIZE, EXTENT = (50, 100), (32, 64)
"""Of the fake picture, and of what it covers at 64 px."""


def expected(tensor: str) -> dict[str, Any]:
    return {"tensor": tensor, "step": 1, "max_error": 0.01}


def index() -> dict[str, Any]:
    """Of the fake model, to be changed."""
    return EMPTY | {
        "letterbox": [
            {
                "image": "picture",
                "size": SIZE,
                "resolution": 64,
                "extent": EXTENT,
                "output": {"tensor": "picture@64", "step": 1},
            }
        ],
        "graphs": [
            {
                "graph": "text_encoder",
                "inputs": {"input_ids": "ids"},
                "outputs": {"text_embeddings": expected("texts")},
            }
        ],
    }


def tensors(source: FakeSource) -> dict[str, np.ndarray]:
    square, _ = letterbox(picture(), resolution=64, pad_colour=(124, 116, 104))
    return {
        "picture": picture(),
        "picture@64": square,
        "ids": np.ones((1, 77), dtype=np.int32),
        "texts": source.session("text_encoder").run({"input_ids": np.ones((1, 77), np.int32)})[
            "text_embeddings"
        ],
    }


@pytest.fixture
def source(tmp_path: Path) -> FakeSource:
    return FakeSource(tmp_path)


def pack(arrays: dict[str, np.ndarray]) -> bytes:
    return safetensors.numpy.save(
        {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    )


def bundle_with(folder: Path, goldens: dict[str, Any], arrays: dict[str, Any]) -> Bundle:
    """An example bundle whose manifest lists these goldens."""
    files = {GOLDEN_INDEX: json.dumps(goldens).encode(), GOLDEN_TENSORS: pack(arrays)}
    content = manifest()
    content["files"] += [stored(path, data) for path, data in files.items()]
    write_files(folder, contents() | files | {"manifest.json": json.dumps(content).encode()})
    return open_bundle(folder)


def checks(bundle: Bundle, source: FakeSource) -> list[Check]:
    return list(graph_checks(bundle, engine=Engine(source), precision="fp32"))


def test_sound_ones_pass(tmp_path: Path, source: FakeSource) -> None:
    found = checks(bundle_with(tmp_path / "b", index(), tensors(source)), source)
    height, width = SIZE
    assert [each.name for each in found] == [
        f"letterbox of {height} x {width} to 64 px",
        "text_encoder text_embeddings",
    ]
    assert all(each.passed for each in found)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_not_finite(tmp_path: Path, source: FakeSource, value: float) -> None:
    arrays = tensors(source)
    arrays["texts"] = arrays["texts"].copy()
    arrays["texts"][0, 3] = value
    with pytest.raises(BundleError, match=r"the golden texts of .* holds NaN or infinity"):
        checks(bundle_with(tmp_path / "b", index(), arrays), source)


def test_a_bound_that_is_not_finite_in_the_index() -> None:
    goldens = json.dumps(index()).replace('"max_error": 0.01', '"max_error": Infinity')
    with pytest.raises(ValueError, match="finite number"):
        GoldenIndex.model_validate_json(goldens)


@pytest.mark.parametrize(
    ("key", "array"),
    [
        ("texts", np.ones(3, dtype=bool)),
        ("texts", None),
        ("picture", None),
        ("ids", None),
    ],
)
def test_a_tensor_that_is_not_there(
    tmp_path: Path, source: FakeSource, key: str, array: np.ndarray | None
) -> None:
    arrays = {name: value for name, value in tensors(source).items() if name != key}
    if array is not None:
        arrays[key] = array
    with pytest.raises(BundleError, match=f"have no tensor {key}"):
        checks(bundle_with(tmp_path / "b", index(), arrays), source)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"inputs": {"image": "picture"}}, "of another graph: the feed has"),
        ({"inputs": {"input_ids": "picture"}}, "of another graph: input_ids has dtype uint8"),
        ({"outputs": {"masks": expected("texts")}}, "expects .*masks"),
    ],
)
def test_a_golden_of_another_graph(
    tmp_path: Path, source: FakeSource, changes: dict[str, Any], told: str
) -> None:
    goldens = index()
    goldens["graphs"][0] |= changes
    with pytest.raises(BundleError, match=f"the golden of text_encoder .*{told}"):
        checks(bundle_with(tmp_path / "b", goldens, tensors(source)), source)


def test_a_dtype_that_numpy_does_not_have(tmp_path: Path, source: FakeSource) -> None:
    root = tmp_path / "b"
    bundle_with(root, index(), tensors(source))
    header = b'{"a":{"dtype":"F8_E4M3","shape":[8],"data_offsets":[0,8]}}'
    (root / GOLDEN_TENSORS).write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    with pytest.raises(BundleError, match=r"the goldens of .* cannot be read: "):
        read_goldens(root)


def test_a_letterbox_of_a_size_without_a_graph(tmp_path: Path, source: FakeSource) -> None:
    goldens = index()
    goldens["letterbox"][0]["resolution"] = 2**40
    with pytest.raises(BundleError, match="a golden is of 1099511627776 px"):
        checks(bundle_with(tmp_path / "b", goldens, tensors(source)), source)


@pytest.mark.parametrize("key", ["picture@64", "texts"])
def test_an_output_of_another_shape_fails(tmp_path: Path, source: FakeSource, key: str) -> None:
    arrays = tensors(source)
    arrays[key] = arrays[key][..., 1:]
    found = checks(bundle_with(tmp_path / "b", index(), arrays), source)
    assert [each.error for each in found if not each.passed] == [np.inf]


def test_token_ids_that_are_too_many_or_too_large_fail(tmp_path: Path, source: FakeSource) -> None:
    ids: list[list[int]] = [[1] * 100, [2**40]]
    texts = [{"text": "dog", "cleaned": "dog", "input_ids": each} for each in ids]
    goldens = EMPTY | {"texts": texts}
    bundle = bundle_with(tmp_path / "b", goldens, tensors(source))
    (bundle.root / "tokenizer.json").write_bytes(source.tokenizer_path.read_bytes())
    bundle._verified.add("tokenizer.json")
    cleaned, found = checks(bundle, source)
    assert cleaned.passed
    assert found.error == len(ids)


def test_a_text_that_is_cleaned_otherwise_fails(tmp_path: Path, source: FakeSource) -> None:
    ids = Tokenizer(source.tokenizer_path, context_length=77)(["A  Dog"])[0]
    texts = [{"text": "A  Dog", "cleaned": "a  dog", "input_ids": ids[ids > 0].tolist()}]
    bundle = bundle_with(tmp_path / "b", EMPTY | {"texts": texts}, tensors(source))
    (bundle.root / "tokenizer.json").write_bytes(source.tokenizer_path.read_bytes())
    bundle._verified.add("tokenizer.json")
    cleaned, tokens = checks(bundle, source)
    assert cleaned.error == 1
    assert tokens.passed


@pytest.mark.parametrize("damage", ["cut", "flipped", "text", "gone"])
def test_damaged_tensors(tmp_path: Path, source: FakeSource, damage: str) -> None:
    bundle = bundle_with(tmp_path / "b", index(), tensors(source))
    path = bundle.root / GOLDEN_TENSORS
    whole = path.read_bytes()
    contents = {
        "cut": whole[: len(whole) // 2],
        "flipped": whole[:20] + bytes([whole[20] ^ 255]) + whole[21:],
        "text": b"no tensors",
    }
    path.unlink()
    if damage in contents:
        path.write_bytes(contents[damage])
    with pytest.raises(BundleError, match="cannot be read") as caught:
        read_goldens(bundle.root)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (b"", "Invalid JSON"),
        (b"[]", "Input should be an object"),
        (b'{"texts": 3}', "texts: Input should be a valid"),
        (b"\xff\xfe", "Invalid JSON"),
        (b'{"texts": [0' + b",0" * MAX_VALUES + b"]}", f"it holds more than {MAX_VALUES} values"),
    ],
)
def test_a_damaged_index(tmp_path: Path, source: FakeSource, damage: bytes, told: str) -> None:
    bundle = bundle_with(tmp_path / "b", index(), tensors(source))
    (bundle.root / GOLDEN_INDEX).write_bytes(damage)
    with pytest.raises(BundleError, match=f"cannot be read: {told}") as caught:
        read_goldens(bundle.root)
    assert len(str(caught.value)) < 600
    assert str(caught.value).isprintable()


def test_a_check_in_json() -> None:
    check = Check(name="a", error=float("inf"), bound=0.1)
    assert json.loads(check.model_dump_json()) == {
        "name": "a",
        "error": None,
        "bound": 0.1,
        "passed": False,
    }
    assert check.model_dump(mode="json")["error"] is None
