"""Which packages are installed, and in which version: answers depend on them as on the bundle."""

from __future__ import annotations

import importlib.metadata
import platform

_PACKAGES = (
    "samclip-sdk",
    "numpy",
    "pillow",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "coremltools",
    "tensorrt",
    "tensorrt-rtx-cu13",
    "cuda-python",
    "torch",
)
PACKAGES_OF = {
    "onnx": ("onnxruntime", "onnxruntime-gpu"),
    "openvino": ("openvino",),
    "coreml": ("coremltools",),
    "tensorrt": ("tensorrt", "tensorrt-rtx-cu13"),
    "torch": ("torch",),
}
"""Which packages run a runtime's graphs."""


def installed_versions() -> dict[str, str]:
    """Package -> version, of this one and of what its results depend on."""
    return {name: version for name in _PACKAGES if (version := version_of(name))}


def runtime_version(runtime: str) -> str:
    """What runs a runtime's graphs, each package with its version: "openvino 2026.4.1".

    Core ML is a part of macOS, whose version is in it too.
    """
    parts = [f"{name} {version}" for name in PACKAGES_OF[runtime] if (version := version_of(name))]
    if runtime == "coreml":
        parts.append(f"macOS {platform.mac_ver()[0]}")
    return ", ".join(parts)


def version_of(package: str) -> str:
    """A package's version; empty where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def has_two_onnxruntimes() -> bool:
    """Whether onnxruntime and onnxruntime-gpu are both installed, and overwrite one another."""
    return all(map(version_of, PACKAGES_OF["onnx"]))
