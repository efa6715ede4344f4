"""How long a module is, and what the wheel needs on import; `make check` holds the rest.

Which folder, room or package may be imported where is in pyproject.toml, for import-linter.
"""

from __future__ import annotations

import ast
import token
import tokenize
from functools import cache
from pathlib import Path

import pytest

from samclip_sdk.runtimes.table import RUNTIMES
from tests.own_process import run_program
from tests.source_tree import parse, sources

# Heavy or platform-bound: none of them may be needed to `import samclip_sdk`.
HEAVY = (
    *(module for known in RUNTIMES.values() for module in known.modules),
    *("cuda", "timm", "fastapi", "starlette", "uvicorn", "prometheus_client", "multipart", "h11"),
    *("huggingface_hub", "fsspec", "pyarrow", "ray", "cryptography", "supervision"),
    *("onnx", "pycocotools", "packaging", "yaml"),
)
# What needs an extra on import, and is imported by whoever has it.
OPTIONAL = ("samclip_sdk.modeling", "samclip_sdk.runtimes.torch.session", "samclip_sdk.serve")
NO_CODE = {
    *(tokenize.COMMENT, tokenize.NL, tokenize.ENCODING),
    *(token.NEWLINE, token.INDENT, token.DEDENT, token.ENDMARKER),
}
MAX_MODULE_LINES = 300
MAX_CLIENT_LINES = 400
MAX_FUNCTION_LINES = 50


def test_modules_are_short_and_named_for_what_they_hold() -> None:
    vague = {"utils", "util", "helpers", "misc", "common"}
    limits = {"samclip_sdk.client": MAX_CLIENT_LINES}
    offenders = [
        f"{name}: {length} lines"
        for name, path in sources().items()
        if (length := len(code_lines(path))) > limits.get(name, MAX_MODULE_LINES)
        or path.stem in vague
    ]
    assert not offenders


def test_functions_are_short() -> None:
    offenders = [
        f"{name}.{node.name}: {length} lines"
        for name, path in sources().items()
        for node in ast.walk(parse(path))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and (length := len(code_lines(path) & lines_of(node))) > MAX_FUNCTION_LINES
    ]
    assert not offenders


@cache
def code_lines(path: Path) -> set[int]:
    """The lines of a file that hold code: a long contract, or a comment, is no fault."""
    texts = (
        node
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
    with path.open("rb") as file:
        tokens = [each for each in tokenize.tokenize(file.readline) if each.type not in NO_CODE]
    lines = {line for each in tokens for line in range(each.start[0], each.end[0] + 1)}
    return lines.difference(*map(lines_of, texts))


def lines_of(node: ast.stmt) -> set[int]:
    return set(range(node.lineno, (node.end_lineno or node.lineno) + 1))


def test_the_wheel_imports_with_its_base_dependencies_alone() -> None:
    """The manifest's ModelConfig too: a device that reads it has no torch."""
    modules = [
        name
        for name in sources()
        if name.startswith("samclip_sdk")
        and not name.endswith("__main__")
        and (name == "samclip_sdk.modeling.config" or not name.startswith(OPTIONAL))
    ]
    assert len(modules) > 100
    assert import_blocked(*modules) == ""


@pytest.mark.parametrize("module", ["samclip_sdk.serve.app", "samclip_sdk.modeling.build"])
def test_what_is_optional_needs_its_extra(module: str) -> None:
    assert "None in sys.modules" in import_blocked(module)


def import_blocked(*modules: str) -> str:
    """What a fresh interpreter that has no heavy module says of the imports; nothing, if all is."""
    code = f"""
import importlib, sys

sys.modules.update(dict.fromkeys({HEAVY!r}))  # importing one fails
for module in {modules!r}:
    importlib.import_module(module)
"""
    done = run_program(code, warnings="error")
    assert (done.returncode == 0) == (not done.stderr)
    return done.stderr
