"""The versions of installed packages: answers depend on them as on the bundle."""

from __future__ import annotations

import platform

from samclip_sdk.runtimes.table import RUNTIMES
from samclip_sdk.system.packages import package_version

_PACKAGES = (
    *("samclip-sdk", "numpy", "pillow", "cuda-python"),
    *(package for known in RUNTIMES.values() for package in known.packages),
)


def installed_versions() -> dict[str, str]:
    """Package -> version, of this package and of those that its results depend on."""
    return {name: version for name in _PACKAGES if (version := package_version(name))}


def runtime_version(runtime: str) -> str:
    """The packages that run a runtime's graphs, with their versions: "openvino 2026.4.1".

    Core ML is a part of macOS, so the version of macOS is added there.
    """
    known = RUNTIMES[runtime]
    parts = [f"{name} {version}" for name in known.packages if (version := package_version(name))]
    if known.system == "Darwin":
        parts.append(f"macOS {platform.mac_ver()[0]}")
    return ", ".join(parts)


def has_two_onnxruntimes() -> bool:
    """Whether onnxruntime and onnxruntime-gpu are both installed and overwrite each other."""
    return all(map(package_version, RUNTIMES["onnx"].packages))
