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
from training.tasks.part import MODULES
from training.teachers.text_encoder_file import make_tokenizer, save_text_encoder

DEEPER = TINY_BERT.model_copy(update={"depth": 2})
STUDENT = PYRAMID_STUDENT.model_copy(update={"text_encoder": TINY_BERT})


def write_text_encoder(folder: Path, *, embed_dim: int = STUDENT.embed_dim) -> None:
    make_tokenizer(folder, DEEPER, texts=["a cat"])
    encoder = BertTextEncoder(DEEPER, embed_dim=embed_dim)
    save_text_encoder(encoder, folder, config=DEEPER, provenance={"stage": "text_encoder"})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a student, and what was trained after it: a text encoder, and two parts."""
    told = {"stage": "joint"}
    save_checkpoint(build_model(STUDENT, seed=0), tmp_path / "student", provenance=told)
    make_tokenizer(tmp_path / "student", TINY_BERT, texts=["a dog"])
    write_text_encoder(tmp_path / "text_encoder")
    for seed, part in enumerate(MODULES, start=2):
        told = {"stage": "more", "settings": {"part": part}, "starts_from": {"stage": "joint"}}
        save_checkpoint(build_model(STUDENT, seed=seed), tmp_path / part, provenance=told)
    return tmp_path


@pytest.mark.parametrize("named", [False, True], ids=["alone", "named"])
def test_a_copy_has_the_parts_that_are_named(folder: Path, *, named: bool) -> None:
    expected = load_checkpoint(folder / "student").state_dict()
    if named:
        texts = load_file(folder / "text_encoder" / "model.safetensors")
        expected |= {f"text_encoder.{key}": x for key, x in texts.items()}
        expected = {
            key: x
            for key, x in expected.items()
            if not key.startswith("text_encoder.") or key.removeprefix("text_encoder.") in texts
        }
        for part, modules in MODULES.items():
            state = load_checkpoint(folder / part).state_dict()
            prefixes = tuple(f"{module}." for module in modules)
            expected |= {key: x for key, x in state.items() if key.startswith(prefixes)}
    out = folder / "out"
    out.mkdir()
    (out / "calibration.json").write_text("{}")
    publish(
        folder / "student",
        out,
        text_encoder=folder / "text_encoder" if named else None,
        parts=[folder / part for part in MODULES] if named else (),
    )
    assert not (out / "calibration.json").exists(), "it was of other weights"
    found = load_checkpoint(out).state_dict()
    assert found.keys() == expected.keys()
    for key, x in expected.items():
        wanted = x.half().float() if x.is_floating_point() else x
        assert torch.equal(found[key], wanted), key
    told = {part: {"stage": "more", "settings": {"part": part}} for part in MODULES}
    told["text_encoder"] = {"stage": "text_encoder"}
    assert read_provenance(out) == {"stage": "joint"} | (told if named else {})
    sizes = [(folder / each / "model.safetensors").stat().st_size for each in ("out", "student")]
    assert named or sizes[0] < 0.6 * sizes[1]
    own = folder / ("text_encoder" if named else "student") / "tokenizer.json"
    assert (out / "tokenizer.json").read_bytes() == own.read_bytes()


def test_parts_that_do_not_fit_are_refused(folder: Path) -> None:
    def ask(part: str, *told: object) -> None:
        named = {"text_encoder": folder / part} if part == "text_encoder" else {}
        parts = [] if named else [folder / part]
        refused(
            lambda: publish(folder / "student", folder / "out", parts=parts, **named),
            TrainingError,
            *told,
        )

    narrow = STUDENT.embed_dim // 2
    write_text_encoder(folder / "text_encoder", embed_dim=narrow)
    ask("text_encoder", narrow)
    (folder / "text_encoder" / "config.json").write_text('{"provenance": {}}')
    ask("text_encoder", "text_encoder, embed_dim")
    (folder / "text_encoder" / "config.json").write_text("{")
    ask("text_encoder", folder / "text_encoder" / "config.json")
    told = read_provenance(folder / "prompts")
    save_checkpoint(build_model(TINY), folder / "prompts", provenance=told)
    ask("prompts", folder / "prompts")
    ask("student", folder / "student", "joint")
    assert not (folder / "out").exists()
