"""What is published: copies in fp16, with the parts of others where they are named."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from samclip_sdk.modeling.bert_text_encoder import BertTextEncoder
from samclip_sdk.modeling.build import build_model
from samclip_sdk.modeling.checkpoint import load_checkpoint, read_provenance, save_checkpoint
from tests.refusals import refused
from tests.tiny_config import PYRAMID_STUDENT, TINY, TINY_BERT
from training.errors import TrainingError
from training.stages.publish import publish
from training.teachers.text_encoder_file import make_tokenizer, save_text_encoder

DEEPER = TINY_BERT.model_copy(update={"depth": 2})
STUDENT = PYRAMID_STUDENT.model_copy(update={"text_encoder": TINY_BERT})


def write_text_encoder(folder: Path, *, embed_dim: int = STUDENT.embed_dim) -> None:
    make_tokenizer(folder, DEEPER, texts=["a cat"])
    encoder = BertTextEncoder(DEEPER, embed_dim=embed_dim)
    save_text_encoder(encoder, folder, config=DEEPER, provenance={"stage": "text_encoder"})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a student, and what was trained after it: a text encoder, and another's prompts."""
    told = {"stage": "joint"}
    save_checkpoint(build_model(STUDENT, seed=0), tmp_path / "student", provenance=told)
    make_tokenizer(tmp_path / "student", TINY_BERT, texts=["a dog"])
    write_text_encoder(tmp_path / "text_encoder")
    told = {"stage": "prompts", "starts_from": told}
    save_checkpoint(build_model(STUDENT, seed=2), tmp_path / "prompts", provenance=told)
    return tmp_path


@pytest.mark.parametrize("named", [(), ("text_encoder", "prompts")])
def test_a_copy_has_the_parts_that_are_named(folder: Path, named: tuple[str, ...]) -> None:
    expected, prompts = (
        load_checkpoint(folder / each).state_dict() for each in ("student", "prompts")
    )
    if named:
        texts = load_file(folder / "text_encoder" / "model.safetensors")
        expected = {
            key: prompts[key] if key.startswith(("prompt_encoder.", "mask_decoder.")) else x
            for key, x in expected.items()
            if not key.startswith("text_encoder.")
        } | {f"text_encoder.{key}": x for key, x in texts.items()}
    out = folder / "out"
    out.mkdir()
    (out / "calibration.json").write_text("{}")
    publish(folder / "student", out, **{each: folder / each for each in named})
    assert not (out / "calibration.json").exists(), "it was of other weights"
    found = load_checkpoint(out).state_dict()
    assert found.keys() == expected.keys()
    for key, x in expected.items():
        wanted = x.half().float() if x.is_floating_point() else x
        assert torch.equal(found[key], wanted), key
    assert read_provenance(out) == {"stage": "joint"} | {each: {"stage": each} for each in named}
    sizes = [(folder / each / "model.safetensors").stat().st_size for each in ("out", "student")]
    assert named or sizes[0] < 0.6 * sizes[1]
    own = folder / ("text_encoder" if named else "student") / "tokenizer.json"
    assert (out / "tokenizer.json").read_bytes() == own.read_bytes()


def test_parts_that_do_not_fit_are_refused(folder: Path) -> None:
    def ask(part: str, *told: object) -> None:
        named = {part: folder / part}
        refused(lambda: publish(folder / "student", folder / "out", **named), TrainingError, *told)

    narrow = STUDENT.embed_dim // 2
    write_text_encoder(folder / "text_encoder", embed_dim=narrow)
    ask("text_encoder", narrow)
    (folder / "text_encoder" / "config.json").write_text('{"provenance": {}}')
    ask("text_encoder", "text_encoder, embed_dim")
    (folder / "text_encoder" / "config.json").write_text("{")
    ask("text_encoder", folder / "text_encoder" / "config.json")
    save_checkpoint(build_model(TINY), folder / "prompts", provenance={})
    ask("prompts", folder / "prompts")
    assert not (folder / "out").exists()
