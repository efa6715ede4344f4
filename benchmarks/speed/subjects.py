"""Who can be measured, by name. Nothing is imported before a subject is made."""

from __future__ import annotations

import importlib
import re
from typing import Any

from benchmarks.speed.subject import Subject

_PEERS = "benchmarks.speed.peers"

SUBJECTS: dict[str, tuple[str, dict[str, Any]]] = {
    "samclip": ("benchmarks.speed.sdk_subject:SdkSubject", {}),
    "sam+openclip": (f"{_PEERS}.sam_openclip:SamOpenClip", {}),
    "sam+openclip-l": (f"{_PEERS}.sam_openclip:SamOpenClip", {"clip": "ViT-L-14"}),
    "sam-onnx": (f"{_PEERS}.sam_onnx:SamOnnx", {}),
    "sam-onnx-l": (f"{_PEERS}.sam_onnx:SamOnnx", {"clip": "ViT-L-14"}),
    "mobile-sam": (f"{_PEERS}.mobile_sam:MobileSam", {}),
    "clipseg": (f"{_PEERS}.clipseg:ClipSeg", {}),
    "yoloe": (f"{_PEERS}.yoloe:YoloE", {}),
}
"""Name -> the class, as "module:Class", and its arguments."""

_CLASS = re.compile(r"^[\w.]+:\w+$")


def make_subject(spec: str) -> Subject:
    """Makes a subject.

    Args:
        spec: a name of `SUBJECTS`, or "module:Class", then arguments, each behind a comma:
            "samclip,model=my-bundle,precision=int8,threads=2".

    Raises:
        ValueError: see `check_spec`.
        ImportError: its module cannot be imported.
        TypeError: the class has no such argument.
    """
    name, options = check_spec(spec)
    path, arguments = SUBJECTS.get(name, (name, {}))
    module, _, attribute = path.partition(":")
    subject: Subject = getattr(importlib.import_module(module), attribute)(**arguments | options)
    return subject


def check_spec(spec: str) -> tuple[str, dict[str, Any]]:
    """Takes a spec apart, without importing anything: its name, and the arguments that it gives.

    Raises:
        ValueError: there is no such subject, or an argument is not NAME=VALUE.
    """
    name, *parts = spec.split(",")
    if name not in SUBJECTS and not _CLASS.match(name):
        raise ValueError(
            f"there is no subject {name!r}: use {', '.join(SUBJECTS)}, or module:Class"
        )
    options = {}
    for part in parts:
        key, equals, value = part.partition("=")
        if not equals or not key.isidentifier():
            raise ValueError(f"{part!r} of the subject {spec!r} is not NAME=VALUE")
        options[key] = _parse(value)
    return name, options


def _parse(value: str) -> str | int | bool:
    if value in ("true", "false"):
        return value == "true"
    return int(value) if value.isdecimal() else value
