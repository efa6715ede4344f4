"""The shape of the house: its rooms, which way imports run, what stays pure, how long a module is.

Each rule is one test that lists every offender.
"""

from __future__ import annotations

import ast
import subprocess
import sys
import token
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from samclip_sdk.runtimes.table import RUNTIMES
from tests.source_tree import (
    ROOT,
    import_graph,
    imported_names,
    parse,
    sources,
    top_level_names,
)

# What each folder may import from the others. export and training meet at a checkpoint only.
ALLOWED: dict[str, set[str]] = {
    "samclip_sdk": set(),
    "export": {"samclip_sdk"},
    "training": {"samclip_sdk"},
    "benchmarks": {"samclip_sdk", "export", "training"},
    "examples": {"samclip_sdk", "export", "training"},
}
# The rooms of each folder. Those of the wheel stand in the order of their floors, the lowest first:
# a room imports from rooms that stand before it, and what stands at the wheel's root above them.
ROOMS: dict[str, tuple[str, ...]] = {
    "samclip_sdk": (
        *("errors", "system", "picture", "modeling", "bundle", "text", "results", "runtimes"),
        *("engine", "device", "client", "annotate", "serve", "cli", "__main__"),
    ),
    "export": ("apps", "coreml", "precision"),
    "training": ("composed", "text", "loop", "real", "tasks", "teachers"),
    "benchmarks": (
        *("artifacts", "metrics", "paper", "public", "quality", "reliability"),
        *("serve", "speed", "video"),
    ),
}
# Heavy or platform-bound: none of them may be needed to `import samclip_sdk`.
HEAVY = (
    *(module for known in RUNTIMES.values() for module in known.modules),
    *("cuda", "fastapi", "starlette", "uvicorn", "prometheus_client", "huggingface_hub"),
)
PRINTING = {"print", "sys.stdout.write", "sys.stderr.write", "traceback.print_exc"}
NO_CODE = {
    *(tokenize.COMMENT, tokenize.NL, tokenize.ENCODING),
    *(token.NEWLINE, token.INDENT, token.DEDENT, token.ENDMARKER),
}
MAX_MODULE_LINES = 300
MAX_CLIENT_LINES = 400
MAX_FUNCTION_LINES = 50


def called_names(tree: ast.Module) -> Iterator[str]:
    return (ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call))


def find_circle(graph: dict[str, set[str]]) -> list[str]:
    """The modules of one circle of imports, in order; empty if there is none."""
    done: set[str] = set()
    for start in graph:
        way: list[str] = []
        open_ends = [iter((start,))]
        while open_ends:
            following = next(open_ends[-1], None)
            if following is None:
                open_ends.pop()
                if way:
                    done.add(way.pop())
            elif following in way:
                return way[way.index(following) :]
            elif following not in done:
                way.append(following)
                open_ends.append(iter(sorted(graph[following])))
    return []


def test_every_folder_and_room_is_there() -> None:
    assert {name.partition(".")[0] for name in sources()} == set(ALLOWED)
    for folder, rooms in ROOMS.items():
        found = {path.parent.name for path in (ROOT / folder).glob("*/*.py")}
        modules = {path.stem for path in (ROOT / folder).glob("*.py")}
        assert found == set(rooms) - modules, folder


def test_every_room_says_what_lives_there() -> None:
    silent = [
        name
        for name, path in sources().items()
        if path.name == "__init__.py" and ast.get_docstring(parse(path)) is None
    ]
    assert not silent


def test_imports_run_one_way() -> None:
    offenders = {
        f"{name} imports {other}"
        for name, path in sources().items()
        for other in top_level_names(path) & {*ALLOWED, "tests"}
        if other not in ALLOWED[name.partition(".")[0]] | {name.partition(".")[0]}
    }
    assert not offenders


def test_no_module_is_in_a_circle_of_imports() -> None:
    assert find_circle(import_graph()) == []


