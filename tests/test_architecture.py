"""The shape of the house: which way imports run, what stays pure, how long a module may be."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# What each folder may import from the others. export and training meet at a checkpoint only.
ALLOWED: dict[str, set[str]] = {
    "samclip_sdk": set(),
    "export": {"samclip_sdk"},
    "training": {"samclip_sdk"},
    "benchmarks": {"samclip_sdk", "export", "training"},
    "examples": {"samclip_sdk", "export", "training"},
}
# Heavy or platform-bound: none of them may be needed to `import samclip_sdk`.
HEAVY = ("torch", "onnxruntime", "openvino", "coremltools", "tensorrt", "tensorrt_rtx", "cuda")
# The import names of the base dependencies in pyproject.toml.
BASE = {"numpy", "PIL", "pydantic", "tokenizers", "cv2", "ftfy", "typer", "rich", "platformdirs"}
OPTIONAL = {*HEAVY, "safetensors", "supervision"}
MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 50
SOURCES = sorted(
    path.relative_to(ROOT)
    for folder in ALLOWED
    for path in (ROOT / folder).rglob("*.py")
    if "__pycache__" not in path.parts
)


def parse(source: Path) -> ast.Module:
    return ast.parse((ROOT / source).read_text(encoding="utf-8"), filename=str(source))


def imported_modules(source: Path, tree: ast.Module) -> set[str]:
    """Return the absolute dotted names that a module imports anywhere, lazily too."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = source.parent.parts[: len(source.parent.parts) + 1 - node.level]
            prefix = [*package, node.module] if node.level else [node.module]
            base = ".".join(part for part in prefix if part)
            # `from a import b` may import the module a.b.
            names.update({base, *(f"{base}.{alias.name}" for alias in node.names)})
    return names


def top_level_names(modules: set[str]) -> set[str]:
    return {module.partition(".")[0] for module in modules}


def test_every_folder_is_there() -> None:
    folders = {source.parts[0] for source in SOURCES}
    assert folders == set(ALLOWED)


@pytest.mark.parametrize("source", SOURCES, ids=str)
def test_imports_run_one_way(source: Path) -> None:
    folder = source.parts[0]
    others = (set(ALLOWED) | {"tests"}) - {folder}
    found = top_level_names(imported_modules(source, parse(source))) & others
    assert found <= ALLOWED[folder], f"{folder} must not import {found - ALLOWED[folder]}"


@pytest.mark.parametrize("source", [s for s in SOURCES if s.parts[0] == "samclip_sdk"], ids=str)
def test_package_imports_what_it_declares(source: Path) -> None:
    found = top_level_names(imported_modules(source, parse(source)))
    assert found - set(sys.stdlib_module_names) <= {"samclip_sdk"} | BASE | OPTIONAL


@pytest.mark.parametrize(
    ("statement", "module"),
    [
        ("import export.onnx", "export.onnx"),
        ("from export import onnx", "export.onnx"),
        ("from ..image import Frame", "samclip_sdk.image"),
        ("from . import base", "samclip_sdk.runtimes.base"),
        ("def lazy():\n    import torch.nn", "torch.nn"),
    ],
)
def test_imports_are_found(statement: str, module: str) -> None:
    source = Path("samclip_sdk/runtimes/ort.py")
    assert module in imported_modules(source, ast.parse(statement))


@pytest.mark.parametrize("source", SOURCES, ids=str)
def test_modules_are_short_and_named_for_what_they_hold(source: Path) -> None:
    assert source.stem not in {"utils", "util", "helpers", "misc", "common"}
    lines = (ROOT / source).read_text(encoding="utf-8").count("\n")
    assert lines <= MAX_MODULE_LINES


@pytest.mark.parametrize("source", SOURCES, ids=str)
def test_functions_are_short(source: Path) -> None:
    long = [
        f"{node.name}: {length} lines"
        for node in ast.walk(parse(source))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and (length := code_lines(node)) > MAX_FUNCTION_LINES
    ]
    assert not long


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count a function's lines, its docstring aside: a long contract is no fault."""
    total = (function.end_lineno or function.lineno) - function.lineno + 1
    if ast.get_docstring(function) is None:
        return total
    docstring = function.body[0]
    return total - ((docstring.end_lineno or docstring.lineno) - docstring.lineno + 1)


@pytest.mark.parametrize(
    "source", [s for s in SOURCES if s.is_relative_to("samclip_sdk/modeling")], ids=str
)
def test_modeling_is_pure(source: Path) -> None:
    """Only checkpoint.py touches files, so a model can be built anywhere."""
    if source.name == "checkpoint.py":
        return
    tree = parse(source)
    files = {"os", "io", "pathlib", "shutil", "tempfile", "json", "pickle", "safetensors"}
    assert not top_level_names(imported_modules(source, tree)) & files
    calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert not calls & {"open", "torch.load", "torch.save", "np.load", "np.save", "numpy.load"}


def test_model_config_needs_no_torch() -> None:
    """The manifest holds a ModelConfig, and a device that reads it has no torch."""
    source = Path("samclip_sdk/modeling/config.py")
    assert not top_level_names(imported_modules(source, parse(source))) & set(HEAVY)
    run_blocked("import samclip_sdk.modeling.config")


def test_package_imports_without_any_runtime() -> None:
    run_blocked("import samclip_sdk, samclip_sdk.cli, samclip_sdk.bundle, samclip_sdk.runtimes")


def test_blocker_blocks() -> None:
    """The two tests above prove nothing if the blocked modules could still be imported."""
    with pytest.raises(AssertionError, match="blocked by the test: onnxruntime"):
        run_blocked("import onnxruntime")


def run_blocked(statement: str) -> None:
    """Run a statement in a fresh interpreter in which the heavy modules cannot be imported."""
    blocker = f"""
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {HEAVY!r}:
            raise ModuleNotFoundError("blocked by the test: " + name, name=name)

sys.meta_path.insert(0, Blocker())
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", blocker + statement],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
