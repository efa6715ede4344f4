"""Every peer's own code, on architectures so small that a picture takes a moment."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import open_clip
import pytest
import torch
from segment_anything import sam_model_registry
from segment_anything.modeling import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)

from benchmarks.speed.peers import forced, plain_onnx, sam_onnx, sam_openclip
from benchmarks.speed.peers.sam_onnx import SamOnnx
from benchmarks.speed.peers.sam_openclip import SamOpenClip
from benchmarks.speed.peers.small import ClipSeg, MobileSam
from benchmarks.speed.subject import WORKLOADS, Opened, Worker, noise_picture
from samclip_sdk.system.packages import package_version

ROOT = Path(__file__).parents[3]
SIZE = (683, 1024)
SMALL_CLIP = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 8, "vocab_size": 100, "width": 32, "heads": 2, "layers": 1},
}
SMALL_CLIPSEG: dict[str, Any] = {
    "projection_dim": 16,
    "reduce_dim": 8,
    "extract_layers": [0, 1],
    "decoder_num_attention_heads": 2,
    "decoder_intermediate_size": 16,
    "vision_config": {
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "image_size": 64,
        "patch_size": 16,
    },
    "text_config": {
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 64,
    },
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


def needs(module: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(find_spec(module) is None, reason=f"optional: {module}")


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


def test_positions_are_drawn_that_segment_anything_leaves_at_zero() -> None:
    plain, drawn = build_small_sam().image_encoder, sam_openclip.build_sam("small").image_encoder
    for name, parameter in plain.named_parameters():
        if "pos" in name:
            assert not parameter.any()
            assert drawn.get_parameter(name).std() == pytest.approx(0.02, rel=0.3)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_two_models_in_torch(
    precision: Any, small_clip: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, torch.dtype]] = []
    encoded: list[torch.dtype] = []
    load, build = sam_openclip.load_clip, sam_openclip.build_sam

    def watched_clip(*arguments: Any, **options: Any) -> Any:
        clip, preprocess = load(*arguments, **options)
        clip.visual.register_forward_pre_hook(
            lambda _m, given: seen.append((len(given[0]), given[0].dtype))
        )
        return clip, preprocess

    def watched_sam(name: str) -> Any:
        sam = build(name)
        sam.image_encoder.blocks[0].register_forward_pre_hook(
            lambda _m, given: encoded.append(given[0].dtype)
        )
        return sam

    monkeypatch.setattr(sam_openclip, "load_clip", watched_clip)
    monkeypatch.setattr(sam_openclip, "build_sam", watched_sam)
    opened = SamOpenClip(clip=small_clip, precision=precision, **FORCED).open()
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    check_contract(opened, skills=FOUR)
    assert opened.precision == precision
    assert not seen
    assert not encoded

    opened.workloads["encode"]()
    assert not seen
    answers: Any = {name: opened.workloads[name]() for name in ("point", "classify", "text3")}
    assert seen == [(1, dtype), (5, dtype)]
    assert encoded == [dtype]
    assert answers["point"].shape == (1, *SIZE)
    assert answers["text3"].shape == (3, *SIZE)
    assert answers["text3"].any()
    assert answers["classify"].shape == (1000,)
    assert answers["classify"].sum() == pytest.approx(1, abs=1e-4)

    opened.workloads["encode"]()
    assert encoded == [dtype] * 2
    assert opened.adds_up


def test_bf16_takes_half_the_bytes(small_clip: str) -> None:
    whole, half = (
        SamOpenClip(clip=small_clip, precision=precision, **FORCED).open().artifact_bytes
        for precision in ("fp32", "bf16")
    )
    assert 0.5 < half / whole < 0.6  # SAM's decoder stays as it is


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


def test_arena_is_an_option(small_clip: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arenas = []
    session = onnxruntime.InferenceSession

    def watched(path: Path, options: Any, **others: Any) -> Any:
        arenas.append(options.enable_cpu_mem_arena)
        return session(path, options, **others)

    monkeypatch.setattr(onnxruntime, "InferenceSession", watched)
    subjects = [SamOnnx(clip=small_clip, cache=cache, arena=on, **FORCED) for on in (True, False)]
    for subject in subjects:
        subject.open()
    assert arenas == [True] * 3 + [False] * 3
    assert len({subject.key for subject in subjects}) == 2


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


def test_export_is_made_by_another_process(
    small_clip: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = []

    def child(command: list[str], **_options: Any) -> subprocess.CompletedProcess[str]:
        assert command[:3] == [sys.executable, "-m", plain_onnx.__name__]
        orders.append(command[3:])
        sam, clip, folder = command[3:]
        plain_onnx.export(sam, clip, folder=Path(folder))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(sam_onnx.subprocess, "run", child)
    paths = sam_onnx.exported("small", small_clip, cache=tmp_path)
    assert set(paths) == set(sam_onnx.GRAPHS)
    assert all(path.is_file() for path in paths.values())
    assert sam_onnx.exported("small", small_clip, cache=tmp_path) == paths
    assert len(orders) == 1
    other = sam_onnx.export_folder("vit_b", small_clip, cache=tmp_path)
    assert other not in {path.parent for path in paths.values()}


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


@needs("mobile_sam")
def test_mobile_sam_has_points_alone() -> None:
    opened = MobileSam().open()
    check_contract(opened, skills={"encode", "point"})
    opened.workloads["encode"]()
    mask: Any = opened.workloads["point"]()
    assert mask.shape == (1, *SIZE)
    assert mask.dtype == bool


@needs("transformers")
def test_clipseg_has_text_and_classes() -> None:
    from transformers import CLIPSegConfig, CLIPSegForImageSegmentation, ViTImageProcessor

    opened = ClipSeg(size_px=64, config=SMALL_CLIPSEG).open()
    check_contract(opened, skills={"encode", "classify", "text3", "picture_to_masks"})
    opened.workloads["encode"]()
    masks: Any = opened.workloads["text3"]()
    assert masks.shape == (3, *SIZE)
    assert np.array_equal(opened.workloads["picture_to_masks"](), masks)
    probabilities: Any = opened.workloads["classify"]()
    assert probabilities.sum() == pytest.approx(1, abs=1e-4)

    # The package's own forward, which encodes the picture for each label.
    torch.manual_seed(forced.SEED)
    model = CLIPSegForImageSegmentation(CLIPSegConfig(**SMALL_CLIPSEG)).eval()
    processor = ViTImageProcessor(
        size={"height": 64, "width": 64},
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
    )
    with torch.inference_mode():
        logits = model(
            **processor(images=[noise_picture()] * 3, return_tensors="pt"),
            conditional_embeddings=torch.from_numpy(forced.unit_embeddings(3, width=16)),
        ).logits
        sized = torch.nn.functional.interpolate(logits[:, None], SIZE, mode="bilinear")[:, 0]
    assert ((sized > 0).numpy() != masks).mean() < 1e-3
    assert 0 < masks.mean() < 1


@needs("ultralytics")
def test_yoloe_has_text_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process of its own: ultralytics changes OpenCV and torch as it is imported."""
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path))
    code = """
import json, torch
from benchmarks.speed.peers.small import YoloE
threads = torch.get_num_threads()
opened = YoloE(model="yoloe-11n-seg", size_px=64, found=7).open()
masks = [opened.workloads["picture_to_masks"]() for _ in range(2)][1]
shown = [opened.artifact_bytes, opened.notes, list(opened.workloads), masks.shape]
print(json.dumps([*shown, torch.get_num_threads() == threads]))
"""
    artifact_bytes, notes, skills, shape, threads_kept = json.loads(run(code).splitlines()[-1])
    assert artifact_bytes > 0
    assert "random weights" in notes
    assert "AGPL" in notes
    assert skills == ["picture_to_masks"]
    assert shape == [7, *SIZE]
    assert threads_kept


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
