"""What a release needs: one version, one placeholder, and files that their hosts can read."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from check_jsonschema import main as check_jsonschema
from click.testing import CliRunner
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from huggingface_hub import SpaceCard

import samclip_sdk
from docs.sbom import FILE, bill_of_materials
from tests.source_tree import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

GITHUB = ROOT / ".github"
SCHEMAS = {
    "CITATION.cff": "citation-file-format",
    ".github/ISSUE_TEMPLATE/device.yml": "github-issue-forms",
    ".github/ISSUE_TEMPLATE/fault.yml": "github-issue-forms",
    ".github/workflows/ci.yml": "github-workflows",
}
"""File -> its published schema, of check-jsonschema."""


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def read_yaml(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def schema_errors(path: Path, schema: str) -> str:
    done = CliRunner().invoke(check_jsonschema, ["--builtin-schema", f"vendor.{schema}", str(path)])
    return "" if done.exit_code == 0 else done.output


@pytest.mark.parametrize("path", SCHEMAS)
def test_a_host_can_read_it(path: str, tmp_path: Path) -> None:
    assert schema_errors(ROOT / path, SCHEMAS[path]) == ""
    broken = tmp_path / "broken.yml"
    broken.write_text("unheard_of: 1\n")
    assert "unheard_of" in schema_errors(broken, SCHEMAS[path])


def test_the_workflow_has_none_of_the_faults_that_are_known_of_workflows() -> None:
    command = [Path(sys.executable).with_name("zizmor"), "--offline", "--no-progress", GITHUB]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout


def test_the_workflow_tries_every_python_that_is_promised() -> None:
    tried = read_yaml(".github/workflows/ci.yml")["jobs"]["smoke"]["strategy"]["matrix"]["python"]
    kinds = re.findall(r"Python :: (3\.\d+)", " ".join(project()["classifiers"]))
    assert kinds[0] == project()["requires-python"].removeprefix(">=")
    assert set(kinds) <= set(tried)


def test_every_file_of_the_host_is_checked() -> None:
    files = {path.relative_to(ROOT).as_posix() for path in GITHUB.rglob("*") if path.is_file()}
    assert files == {path for path in SCHEMAS if path.startswith(".github")}


def test_the_wheels_bill_of_materials_is_of_what_it_holds_now() -> None:
    """`python -m docs.sbom` writes it."""
    written = FILE.read_text(encoding="utf-8")
    assert written == bill_of_materials()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(written) is None
    wrong = written.replace('"library"', '"a library"')
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(wrong) is not None


def test_there_is_one_version() -> None:
    assert str(read_yaml("CITATION.cff")["version"]) == samclip_sdk.__version__
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    (newest, *_) = re.findall(r"^## .*?(\d+\.\d+\.\d+)", changes, re.MULTILINE)
    assert newest == samclip_sdk.__version__


def test_the_space_runs_an_example_on_this_version() -> None:
    folder = ROOT / "examples" / "space"
    card = SpaceCard.load(folder / "README.md").data
    assert (card.sdk, card.license) == ("gradio", project()["license"].lower())
    assert (folder.parent / str(card.app_file)).is_file()
    tried = (ROOT / "docs" / "integrations.md").read_text(encoding="utf-8")
    assert f"gradio {str(card.sdk_version).removesuffix('.0')} |" in tried
    (wanted,) = (folder / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert wanted == f"samclip-sdk[onnx]=={samclip_sdk.__version__}"


def test_who_made_it_and_under_which_terms() -> None:
    citation = read_yaml("CITATION.cff")
    assert citation["license"] == project()["license"]
    assert citation["authors"] == project()["authors"]


def test_there_is_one_placeholder_at_most() -> None:
    """`.invalid` is a reserved name, for what does not exist yet."""
    (address,) = project()["urls"].values()
    host = urlsplit(address).hostname
    if host.endswith(".invalid"):
        grep = ["git", "grep", "-l", "--fixed-strings", host]
        found = subprocess.run(grep, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        assert found.split() == ["pyproject.toml"]
