"""An extra has all that it is for; `make check` holds the rest, by deptry."""

from __future__ import annotations

import ast
import importlib.metadata
import sys
from collections.abc import Iterator
from functools import cache

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.source_tree import ROOT, imported_names, parse, sources

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

EXTRAS = {
    "samclip_sdk": (
        *("onnx", "openvino", "coreml", "tensorrt", "litert", "executorch", "torch", "supervision"),
        *("hub", "remote", "ray", "signing", "serve"),
    ),
    "export": ("export",),
    "training": ("training",),
}
# Of other hardware, of packages that a test must not need, and of environments of their own.
NOT_IN_DEV = {"onnx-gpu", "peers", "export-litert", "executorch", "export-executorch"}


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


installed = cache(importlib.metadata.packages_distributions)


def distributions(module: str) -> set[str]:
    """Those that a module may be from."""
    return {canonicalize_name(each) for each in installed().get(module.partition(".")[0], [])}


@pytest.mark.parametrize("folder", EXTRAS)
def test_what_a_folder_imports_is_in_its_extra(folder: str) -> None:
    declared = names(*EXTRAS[folder])
    offenders = {
        f"{name} imports {each}"
        for name, path in sources().items()
        if name.partition(".")[0] == folder
        for each in imported_names(parse(path))
        if (found := distributions(each) - {"samclip-sdk"}) and not found & declared
    }
    assert not offenders


def test_every_extra_with_the_torch_model_has_torch() -> None:
    assert names("torch") <= names("export") & names("training") & names("dev")


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
    for package, extra in told:
        found = distributions(package)
        assert not found or found & names(extra), (package, extra)


def test_development_names_every_extra_so_that_no_floor_differs() -> None:
    dev = {each for each in project() if each and names(each) <= names("dev")}
    assert set(project()) - dev - {""} == NOT_IN_DEV
