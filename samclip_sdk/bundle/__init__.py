"""Bundles, the artifact that ships: schema, contract, opening, verification and signatures.

Nothing here runs a graph: that is a runtime's work.
"""

from samclip_sdk.bundle.contract import graph_key
from samclip_sdk.bundle.manifest import Manifest
from samclip_sdk.bundle.open import DEFAULT_MODEL, Bundle, embedded_bundles, open_bundle

__all__ = [
    "DEFAULT_MODEL",
    "Bundle",
    "Manifest",
    "embedded_bundles",
    "graph_key",
    "open_bundle",
]
