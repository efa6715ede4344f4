"""A small bundle for a hub: of two precisions, with a model card, goldens, and one larger file.

Its graphs compute nothing; it can be loaded, and not run.
"""

from __future__ import annotations

import functools
import hashlib
import json
import random

from tests.example_bundle import contents, manifest, onnx_file, stored

WEIGHTS = "onnx/image_encoder.weights"
CARD = "# example\n\n## Quality\n\n| | % |\n|---|---:|\n| top-1 | 50 |\n"
_WEIGHTS_BYTES = 100_000


@functools.cache
def sample_bundle(revision: str = "1") -> dict[str, bytes]:
    """Path -> bytes of every file.

    Args:
        revision: of the weights, in the manifest.
    """
    files = contents()
    files[WEIGHTS] = random.Random(0).randbytes(_WEIGHTS_BYTES)
    own = {**manifest(), "revision": revision}
    for name, graph in own["graphs"].items():
        first = graph["artifacts"][0]
        path = first["path"].replace(".onnx", ".int8.onnx")
        files[path] = onnx_file(f"int8 {name}")
        if first["weights"]:
            first["weights"] = [stored(WEIGHTS, files[WEIGHTS])]
        second = {**first, **stored(path, files[path]), "precision": "int8", "weights": []}
        graph["artifacts"] = [first, second]
    others = {"README.md": CARD.encode(), "NOTICE": b"notice", "golden/index.json": b"{}"}
    own["files"] = [*own["files"], *(stored(path, each) for path, each in others.items())]
    return {**files, **others, "manifest.json": json.dumps(own).encode()}


def in_repository(files: dict[str, bytes]) -> dict[str, bytes]:
    """The same files as a repository has them."""
    return {f"bundle/{path}": content for path, content in files.items()}


def id_of(files: dict[str, bytes]) -> str:
    """The bundle's id."""
    return hashlib.sha256(files["manifest.json"]).hexdigest()[:16]


def paths_of(precision: str) -> set[str]:
    """What running it in a precision needs, in the repository."""
    own = json.loads(sample_bundle()["manifest.json"])
    artifacts = [
        each
        for graph in own["graphs"].values()
        for each in graph["artifacts"]
        if each["precision"] == precision
    ]
    files = [file["path"] for each in artifacts for file in [each, *each["weights"]]]
    return {f"bundle/{path}" for path in [*files, "tokenizer.json"]}