@pytest.mark.parametrize(
    ("graph", "circle"),
    [
        ({"a": {"b"}, "b": {"c"}, "c": {"b"}}, ["b", "c"]),
        ({"a": {"b", "c"}, "b": {"c"}, "c": set()}, []),
    ],
)
def test_circles_are_found(graph: dict[str, set[str]], circle: list[str]) -> None:
    assert find_circle(graph) == circle


def test_nothing_imports_upwards() -> None:
    floors = {room: floor for floor, room in enumerate(ROOMS["samclip_sdk"])}
    modules = [name for name in import_graph() if name.startswith("samclip_sdk.")]
    assert {name.split(".")[1] for name in modules} == set(floors)
    offenders = [
        f"{name} imports {other}"
        for name in modules
        for other in import_graph()[name]
        if other != "samclip_sdk" and floors[other.split(".")[1]] > floors[name.split(".")[1]]
    ]
    assert not offenders


def test_the_library_neither_prints_nor_draws() -> None:
    """Only the command line does: whoever embeds the package owns the terminal."""
    offenders = [
        f"{name}: {problem}"
        for name, path in sources().items()
        if name.startswith("samclip_sdk.") and name.split(".")[1] not in ("cli", "__main__")
        for problem in (
            *top_level_names(path) & {"rich", "typer", "click", "tqdm"},
            *(each for each in called_names(parse(path)) if each in PRINTING),
        )
    ]
    assert not offenders


def test_telemetry_is_off_wherever_a_runtime_is_imported() -> None:
    """Who imports them directly sends data about the user's device to their makers."""
    offenders = [
        f"{name} imports {other}"
        for name, path in sources().items()
        for other in top_level_names(path) & {"onnxruntime", "openvino"}
        if other == "openvino" or "ORT_DISABLE_TELEMETRY" not in path.read_text(encoding="utf-8")
    ]
    assert not offenders


@pytest.mark.parametrize(
    ("statement", "module"),
    [
        ("import export.onnx", "export.onnx"),
        ("from export import onnx", "export.onnx"),
        ("def lazy():\n    import torch.nn", "torch.nn"),
    ],
)
def test_imports_are_found(statement: str, module: str) -> None:
    assert module in set(imported_names(ast.parse(statement)))


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


def test_modeling_is_pure() -> None:
    """Only checkpoint.py touches files, so a model can be built anywhere."""
    modules = {"os", "io", "pathlib", "shutil", "tempfile", "json", "pickle", "safetensors"}
    calls = {"open", "torch.load", "torch.save", "np.load", "np.save", "numpy.load"}
    pure = [
        path
        for path in (ROOT / "samclip_sdk" / "modeling").glob("*.py")
        if path.name != "checkpoint.py"
    ]
    assert pure
    for path in pure:
        called = {
            ast.unparse(node.func) for node in ast.walk(parse(path)) if isinstance(node, ast.Call)
        }
        assert not top_level_names(path) & modules, path.name
        assert not called & calls, path.name


def test_model_config_needs_no_torch() -> None:
    """The manifest holds a ModelConfig, and a device that reads it has no torch."""
    assert not top_level_names(sources()["samclip_sdk.modeling.config"]) & set(HEAVY)
    run_blocked("import samclip_sdk.modeling.config")


def test_package_imports_without_any_runtime() -> None:
    run_blocked(
        "import samclip_sdk, samclip_sdk.cli.app, samclip_sdk.bundle.open, "
        "samclip_sdk.runtimes.opening"
    )


def test_blocker_blocks() -> None:
    """The two tests above prove nothing if the blocked modules could still be imported."""
    with pytest.raises(AssertionError, match="blocked by the test: onnxruntime"):
        run_blocked("import onnxruntime")


def run_blocked(statement: str) -> None:
    """Run a statement in a fresh interpreter in which the heavy modules cannot be imported."""
    blocker = f"""
import sys
import token
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

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
