"""The names a user may rely on, and how the methods take their arguments."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
from hatchling.metadata.core import ProjectMetadata
from hatchling.plugin.manager import PluginManager

import samclip_sdk
from samclip_sdk import client, errors

PUBLIC = samclip_sdk.__all__
NAMES = """
BundleError Classification Frame ImageEmbedding ImageError ImageSource Instance Instances LabelProb
LabelQuality LearnReport LearnedLabel Mask Masks NamedMask NamedMasks PreparedImage PromptError
Reading RuntimeMissingError SamClip SamClipError SamClipWarning TextError TextMask TextMasks
TrackedInstance TrackedInstances VideoSource
"""
ALIASES = {"ImageSource", "VideoSource"}
SIGNATURES = {
    "load": (
        "(name='auto', /, *, model=None, precision=None, device=None, providers=(), "
        "compute_units='all', threads=0, revision=None, cache_dir=None, local_files_only=False, "
        "token=None, text_cache=True, bgr=False, public_key=None, on_progress=None)"
    ),
    "runtime": "",
    "precision": "",
    "close": "(self)",
    "prepare_image": "(self, image)",
    "encode_image": "(self, image)",
    "classify": "(self, image, labels)",
    "segment": (
        "(self, image, *, points=None, point_labels=None, boxes=None, mask_input=None, "
        "multimask_output=None, mask_threshold=None)"
    ),
    "segment_text": (
        "(self, image, labels, *, threshold=None, allow_unknown=False, mask_threshold=None, "
        "points_per_class=None, refine=True, exclusive=False, return_soft_masks=False, "
        "tiles=None, tile_overlap=None)"
    ),
    "segment_instances": (
        "(self, image, labels, *, threshold=None, allow_unknown=False, mask_threshold=None, "
        "points_per_class=None, max_instances=50, min_score=None, exclusive=False, tiles=None, "
        "tile_overlap=None)"
    ),
    "segment_everything": (
        "(self, image, labels=None, *, allow_unknown=False, points_per_side=None, "
        "pred_iou_thresh=None, stability_score_thresh=None, stability_score_offset=1.0, "
        "box_nms_thresh=0.7, tiles=None, tile_overlap=None)"
    ),
    "stream": (
        "(self, source, labels, *, threshold=None, allow_unknown=False, mask_threshold=None, "
        "max_instances=50, min_score=None, encode_every=1, tiles=None, tile_overlap=None)"
    ),
    "words": "",
    "nearest_words": "(self, label, *, count=3)",
    "read_labels": "(self, labels)",
    "embed_text": "(self, texts)",
    "embed_labels": "(self, labels)",
    "embed_image": "(self, image)",
    "embed_region": "(self, image, *, box=None, mask=None, point=None)",
    "learn_label": "(self, label, positives, *, negatives=(), score=0.95, threshold=None)",
    "learn_coco": (
        "(self, path, *, images, labels=None, held_out=0.2, seed=0, score=0.95, on_progress=None)"
    ),
    "label_digests": "(self, labels)",
    "label_thresholds": "(self, labels)",
    "save_vocabulary": "(self, path, labels)",
    "load_vocabulary": "(self, path)",
}


def test_names_are_those_of_what_they_name() -> None:
    """The page of the reference has each of them: see tests/docs."""
    assert sorted(PUBLIC) == list(PUBLIC)
    for name in set(PUBLIC) - ALIASES:
        assert getattr(samclip_sdk, name).__name__ == name


def test_every_error_and_warning_is_one_of_two() -> None:
    """A caller who catches these has caught all; the front door has those of every verb."""
    classes = {name: each for name, each in vars(errors).items() if isinstance(each, type)}
    assert len(classes) > 10
    for name, each in classes.items():
        assert getattr(samclip_sdk, name, each) is each
        assert issubclass(each, (errors.SamClipError, errors.SamClipWarning))


def test_what_a_method_takes_or_returns_is_public() -> None:
    """So that whoever calls it can annotate with names of the front door."""
    known = {name: getattr(samclip_sdk, name) for name in PUBLIC}
    found = set()
    for name in SIGNATURES:
        method = getattr(samclip_sdk.SamClip, name)
        for annotation in getattr(method, "__annotations__", {}).values():
            found |= set(re.findall(r"\b(?!None\b)[A-Z]\w+", _unfolded(str(annotation))))
    elsewhere = {"Sequence", "Iterator", "Generator", "Iterable", "PathLike", "ArrayLike", "Array"}
    elsewhere |= {"OnProgress", "BaseException", "TracebackType"}
    assert found - elsewhere <= set(known)
    assert {"ImageSource", "ImageEmbedding", "TextMasks", "Instances"} <= found


def _unfolded(annotation: str) -> str:
    """An annotation with its module's own aliases replaced by what they stand for."""
    for alias in ("Labels", "AnyImage"):
        annotation = re.sub(rf"\b{alias}\b", str(getattr(client, alias)), annotation)
    return annotation


def test_a_package_has_the_version_of_the_code() -> None:
    """It is written once, in the code, so that a checkout that is not installed knows it too."""
    root = str(Path(__file__).parents[1])
    assert ProjectMetadata(root, PluginManager()).version == samclip_sdk.__version__


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures_are_pinned(name: str) -> None:
    if isinstance(getattr(samclip_sdk.SamClip, name), property):
        assert SIGNATURES[name] == ""
        return
    signature = inspect.signature(getattr(samclip_sdk.SamClip, name))
    bare = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for parameter in signature.parameters.values()
    ]
    found = signature.replace(parameters=bare, return_annotation=inspect.Signature.empty)
    assert str(found) == SIGNATURES[name]


def test_no_method_is_unpinned() -> None:
    methods = {name for name in dir(samclip_sdk.SamClip) if not name.startswith("_")}
    assert methods == set(SIGNATURES)


def test_the_names_are_pinned_and_the_package_is_typed() -> None:
    assert sorted(PUBLIC) == NAMES.split()
    assert Path(samclip_sdk.__file__).with_name("py.typed").exists()
