"""`pytest -p tests.wheel_only`: tests of what other versions of Python and of packages may break.

They are what `make test-lowest` and `make test-py313` run, of `SMOKE`, with no more than the wheel
and onnxruntime. A module is left out if it, or a helper that it imports, imports the torch model,
another folder of the checkout, or a package of an extra; a test, if a fixture exports a model.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

from tests.source_tree import ROOT, imported_names, parse

PACKAGES = frozenset(
    {
        *("torch", "torchvision", "timm", "open_clip", "segment_anything", "lightning_fabric"),
        *("onnx", "onnx_ir", "openvino", "coremltools", "tensorrt_rtx", "supervision", "ray"),
        *("ai_edge_litert", "flatbuffers", "executorch"),
        *("huggingface_hub", "fsspec", "pyarrow", "cryptography", "pillow_heif"),
        *("fastapi", "starlette", "uvicorn", "h11", "python_multipart", "prometheus_client"),
        *("httpx", "schemathesis"),
        *("export", "training", "benchmarks", "examples", "mkdocs"),
    }
)
MODULES = frozenset(
    {
        "samclip_sdk.modeling.build",
        "samclip_sdk.modeling.checkpoint",
        "samclip_sdk.runtimes.torch.session",
        "samclip_sdk.serve.app",
    }
)
FIXTURES = frozenset({"tiny_checkpoint", "tiny_bundle", "full_export"})
SMOKE = frozenset(
    {
        "tests/test_imports.py",  # Python
        "tests/text",  # tokenizers
        *("tests/image/test_loading.py", "tests/results/test_overlay.py"),  # Pillow
        *("tests/image/test_masks.py", "tests/results/test_results.py"),  # numpy
        "tests/bundle/test_manifest.py",  # pydantic
        "tests/bundle/test_open.py",  # safetensors
        "tests/cli/test_app.py",  # typer
        "tests/test_client.py",  # onnxruntime, and all of them
        "tests/device/test_verify.py",
        "tests/annotate/test_annotator.py",
    }
)
"""Modules and folders, each with what it tries."""


def needs_more(path: Path) -> bool:
    """Whether a module, or a helper that it imports, imports what the wheel does not need."""
    for name in imported_names(parse(path)):
        if name.partition(".")[0] in PACKAGES or name in MODULES:
            return True
        helper = ROOT / f"{name.replace('.', '/')}.py"
        if name.startswith("tests.") and helper.is_file() and needs_more(helper):
            return True
    return False


def pytest_collection() -> None:
    """Other versions of packages, not geometry, are tried here: a tenth of the drawn examples."""
    for path in (ROOT / each for each in SMOKE):
        if not path.exists() or (path.is_file() and needs_more(path)):
            raise pytest.UsageError(f"SMOKE names {path}, which is not there or needs more")
    settings.register_profile("few", parent=settings.get_profile("deterministic"), max_examples=10)
    settings.load_profile("few")


def in_smoke(path: Path) -> bool:
    """Whether a module is in `SMOKE`, or a folder holds some of it."""
    inside = path.relative_to(ROOT)
    chosen = [Path(each) for each in SMOKE]
    return any(each in (inside, *inside.parents) or inside in each.parents for each in chosen)


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    if not in_smoke(collection_path):
        return True
    module = collection_path / "conftest.py" if collection_path.is_dir() else collection_path
    known = module.suffix == ".py" and module.is_file()
    return True if known and needs_more(module) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out = [item for item in items if FIXTURES & set(item.fixturenames)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]
