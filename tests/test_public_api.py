"""The names a user may rely on, and how the methods take their arguments."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

import samclip_sdk

PUBLIC = [
    "BundleError",
    "Classification",
    "EmbeddingMismatchError",
    "ImageEmbedding",
    "ImageError",
    "Masks",
    "PromptError",
    "RuntimeMissingError",
    "SamClip",
    "SamClipError",
    "SamClipWarning",
    "StorageError",
    "TextError",
    "TextMasks",
    "TextTruncatedWarning",
    "UnverifiedArtifactWarning",
    "VerificationError",
]
SIGNATURES = {
    "load": (
        "(runtime='auto', *, model='samclip-tiny', precision=None, providers=(), "
        "compute_units='all', threads=0, on_progress=None)"
    ),
    "close": "(self)",
    "prepare_image": "(self, image)",
    "encode_image": "(self, image)",
    "classify": "(self, image, labels)",
    "segment": (
        "(self, image, *, points=None, labels=None, boxes=None, mask_input=None, "
        "multimask_output=True, mask_threshold=None)"
    ),
    "segment_text": (
        "(self, image, labels, *, threshold=None, mask_threshold=None, points_per_class=3, "
        "refine=True, seed=0)"
    ),
    "embed_text": "(self, texts)",
    "embed_image": "(self, image)",
    "save_vocabulary": "(self, path, labels)",
    "load_vocabulary": "(self, path)",
}


def test_names_are_pinned() -> None:
    assert samclip_sdk.__all__ == PUBLIC
    for name in PUBLIC:
        assert getattr(samclip_sdk, name).__name__ == name


def test_errors_and_warnings_have_one_root() -> None:
    for name in PUBLIC:
        if name.endswith("Error"):
            assert issubclass(getattr(samclip_sdk, name), samclip_sdk.SamClipError)
        if name.endswith("Warning"):
            assert issubclass(getattr(samclip_sdk, name), samclip_sdk.SamClipWarning)


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures_are_pinned(name: str) -> None:
    signature = inspect.signature(getattr(samclip_sdk.SamClip, name))
    bare = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for parameter in signature.parameters.values()
    ]
    found = signature.replace(parameters=bare, return_annotation=inspect.Signature.empty)
    assert str(found) == SIGNATURES[name]


def test_no_method_is_unpinned() -> None:
    methods = {name for name in vars(samclip_sdk.SamClip) if not name.startswith("_")}
    assert methods == set(SIGNATURES)


def test_the_front_door_is_short_and_the_package_is_typed() -> None:
    front = Path(samclip_sdk.__file__)
    assert front.read_text(encoding="utf-8").count("\n") <= 40
    assert front.with_name("py.typed").exists()
