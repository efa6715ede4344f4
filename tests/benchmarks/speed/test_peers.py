"""Every peer's own code, on architectures so small that a picture takes a moment."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
from segment_anything import sam_model_registry
from segment_anything.modeling import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)

from benchmarks.speed.peers import forced, plain_onnx, sam_onnx
from benchmarks.speed.peers.sam_onnx import SamOnnx
from benchmarks.speed.peers.sam_openclip import SamOpenClip
from benchmarks.speed.subject import WORKLOADS, Opened, Worker
from samclip_sdk.system.packages import package_version

ROOT = Path(__file__).parents[3]
SIZE = (683, 1024)
SMALL_CLIP = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 8, "vocab_size": 100, "width": 32, "heads": 2, "layers": 1},
}
FORCED = {"sam": "small", "proposals": 5, "points_per_side": 2}
FOUR = set(WORKLOADS) - {"picture_to_masks", "three_ways"}
MODULES = {
    "segment_anything",
    "open_clip",
    "onnxruntime",
    "mobile_sam",
    "transformers",
    "ultralytics",
}


def build_small_sam() -> Sam:
    """As segment-anything builds its own, at 64 px."""
    return Sam(
        image_encoder=ImageEncoderViT(
            img_size=64,
            embed_dim=32,
            depth=2,
            num_heads=2,
            out_chans=32,
            use_rel_pos=True,
            window_size=3,
            global_attn_indexes=(1,),
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=32, image_embedding_size=(4, 4), input_image_size=(64, 64), mask_in_chans=8
        ),
        mask_decoder=MaskDecoder(
            transformer_dim=32,
            transformer=TwoWayTransformer(depth=2, embedding_dim=32, num_heads=2, mlp_dim=64),
            iou_head_hidden_dim=32,
        ),
    )


@pytest.fixture(scope="module", autouse=True)
def small_sam() -> Iterator[None]:
    sam_model_registry["small"] = build_small_sam
    yield
    del sam_model_registry["small"]


@pytest.fixture(scope="module")
def small_clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("clip") / "small-clip.json"
    path.write_text(json.dumps(SMALL_CLIP))
    open_clip.add_model_config(path)
    return path.stem


@pytest.fixture(scope="module")
def cache(small_clip: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that has the small models' export."""
    folder = tmp_path_factory.mktemp("cache")
    plain_onnx.export(
        "small", small_clip, folder=sam_onnx.export_folder("small", small_clip, cache=folder)
    )
    return folder


def check_contract(opened: Opened, *, skills: set[str]) -> None:
    assert set(opened.workloads) == skills <= set(WORKLOADS)
    assert opened.artifact_bytes > 0
    assert all(map(package_version, opened.packages))
    assert "random weights" in opened.notes


def test_plain_onnx_answers_as_torch(small_clip: str, cache: Path) -> None:
    opened = SamOnnx(clip=small_clip, cache=cache, **FORCED).open()
    reference = SamOpenClip(clip=small_clip, **FORCED).open()
    check_contract(opened, skills=FOUR)
    assert opened.adds_up
    files = list(cache.rglob("*.onnx"))
    assert sorted(file.stem for file in files) == sorted(sam_onnx.GRAPHS)
    assert opened.artifact_bytes == sum(file.stat().st_size for file in files)

    answers, expected = (
        {name: workload() for name, workload in each.workloads.items()}
        for each in (opened, reference)
    )
    assert answers["classify"] == pytest.approx(expected["classify"], abs=1e-5)
    for name in ("point", "text3"):
        assert expected[name].any()
        assert (answers[name] != expected[name]).mean() < 1e-4


def test_plain_onnx_needs_neither_torch_nor_the_sdk(small_clip: str, cache: Path) -> None:
    code = f"""
import sys
from benchmarks.speed.peers.sam_onnx import SamOnnx
subject = SamOnnx(clip={small_clip!r}, cache={str(cache)!r}, sam="small", proposals=1)
workloads = subject.open().workloads
workloads["encode"]()
assert workloads["point"]().shape == (1, 683, 1024)
print({{"torch", "samclip_sdk", "segment_anything", "open_clip"}} & set(sys.modules))
"""
    assert run(code) == "set()"


def test_a_failed_export_leaves_nothing(
    small_clip: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def child(command: list[str], **_options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, stderr="no space left")

    monkeypatch.setattr(sam_onnx.subprocess, "run", child)
    with pytest.raises(RuntimeError, match="no space left"):
        sam_onnx.exported("small", small_clip, cache=tmp_path)

    def fail(*_arguments: Any, **_options: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(plain_onnx, "load_clip", fail)
    with pytest.raises(MemoryError):
        plain_onnx.export("small", small_clip, folder=tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_named() -> None:
    """Whatever a peer needs, one extra has it."""
    reason = r"No module named 'absent'; peers need pip install -e '\.\[peers\]'"
    with pytest.raises(ModuleNotFoundError, match=reason):
        Worker().open("absent:Peer")


@pytest.mark.parametrize("make", [SamOpenClip, SamOnnx], ids=lambda make: make.__name__)
def test_more_proposals_than_masks_are_refused(
    make: Callable[..., Any], small_clip: str, cache: Path
) -> None:
    options = {"cache": cache} if make is SamOnnx else {}
    with pytest.raises(ValueError, match="13 proposals cannot be kept: ask for 1 to 12"):
        make(clip=small_clip, sam="small", proposals=13, points_per_side=2, **options)


def test_what_is_forced() -> None:
    assert forced.kept_proposals(3, of=192).tolist() == [0, 95, 191]
    assert forced.crop_box((3.0, 4.0, 3.0, 9.5)) == (3, 4, 4, 9)
    masks = np.array([[[1, 0]], [[0, 1]], [[1, 1]]], bool)
    embeddings = np.array([[1, 0], [0, 1], [0.9, 0.1]], np.float32)
    painted = forced.paint(masks, embeddings, np.array([[1, 0], [0, 1], [-1, 0]], np.float32))
    assert painted.tolist() == [[[True, True]], [[False, True]], [[False, False]]]
    ranked = forced.rank(np.array([1, 0], np.float32), np.array([[0.01, 0], [0, 1]], np.float32))
    assert ranked == pytest.approx([np.e / (np.e + 1), 1 / (np.e + 1)])


def test_nothing_else_imports_the_peers() -> None:
    for folder in ("samclip_sdk", "export", "examples"):
        for path in (ROOT / folder).rglob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            names = {
                name.partition(".")[0]
                for node in ast.walk(tree)
                if isinstance(node, (ast.Import, ast.ImportFrom))
                for name in [
                    *(alias.name for alias in node.names),
                    getattr(node, "module", None) or "",
                ]
            }
            assert not names & (MODULES - {"onnxruntime", "open_clip"}), path


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
