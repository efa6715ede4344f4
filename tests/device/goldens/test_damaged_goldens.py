"""Goldens that are damaged, or of another bundle, are refused in one line that says why."""

from __future__ import annotations

import json
from collections.abc import Callable
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
from samclip_sdk.image.frame import letterbox
from samclip_sdk.system.records import MAX_VALUES
from samclip_sdk.text.tokenizer import Tokenizer
from tests.example_bundle import contents, manifest, put, stored, write_files
from tests.fake_source import FakeSource, sample_image
from tests.refusals import refused

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
"""Of the fake image, and of what it covers at 64 px."""


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
                "output": {"tensor": "image@64", "step": 1},
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
    square, _ = letterbox(sample_image(), resolution=64, pad_colour=(124, 116, 104))
    return {
        "picture": sample_image(),
        "image@64": square,
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


def bundle_with(
    folder: Path, goldens: dict[str, Any], arrays: dict[str, Any], *, tokenizer: bytes = b"{}"
) -> Bundle:
    """An example bundle whose manifest lists these goldens, and a tokenizer."""
    files = {GOLDEN_INDEX: json.dumps(goldens).encode(), GOLDEN_TENSORS: pack(arrays)}
    content = manifest()
    files["tokenizer.json"] = tokenizer
    content["files"] = [stored(path, data) for path, data in files.items()]
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


Change = Callable[[dict[str, Any], dict[str, Any]], object]


def change(*keys: Any, value: object) -> Change:
    """Of the index."""
    return lambda goldens, arrays: put(goldens, value, *keys)


def tensor(name: str, value: np.ndarray | None) -> Change:
    """Another tensor of a name, or none."""
    return lambda goldens, arrays: (
        arrays.pop(name) if value is None else arrays.update({name: value})
    )


TEXTS = np.zeros((1, 256), np.float32)
FIRST = ("graphs", 0)


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        *((tensor("texts", TEXTS + value), "infinity") for value in (np.nan, np.inf, -np.inf)),
        (tensor("texts", np.ones(3, dtype=bool)), "no tensor texts"),
        *((tensor(key, None), f"no tensor {key}") for key in ("texts", "picture", "ids")),
        (change(*FIRST, "inputs", value={"image": "picture"}), "text_encoder"),
        (change(*FIRST, "inputs", value={"input_ids": "picture"}), "uint8"),
        (change(*FIRST, "outputs", value={"masks": expected("texts")}), "masks"),
        (change("letterbox", 0, "resolution", value=2**40), str(2**40)),
    ],
)
def test_goldens_that_cannot_be_of_the_bundle(
    tmp_path: Path, source: FakeSource, damage: Change, word: str
) -> None:
    goldens, arrays = index(), tensors(source)
    damage(goldens, arrays)
    bundle = bundle_with(tmp_path / "b", goldens, arrays)
    refused(lambda: checks(bundle, source), BundleError, word)


def test_a_bound_that_is_not_finite_in_the_index() -> None:
    goldens = json.dumps(index()).replace('"max_error": 0.01', '"max_error": Infinity')
    refused(lambda: GoldenIndex.model_validate_json(goldens), ValueError, "finite")


@pytest.mark.parametrize("key", ["image@64", "texts"])
def test_an_output_of_another_shape_fails(tmp_path: Path, source: FakeSource, key: str) -> None:
    arrays = tensors(source)
    arrays[key] = arrays[key][..., 1:]
    found = checks(bundle_with(tmp_path / "b", index(), arrays), source)
    assert [each.error for each in found if not each.passed] == [np.inf]


def of_texts(folder: Path, source: FakeSource, texts: list[dict[str, Any]]) -> list[float | None]:
    """The errors of the cleaned texts and of their ids."""
    tokenizer = source.tokenizer_path.read_bytes()
    bundle = bundle_with(folder, EMPTY | {"texts": texts}, tensors(source), tokenizer=tokenizer)
    return [each.error for each in checks(bundle, source)]


def test_texts_and_ids_that_are_others_fail(tmp_path: Path, source: FakeSource) -> None:
    """As are ids that are too many, or too large."""
    texts = [{"text": "dog", "cleaned": "dog", "input_ids": each} for each in ([1] * 100, [2**40])]
    assert of_texts(tmp_path / "a", source, texts) == [0, 2]
    ids = Tokenizer(source.tokenizer_path, context_length=77)(["A  Dog"])[0]
    told = {"text": "A  Dog", "cleaned": "a  dog", "input_ids": ids[ids > 0].tolist()}
    assert of_texts(tmp_path / "b", source, [told]) == [1, 0]


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        (GOLDEN_TENSORS, None, "No such file"),
        (GOLDEN_TENSORS, b"no tensors", ""),
        (GOLDEN_INDEX, b"\xff\xfe", "JSON"),
        (GOLDEN_INDEX, b'{"texts": 3}', "texts"),
        (GOLDEN_INDEX, b'{"texts": [0' + b",0" * MAX_VALUES + b"]}", str(MAX_VALUES)),
    ],
)
def test_a_damaged_file(
    tmp_path: Path, source: FakeSource, name: str, content: bytes | None, word: str
) -> None:
    bundle = bundle_with(tmp_path / "b", index(), tensors(source))
    path = bundle.root / name
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    error = refused(lambda: read_goldens(bundle.root), BundleError, "cannot be read", word)
    assert len(str(error)) < 600
    assert str(error).isprintable()


def test_a_report_is_json_even_where_an_output_is_not_a_number() -> None:
    check = Check(name="a", error=float("inf"), bound=0.1)
    assert json.loads(check.model_dump_json()) == {
        "name": "a",
        "error": None,
        "bound": 0.1,
        "passed": False,
    }
