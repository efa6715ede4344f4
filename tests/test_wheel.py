"""The wheel holds what runs on a device, the embedded bundle included, and nothing else."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest

from samclip_sdk.bundle.open import DEFAULT_MODEL

ROOT = Path(__file__).parents[1]
EMBEDDED = Path("samclip_sdk/bundle/embedded")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    out = tmp_path_factory.mktemp("wheel")
    # Without isolation pip downloads nothing: hatchling comes with [dev].
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--quiet", "--wheel-dir", out, ROOT], check=True, timeout=120)
    (path,) = out.glob("samclip_sdk-*-py3-none-any.whl")
    return zipfile.ZipFile(path)


def read_metadata(wheel: zipfile.ZipFile, name: str) -> str:
    (member,) = [n for n in wheel.namelist() if n.endswith(f".dist-info/{name}")]
    return wheel.read(member).decode("utf-8")


def test_a_release_passes_the_checks_of_the_index(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", tmp_path]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (source,) = tmp_path.glob("samclip_sdk-*.tar.gz")
    check = [sys.executable, "-m", "twine", "check", "--strict", wheel.filename or "", source]
    done = subprocess.run(check, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("PASSED") == 2


def test_holds_the_package_only(wheel: zipfile.ZipFile) -> None:
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    packages = {top for top in tops if not top.endswith(".dist-info")}
    assert packages == {"samclip_sdk"}
    assert "samclip_sdk/py.typed" in wheel.namelist()
    assert not [name for name in wheel.namelist() if "__pycache__" in name]


def test_holds_the_embedded_bundles_byte_for_byte(wheel: zipfile.ZipFile) -> None:
    files = [path for path in (ROOT / EMBEDDED).rglob("*") if path.is_file()]
    assert ROOT / EMBEDDED / DEFAULT_MODEL / "manifest.json" in files
    assert any(path.suffix == ".onnx" for path in files)
    for path in files:
        packed = wheel.read(path.relative_to(ROOT).as_posix())
        assert hashlib.sha256(packed).digest() == hashlib.sha256(path.read_bytes()).digest()


def test_holds_the_page_of_the_server(wheel: zipfile.ZipFile) -> None:
    page = ROOT / "samclip_sdk" / "serve"
    files = [page / "openapi.json", *(page / "page").iterdir()]
    assert len(files) == 8
    for path in files:
        assert wheel.read(path.relative_to(ROOT).as_posix()) == path.read_bytes()


def test_base_install_needs_no_runtime(wheel: zipfile.ZipFile) -> None:
    metadata = HeaderParser().parsestr(read_metadata(wheel, "METADATA"))
    requirements = metadata.get_all("Requires-Dist", [])
    base = " ".join(requirement for requirement in requirements if "extra ==" not in requirement)
    for name in ("torch", "onnx", "openvino", "coremltools", "tensorrt"):
        assert name not in base
    assert metadata["License-Expression"] == "Apache-2.0"


def test_holds_its_bill_of_materials(wheel: zipfile.ZipFile) -> None:
    bill = ROOT / "samclip_sdk.cdx.json"
    assert read_metadata(wheel, f"sboms/{bill.name}") == bill.read_text(encoding="utf-8")


def test_declares_the_command(wheel: zipfile.ZipFile) -> None:
    assert "samclip = samclip_sdk.cli.app:app" in read_metadata(wheel, "entry_points.txt")
