"""Writes samclip_sdk.cdx.json, the bill of materials inside the wheel: `python -m docs.sbom`.

It is CycloneDX, and tells what the wheel holds that others made; PEP 770 says where a wheel has it.
What the wheel asks for beside itself is in its metadata, and in what `make sbom` writes.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import samclip_sdk
from samclip_sdk.bundle.manifest import MANIFEST_NAME
from samclip_sdk.bundle.open import DEFAULT_MODEL, EMBEDDED

ROOT = Path(__file__).parents[1]
FILE = ROOT / "samclip_sdk.cdx.json"
LICENCE = "Apache-2.0"


def bill_of_materials() -> str:
    """The bill as JSON text; the same sources make the same text."""
    own = {
        **_component("library", "samclip-sdk", licence=LICENCE),
        "version": samclip_sdk.__version__,
        "purl": f"pkg:pypi/samclip-sdk@{samclip_sdk.__version__}",
    }
    components = [
        _model(),
        _file("samclip_sdk/text/clip_tokenizer.json", licence="MIT", source="openai/CLIP"),
        _file("samclip_sdk/text/openai_templates.json", licence="MIT", source="openai/CLIP"),
        _file("samclip_sdk/serve/page/sample.jpg", licence="CC0-1.0", source=""),
    ]
    content = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": own},
        "components": components,
    }
    return json.dumps(content, indent=1) + "\n"


def _model() -> dict[str, Any]:
    """The embedded model: its manifest has the sha256 of every other file of it."""
    path = EMBEDDED / DEFAULT_MODEL / MANIFEST_NAME
    manifest = json.loads(path.read_text(encoding="utf-8"))
    ancestors = [
        {
            **_component("machine-learning-model", each["part"], licence=each["spdx"]),
            "externalReferences": [{"type": "distribution", "url": each["source"]}],
        }
        for each in manifest["licences"]
        if each["source"].startswith("https://")
    ]
    return {
        **_component("machine-learning-model", manifest["name"], licence=LICENCE),
        "version": manifest["revision"],
        "hashes": _hashes(path),
        "pedigree": {"ancestors": ancestors},
    }


def _file(name: str, *, licence: str, source: str) -> dict[str, Any]:
    component = {**_component("file", name, licence=licence), "hashes": _hashes(ROOT / name)}
    if source:
        url = f"https://github.com/{source}"
        component["externalReferences"] = [{"type": "distribution", "url": url}]
    return component


def _component(kind: str, name: str, *, licence: str) -> dict[str, Any]:
    return {
        "type": kind,
        "bom-ref": name,
        "name": name,
        "licenses": [{"license": {"id": licence}}],
    }


def _hashes(path: Path) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": hashlib.sha256(path.read_bytes()).hexdigest()}]


if __name__ == "__main__":
    FILE.write_text(bill_of_materials(), encoding="utf-8")
