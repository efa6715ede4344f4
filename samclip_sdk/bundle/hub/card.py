"""The model card of a repository: the hub's front matter, then the card of the bundle."""

from __future__ import annotations

import re
from collections.abc import Sequence

from samclip_sdk.bundle.hub.options import hub_module
from samclip_sdk.bundle.manifest import NOT_STATED, Manifest

_TAGS = (
    "samclip",
    "segment-anything",
    "clip",
    "image-segmentation",
    "zero-shot-image-classification",
)
_HUB_SOURCE = re.compile(r"https://huggingface\.co/([\w.-]+/[\w.-]+?)/?")


def hub_card(
    manifest: Manifest,
    *,
    card: str,
    repository: str,
    licence: str | None = None,
    base_models: Sequence[str] = (),
    tags: Sequence[str] = (),
) -> str:
    """Writes the README.md of a repository.

    Args:
        manifest: the manifest of the bundle.
        card: the bundle's own README.md, with its table of quality; may be empty.
        repository: `org/name`.
        licence: its name on the hub, "apache-2.0" for instance. By default the licence of all parts
            in the manifest; "other" if they differ, or one is not stated.
        base_models: repositories that the model was made from, besides those that the manifest
            names as the source of a part.
        tags: tags besides "samclip", the tasks and the runtimes of the artifacts.

    Raises:
        RuntimeMissingError: huggingface_hub is not installed.
    """
    stated = {each.spdx.lower() for each in manifest.licences}
    licence = licence or (stated.pop() if len(stated) == 1 else NOT_STATED)
    front = {
        "library_name": "samclip",
        "pipeline_tag": "mask-generation",
        **_licence(licence, manifest=manifest),
        "base_model": list(dict.fromkeys([*_sources(manifest), *base_models])) or None,
        "tags": list(dict.fromkeys([*_TAGS, *_runtimes(manifest), *tags])),
    }
    yaml = hub_module("repocard_data").ModelCardData(**front).to_yaml()
    body = card.strip() or f"# {manifest.name}"
    return f"---\n{yaml}\n---\n\n{_usage(manifest, repository)}\n\n{body}\n"


def _licence(name: str, *, manifest: Manifest) -> dict[str, str]:
    if name not in ("other", NOT_STATED):
        return {"license": name}
    has_notice = any(each.path == "NOTICE" for each in manifest.files)
    told = "bundle/NOTICE" if has_notice else "README.md"  # it has a table of all parts
    return {"license": "other", "license_name": "see-notice", "license_link": told}


def _sources(manifest: Manifest) -> list[str]:
    """The repositories that the manifest names as sources of its parts."""
    found = [_HUB_SOURCE.fullmatch(each.source) for each in manifest.licences]
    return list(dict.fromkeys(each[1] for each in found if each))


def _runtimes(manifest: Manifest) -> list[str]:
    artifacts = [each for graph in manifest.graphs.values() for each in graph.artifacts]
    return list(dict.fromkeys(each.runtime for each in artifacts))


def _usage(manifest: Manifest, repository: str) -> str:
    runtime = _runtimes(manifest)[0]
    return (
        "```python\n"
        f"# pip install 'samclip-sdk[{runtime},hub]'\n"
        "from samclip_sdk import SamClip\n\n"
        f'model = SamClip.load("{runtime}", model="{repository}")\n'
        'found = model.segment_text("photo.jpg", ["dog", "grass"])\n'
        "```"
    )
