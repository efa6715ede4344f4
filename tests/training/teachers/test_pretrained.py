"""The paper's teachers answer as their own packages do."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import open_clip
import pytest
import torch
from PIL import Image
from torchvision.transforms.functional import pil_to_tensor

from samclip_sdk.modeling.build import build_model
from samclip_sdk.modeling.checkpoint import load_text_encoder
from samclip_sdk.modeling.config import ClipTextConfig, MaskDecoderConfig
from tests.parity.reference import (
    build_clip,
    build_sam,
    convert,
    random_image,
    relative_error,
    small_config,
)
from tests.tiny_config import SMALL_TINY_VIT, STUDENT
from training.errors import TrainingError
from training.teacher_config import FoundationTeachers
from training.teachers.pretrained import (
    OpenClip,
    SegmentAnything,
    load_mobile_sam,
    load_open_clip,
    load_segment_anything,
)
from training.teachers.small import SmallSam
from training.teachers.teacher_pair import FoundationPair

CONFIG = small_config(
    image_size_px=128, mask_decoder=MaskDecoderConfig(embed_dim=64, num_heads=4, mlp_dim=64)
)
MOBILE_SAM_CONFIG = STUDENT.model_copy(
    update={
        "image_encoder": SMALL_TINY_VIT,
        "text_encoder": STUDENT.text_encoder.model_copy(update={"embedding_width": 32}),
    }
)
# Two images, three prompts each: two points, a box, a box with a point; a point, twice a box.
COORDS = torch.tensor(
    [
        [[9, 17], [40, 100], [0, 0]],
        [[8, 8], [90, 64], [0, 0]],
        [[33, 30], [20, 20], [70, 80]],
        [[120, 3], [0, 0], [0, 0]],
        [[8, 8], [90, 64], [0, 0]],
        [[1, 2], [30, 40], [0, 0]],
    ],
    dtype=torch.float32,
)
LABELS = torch.tensor(
    [[1, 0, -1], [2, 3, -2], [1, 2, 3], [1, -1, -2], [2, 3, -2], [2, 3, -2]], dtype=torch.int32
)


@pytest.mark.parametrize("with_mask", [False, True])
def test_segment_anything_answers_as_our_copy_of_it(with_mask: bool) -> None:
    sam = build_sam(CONFIG, seed=0)
    ours = SmallSam(convert(CONFIG, sam=sam, clip=build_clip(CONFIG, seed=1)))
    theirs = SegmentAnything(sam)
    images = torch.cat([random_image(128, seed=seed) for seed in (2, 3)])
    mask_input = 5 * torch.randn(6, 1, 32, 32) if with_mask else None
    with torch.inference_mode():
        expected = ours.decode(ours.encode(images), COORDS, LABELS, mask_input)
        actual = theirs.decode(theirs.encode(images), COORDS, LABELS, mask_input)
    for one, other in zip(actual, expected, strict=True):
        assert relative_error(one, other) < 1e-4


@pytest.mark.parametrize("whose", ["theirs", "ours"])
def test_half_precision_leaves_prompts_exact(whose: str) -> None:
    """A pixel more must still show: as half-precision features, it is lost in the noise."""
    sam = build_sam(CONFIG, seed=0)
    teacher = (
        SegmentAnything(sam)
        if whose == "theirs"
        else SmallSam(convert(CONFIG, sam=sam, clip=build_clip(CONFIG, seed=1)))
    )
    decoded: list[torch.Tensor] = []
    decoder = teacher.model.mask_decoder if whose == "theirs" else teacher.mask_decoder
    hooked = decoder.transformer.register_forward_pre_hook(
        lambda _, given: decoded.extend(given[1:3])  # positions of the image, and tokens
    )
    embeddings = torch.randn(2, 64, 8, 8)
    with torch.inference_mode():
        teacher.decode(embeddings, COORDS, LABELS, None)
        exact, decoded = decoded, []
        with torch.autocast("cpu", torch.bfloat16):
            teacher.decode(embeddings, COORDS, LABELS, None)
    hooked.remove()
    assert exact
    for one, other in zip(decoded, exact, strict=True):
        assert one.dtype == torch.float32
        assert torch.equal(one, other)


def test_an_image_tower_of_timms_and_its_text_tower_are_read(tmp_path: Path) -> None:
    """The Perception Encoder, in its smallest shape."""
    sizes = {
        "embed_dim": 32,
        "vision_cfg": {
            "timm_model_name": "vit_pe_core_tiny_patch16_384",
            "timm_pool": "map",
            "timm_proj": None,
            "image_size": 384,
        },
        "text_cfg": {"context_length": 8, "width": 32, "heads": 2, "layers": 1},
        "custom_text": True,
    }
    (tmp_path / "perception-test.json").write_text(json.dumps(sizes))
    open_clip.add_model_config(tmp_path / "perception-test.json")
    clip = open_clip.create_model("perception-test").eval()
    teacher = OpenClip(clip)
    assert (teacher.resolution, teacher.embed_dim) == (384, 32)
    assert teacher.embed_images(torch.zeros(1, 3, 48, 48, dtype=torch.uint8)).shape == (1, 32)
    text_encoder = ClipTextConfig(
        context_length=8, width=32, num_heads=2, depth=1, embedding_width=32
    )
    config = CONFIG.model_copy(update={"text_encoder": text_encoder, "embed_dim": 32})
    student = build_model(config).eval()
    load_text_encoder(student, clip)
    ids = open_clip.tokenize(["a dog", "two cats"], context_length=8)
    with torch.inference_mode():
        expected = clip.encode_text(ids, normalize=True)
        assert relative_error(student.text_encoder(ids.int()), expected) < 1e-5


def test_open_clip_embeds_as_its_own_preprocessing_has_it() -> None:
    torch.manual_seed(0)
    model, _, preprocess = open_clip.create_model_and_transforms("RN50", force_image_size=64)
    teacher = OpenClip(model.eval())
    assert teacher.resolution == 64
    photo = Image.effect_noise((96, 96), 90).convert("RGB")
    with torch.inference_mode():
        expected = model.encode_image(preprocess(photo)[None], normalize=True)
        actual = teacher.embed_images(pil_to_tensor(photo)[None])
    # Pillow rounds to whole levels after its resize; torch does not.
    assert (actual * expected).sum() > 0.999
    side = photo.resize((64, 64), Image.Resampling.BICUBIC)
    with torch.inference_mode():
        exact = model.encode_image(preprocess(side)[None], normalize=True)
        assert relative_error(teacher.embed_images(pil_to_tensor(side)[None]), exact) < 1e-5


def test_mobile_sams_checkpoint_is_read_with_its_unused_classifier(tmp_path: Path) -> None:
    state = {
        name: 0.1 + tensor if tensor.is_floating_point() else tensor
        for name, tensor in SmallSam(build_model(MOBILE_SAM_CONFIG, seed=3)).state_dict().items()
    }
    file = {"image_encoder.head.weight": torch.zeros(1000, 32)} | state
    file.pop("mask_decoder.pe_layer.positional_encoding_gaussian_matrix")
    torch.save(file, tmp_path / "mobile_sam.pt")
    teacher = load_mobile_sam(MOBILE_SAM_CONFIG, tmp_path / "mobile_sam.pt")
    assert not teacher.training
    assert not any(each.requires_grad for each in teacher.parameters())
    for name, tensor in teacher.state_dict().items():
        assert torch.equal(tensor, state[name]), name
    pair = FoundationPair(
        MOBILE_SAM_CONFIG,
        FoundationTeachers(
            kind="foundation",
            clip="x",
            pretrained="x",
            sam="vit_t",
            sam_checkpoint=tmp_path / "mobile_sam.pt",
        ),
    )
    assert isinstance(pair.sam, SmallSam)
    assert pair.licences()["sam"] == "Apache-2.0"
    pair.__dict__["clip"] = SimpleNamespace(model=build_clip(MOBILE_SAM_CONFIG, seed=1))
    born = SmallSam(pair.stage0(seed=0)).state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in born.items())


@pytest.mark.parametrize(
    ("load", "told"),
    [
        (lambda folder: load_open_clip("RN50", str(folder / "other.pt")), "other.pt"),
        (lambda folder: load_segment_anything("vit_x", folder), "'vit_x'"),
        (lambda folder: load_segment_anything("vit_b", folder / "none.pt"), "none.pt"),
        (lambda folder: load_segment_anything("vit_b", folder / "other.pt"), "other.pt"),
        (lambda folder: load_mobile_sam(MOBILE_SAM_CONFIG, folder / "none.pt"), "none.pt"),
        (lambda folder: load_mobile_sam(MOBILE_SAM_CONFIG, folder / "other.pt"), "other.pt"),
    ],
)
def test_what_cannot_be_loaded_is_named(
    tmp_path: Path, load: Callable[[Path], object], told: str
) -> None:
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pt")
    with pytest.raises(TrainingError, match=re.escape(told)):
        load(tmp_path)
