"""The Dockerfiles, as far as they can be looked at without building them."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from tests.docs.usage import usage_problem
from tests.test_dependencies import names, project

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "docker"
FILES = sorted(FOLDER.glob("*Dockerfile"))


def instructions(path: Path) -> list[tuple[str, str]]:
    text = re.sub(r"^#.*\n", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines if line.strip()]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_what_it_copies_is_there_and_not_ignored(path: Path) -> None:
    ignored = path.with_name(f"{path.name}.dockerignore").read_text(encoding="utf-8").split()
    copied = [
        name
        for kind, rest in instructions(path)
        if kind == "COPY" and not rest.startswith("--from")
        for name in rest.split()[:-1]
    ]
    content = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    table, wheel = content["project"], content["tool"]["hatch"]["build"]["targets"]["wheel"]
    built_from = {table["readme"], *table["license-files"], *wheel["sbom-files"]}
    assert {"pyproject.toml", "samclip_sdk", *built_from} <= set(copied)
    assert not [name for name in copied if not (ROOT / name).exists()]
    assert not [name for name in copied if f"!{name}" not in ignored]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_extras_that_it_installs_are_declared(path: Path) -> None:
    (extras,) = re.findall(r"/wheels/\*\.whl\)\[([\w,-]+)\]", path.read_text(encoding="utf-8"))
    assert set(extras.split(",")) <= set(project())
    assert {"fastapi", "uvicorn", "python-multipart"} <= names(*extras.split(","))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_it_serves_as_a_user_without_rights(path: Path) -> None:
    found = dict(instructions(path))
    kinds = [kind for kind, _ in instructions(path)]
    assert found["USER"] == "10001"
    assert "RUN" not in kinds[kinds.index("USER") :]
    assert found["EXPOSE"] == "8080"
    assert "http://127.0.0.1:8080/health" in found["HEALTHCHECK"]
    command = json.loads(found["ENTRYPOINT"]) + json.loads(found["CMD"])
    assert usage_problem(command) == ""


def test_there_is_one_for_a_cpu_and_one_for_a_jetson() -> None:
    assert [path.name for path in FILES] == ["Dockerfile", "jetson.Dockerfile"]
